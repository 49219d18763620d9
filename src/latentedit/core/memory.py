"""Memory of a program: what was freed stays with the process, and what stays is not searched for garbage.

By default glibc hands every block of more than 32 MiB back to Linux as soon as it is freed, and asks for it anew for
the next tensor; Linux then fills it with zeros, page by page. Of a benchmark by batches of 32 that is a tenth of the
time.
"""

import ctypes
import gc
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3)."""

_PAD_BYTES = 64 * 2**20
"""Asked for beyond what is needed, each time that the heap grows."""


def keep_freed_memory() -> bool:
    """From now on this process keeps the memory that it frees; its peak stays what it would be, to about 64 MiB.

    Returns:
        Whether it does. Only glibc can be told so; another C library is left as it is.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    wishes = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _PAD_BYTES}
    library = ctypes.CDLL(None)
    return all(library.mallopt(parameter, value) == 1 for parameter, value in wishes.items())


COLLECT_AFTER = 10_000
"""New objects after which Python looks for garbage, 700 by default: importing torch and diffusers makes a million, all
of which stay, and looking through them again and again is a fifth of the time that it takes."""


def collect_garbage_less_often() -> None:
    """From now on this process looks for cyclic garbage less often; memory that tensors hold is not in such cycles."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def leave_without_collecting() -> None:
    """Call last: what is left is not searched for garbage when the process ends, which takes a second otherwise."""
    gc.freeze()

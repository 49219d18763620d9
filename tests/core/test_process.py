"""A block that was freed, as Linux sees it, in a process of its own."""

import platform
import subprocess
import sys

import pytest

BLOCK_MIB = 256

PROGRAM = f"""
import os

from latentedit.core.process import keep_freed_memory

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

assert keep_freed_memory()
before = resident()
block = bytearray(b"x") * ({BLOCK_MIB} << 20)
assert resident() - before >= {BLOCK_MIB} - 1
del block
print(resident() - before)
block = bytearray(b"x") * ({BLOCK_MIB - 1} << 20)  # small objects may lie in what was freed
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has mallopt")
def test_freed_memory_stays_and_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    freed, again = map(int, done.stdout.split())
    assert freed >= BLOCK_MIB - 1
    assert again < 1.1 * BLOCK_MIB


def test_garbage_is_looked_for_less_often_and_not_at_the_end() -> None:
    program = (
        "import gc, latentedit.core.process as process; process.collect_garbage_less_often(); "
        "process.leave_without_collecting(); print(*gc.get_threshold(), gc.get_freeze_count() > 1000)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["10000", "10", "10", "True"]

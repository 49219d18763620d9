"""The header of a JPEG XL's codestream (ISO/IEC 18181-1)."""

from typing import NamedTuple

CODESTREAM = b"\xff\x0a"  # its beginning


class Header(NamedTuple):
    """Bits a channel, and whether further frames follow the first."""

    bits: int
    is_animated: bool


def header(data: bytes) -> Header | None:
    """The header of a codestream; None for anything else, and with a preview, whose size is written in another way."""
    if not data.startswith(CODESTREAM):
        return None
    bits, at = int.from_bytes(data[2:64], "little"), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    def skip_size() -> None:
        if read(1):
            read(5)
            read(0 if read(3) else 5)
        else:
            read((9, 13, 18, 30)[read(2)])
            if not read(3):
                read((9, 13, 18, 30)[read(2)])

    skip_size()
    if read(1):  # the usual case
        return Header(8, is_animated=False)
    is_animated = False
    if read(1):
        read(3)
        if read(1):
            skip_size()
        if read(1):  # a preview
            return None
        is_animated = bool(read(1))
        if is_animated:
            for lengths in ((0, 0, 10, 30), (0, 0, 8, 10), (0, 3, 16, 32)):
                read(lengths[read(2)])
            read(1)
    usual = (32, 16, 24, 0) if read(1) else (8, 10, 12, 0)
    return Header(usual[read(2)] or 1 + read(6), is_animated=is_animated)

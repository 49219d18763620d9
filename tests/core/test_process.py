"""Memory and garbage collection, measured in a subprocess."""

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
block = bytearray(b"x") * ({BLOCK_MIB - 1} << 20)  # small objects may occupy part of the freed block
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_kept_and_reused() -> None:
    completed = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    freed, reused = map(int, completed.stdout.split())
    assert freed >= BLOCK_MIB - 1
    assert reused < 1.1 * BLOCK_MIB


def test_garbage_collection_is_rarer_and_spares_what_is_loaded() -> None:
    program = (
        "import gc, latentedit.core.process as process; "
        "process.collect_garbage_less_often(10**6); print(*gc.get_threshold()); "
        "process.spare_what_is_loaded(); print(*gc.get_threshold(), gc.get_freeze_count() > 1000)"
    )
    completed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert completed.stdout.split() == ["1000000", "10", "10", "100000", "10", "10", "True"]

"""Opening files below the current folder, in which another program may exchange a folder for a link at any time."""

import contextlib
import os
from pathlib import Path

# Windows has no descriptors of folders; it takes an administrator to make links there.
_HAS_FOLDER_DESCRIPTORS = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def open_beneath(path: str | Path, flags: int) -> int:
    """Open a file below the current folder; an `OSError` if it is, or is in, a link.

    Each folder of the path is opened by the descriptor of the one above it.
    """
    *folders, name = Path(path).parts
    if not _HAS_FOLDER_DESCRIPTORS:
        return os.open(path, flags)
    with contextlib.ExitStack() as descriptors:
        descriptor = os.open(".", _FOLDER)
        descriptors.callback(os.close, descriptor)
        for folder in folders:
            descriptor = os.open(folder, _FOLDER | _NO_LINK, dir_fd=descriptor)
            descriptors.callback(os.close, descriptor)
        return os.open(name, flags | _NO_LINK, dir_fd=descriptor)

"""Files below a root folder, in which another program may exchange a folder for a link at any time.

A path is followed folder by folder, each opened by the descriptor of the one above it, and never through a link.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from latentedit.core.errors import OutputError

_BY_DESCRIPTOR = os.open in os.supports_dir_fd  # not on Windows, where it takes an administrator to make links
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_BINARY", 0)
_MODE = 0o666  # which the user's umask reduces


@contextlib.contextmanager
def folder_of(root: Path, path: Path) -> Generator[tuple[int | None, Path]]:
    """The folder of a path relative to the root: a descriptor, and what file names in it begin with."""
    if not _BY_DESCRIPTOR:
        yield None, root / path.parent
        return
    with contextlib.ExitStack() as open_ones:
        here = os.open(root, _FOLDER)
        open_ones.callback(os.close, here)
        for part in path.parent.parts:
            here = os.open(part, _FOLDER | _NO_LINK, dir_fd=here)
            open_ones.callback(os.close, here)
        yield here, Path()


def open_beneath(path: str | Path, flags: int) -> int:
    """Open a file below the current folder; an `OSError` if it is, or is in, a link."""
    with folder_of(Path(), Path(path)) as (folder, start):
        return os.open(start / Path(path).name, flags | _NO_LINK, dir_fd=folder)


def names_in(root: Path, path: Path) -> list[str]:
    """The names in a folder that is below the root, or the root itself; none if there is no such folder."""
    with contextlib.suppress(OSError), folder_of(root, path / "any") as (folder, start):
        return os.listdir(start if folder is None else folder)  # noqa: PTH208 (of a descriptor)
    return []


def place_new(root: Path, files: Mapping[Path, Path | Callable[[], Path]]) -> list[Path]:
    """Copy finished files to new paths relative to the root, all of them or none, and return these.

    An existing file is never replaced: each name is created exclusively, and then the complete copy is renamed to it.
    A path may be a function that finds the next free one in the same folder.
    """
    written, placed = list[tuple[int | None, Path]](), list[Path]()
    with contextlib.ExitStack() as folders:
        try:
            steps = list[tuple[int | None, Path, Path]]()
            for source, target in files.items():
                folder, start = folders.enter_context(folder_of(root, target() if callable(target) else target))
                hidden = start / f".{secrets.token_hex(8)}.tmp"
                copied = os.open(hidden, _NEW, _MODE, dir_fd=folder)
                written.append((folder, hidden))
                with source.open("rb") as made, os.fdopen(copied, "wb") as copy:
                    shutil.copyfileobj(made, copy)
                steps.append((folder, start, hidden))
            for (folder, start, _), target in zip(steps, files.values(), strict=True):
                placed.append(_reserved(folder, start, target))
                written.append((folder, start / placed[-1].name))
            for (folder, start, hidden), path in zip(steps, placed, strict=True):
                os.replace(hidden, start / path.name, src_dir_fd=folder, dst_dir_fd=folder)
            written.clear()
        except OutputError:  # which is an OSError
            raise
        except OSError as error:
            raise OutputError(f"the result was not written: {error.strerror}. Choose another place") from error
        finally:
            for folder, name in written:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
    return placed


def _reserved(folder: int | None, start: Path, target: Path | Callable[[], Path]) -> Path:
    """The first path of the target whose file this call could create, which is empty."""
    while True:
        path = target() if callable(target) else target
        try:
            os.close(os.open(start / path.name, _NEW, _MODE, dir_fd=folder))
        except FileExistsError:
            if not callable(target):
                raise OutputError(f"{path} already exists. Choose another name") from None
        else:
            return path

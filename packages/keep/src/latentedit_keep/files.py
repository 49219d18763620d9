"""Files in and out: what is no regular file is refused before it is read, and no half-written file is ever seen.

Opening never waits (as a pipe without a writer would have it), and what was opened is looked at, not what the name
stood for a moment before.
"""

import contextlib
import dataclasses
import errno
import math
import os
import secrets
import stat
import zlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from latentedit_keep.errors import FileFormatError, LatentEditError, OutputError

_LONGEST_NAME_BYTES = 200  # of a name that gets another ending: file systems take 255 with it
_SHOWN_LETTERS = 200  # of a path in an error
_MISSING = "there is no such file: {}. Check the path"
_FORBIDDEN = "{} cannot be read: permission was denied. Change its permissions"
_WHY = {
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EISDIR: "{} is a folder, not a file. Name a file in it",
    errno.ENXIO: "{} is no regular file but a socket, and was not read. Save it to a file first",
    errno.ELOOP: "{} is a link that leads back to itself. Check the path",
}
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def user_path(name: str | Path, *, error: type[LatentEditError] = FileFormatError) -> Path:
    """A path as somebody wrote it, with ``~`` expanded; an ``error`` where this system can neither have it nor look."""
    try:
        path = Path(name).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Path(name).expanduser()
    except (OSError, RuntimeError, ValueError) as caught:
        raise _unreadable(name, caught, error) from caught
    return path


@contextlib.contextmanager
def open_file(
    path: str | Path, *, limit: int | None, error: type[LatentEditError] = FileFormatError
) -> Generator[BinaryIO]:
    """A regular file of at most ``limit`` bytes, opened to be read; see the top of this module.

    Raises:
        error: no such file, a folder, a pipe or device, larger than the limit, or not readable.
    """
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NEVER_WAIT))  # noqa: SIM115
    except (OSError, ValueError) as caught:
        raise _unreadable(path, caught, error) from caught
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{path} is no regular file but a pipe or a device, and was not read. Save it to a file first")
        if limit is not None and status.st_size > limit:
            raise error(f"{path} has {status.st_size} bytes, which is above the limit of {limit}. It was not read")
        yield file


def read_bytes(path: str | Path, *, limit: int, error: type[LatentEditError] = FileFormatError) -> bytes:
    """The content of a file; see `open_file`."""
    with open_file(path, limit=limit, error=error) as file:
        try:
            return file.read(os.fstat(file.fileno()).st_size)
        except OSError as caught:
            raise _unreadable(path, caught, error) from caught


def check_place(path: str | Path, *, source: str | Path | None = None) -> None:
    """Raise an `OutputError` where a file could not be written, or would overwrite the source."""
    path = user_path(path, error=OutputError)
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder. Name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"the output folder {path.parent} does not exist. Create it first")
    if source is not None and path.resolve() == user_path(source, error=OutputError).resolve():
        raise OutputError(f"the output {path} is the picture itself. Choose another name")
    try:
        beside = _beside(path)
        beside.touch(exist_ok=False)
        beside.unlink()
    except OSError as error:
        raise unwritable(path, error) from error


def named_beside(path: Path, ending: str) -> Path:
    """Beside a file, under its name with another ending; a very long name is cut, and a part of its checksum added."""
    whole = os.fsencode(path.stem)
    if len(whole) <= _LONGEST_NAME_BYTES:
        return path.parent / f"{path.stem}.{ending}"
    name = whole[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore")
    return path.parent / f"{name}-{zlib.crc32(whole):08x}.{ending}"


@contextlib.contextmanager
def written_beside(path: str | Path) -> Generator[BinaryIO]:
    """A new file in the same folder, renamed to ``path`` at the end; removed where anything was raised before.

    An `OutputError` says why the place cannot be written to.
    """
    path = user_path(path, error=OutputError)
    beside = _beside(path)
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never made
            beside.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, its line ends as they are; see `written_beside`."""
    with written_beside(path) as file:
        file.write(text.encode("utf-8"))


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it where they are missing; an `OutputError` says why it cannot be."""
    try:
        user_path(path, error=OutputError).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"the folder {path} cannot be made: {why}. Choose another place") from error


def unwritable(path: Path, error: Exception) -> OutputError:
    """The error that says why nothing can be written there."""
    why = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{path} cannot be written: {why}. Choose another place, or free space")


def _unreadable(path: str | Path, caught: Exception, error: type[LatentEditError]) -> LatentEditError:
    """The error that says in plain words why nothing can be read there."""
    shown = str(path) if len(str(path)) <= _SHOWN_LETTERS else f"{str(path)[:_SHOWN_LETTERS]}..."
    number = getattr(caught, "errno", None)
    if number == errno.ENAMETOOLONG and error is OutputError:
        return error(f"the name of the result, {shown}, is too long. Choose a shorter one")
    if number in _WHY:
        return error(_WHY[number].format(shown))
    return error(f"{shown} cannot be read: {getattr(caught, 'strerror', None) or caught}. Check the path")


def _beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.tmp")


def plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as JSON knows them; numbers that it has no word for become null."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # pydantic's
        return plain(value.model_dump())
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownArgumentType]
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Sequence():
            return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return str(value)

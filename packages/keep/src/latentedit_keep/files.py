"""Reading regular files only, without ever blocking on a pipe, and writing files atomically."""

import contextlib
import dataclasses
import errno
import itertools
import math
import os
import secrets
import stat
import zlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from latentedit_keep.errors import FileFormatError, LatentEditError, OutputError

_LONGEST_NAME_BYTES = 200  # of a name without its ending; file systems allow 255 in all
_SHOWN_LETTERS = 200  # of a path in an error message
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
    """Expand ``~`` in a path; raises an ``error`` for a path that cannot exist on this system."""
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
    """Open a regular file of at most ``limit`` bytes for reading; raises an ``error`` otherwise."""
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
    """The content of a file; conditions as for `open_file`."""
    with open_file(path, limit=limit, error=error) as file:
        try:
            return file.read(os.fstat(file.fileno()).st_size)
        except OSError as caught:
            raise _unreadable(path, caught, error) from caught


def check_place(path: str | Path, *, source: str | Path | None = None) -> None:
    """Raise an `OutputError` if a file cannot be written, or would overwrite the source."""
    path = user_path(path, error=OutputError)
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder. Name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"the output folder {path.parent} does not exist. Create it first")
    if source is not None and path.resolve() == user_path(source, error=OutputError).resolve():
        raise OutputError(f"the output {path} is the picture itself. Choose another name")
    try:
        beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
        beside.touch(exist_ok=False)
        beside.unlink()
    except OSError as error:
        raise unwritable(path, error) from error


def named_beside(path: Path, ending: str) -> Path:
    """The path with another ending; a very long name is cut, and its checksum added to tell such names apart."""
    name, whole = path.stem, os.fsencode(path.stem)
    if len(whole) > _LONGEST_NAME_BYTES:
        name = f"{whole[:_LONGEST_NAME_BYTES].decode('utf-8', 'ignore')}-{zlib.crc32(whole):08x}"
    return path.parent / f"{name}.{ending}"


def free_name(path: Path) -> Path:
    """The path, or where that exists the first of ``name-2.png``, ``name-3.png``, ... that does not."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return path if not os.path.lexists(path) else next(other for other in numbered if not os.path.lexists(other))


@contextlib.contextmanager
def written_beside(path: str | Path) -> Generator[BinaryIO]:
    """Write a file atomically: a temporary file is renamed to ``path`` at the end, or removed after an error."""
    path = user_path(path, error=OutputError)
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never created
            beside.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically in UTF-8, with its line ends unchanged."""
    with written_beside(path) as file:
        file.write(text.encode("utf-8"))


def make_folder(path: str | Path) -> None:
    """Create a folder and its parents if missing; raises an `OutputError`."""
    try:
        user_path(path, error=OutputError).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(Path(path), error) from error


def unwritable(path: Path, error: Exception) -> OutputError:
    """The error for a path that cannot be written to."""
    return OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}. Choose another place")


def _unreadable(path: str | Path, caught: Exception, error: type[LatentEditError]) -> LatentEditError:
    """The error for a path that cannot be read."""
    shown = str(path) if len(str(path)) <= _SHOWN_LETTERS else f"{str(path)[:_SHOWN_LETTERS]}..."
    number = getattr(caught, "errno", None)
    if number == errno.ENAMETOOLONG and error is OutputError:
        return error(f"the name of the result, {shown}, is too long. Choose a shorter one")
    if number in _WHY:
        return error(_WHY[number].format(shown))
    return error(f"{shown} cannot be read: {getattr(caught, 'strerror', None) or caught}. Check the path")


def plain(value: Any) -> Any:
    """Convert dataclasses, mappings and sequences to JSON types; nan and infinity become null."""
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

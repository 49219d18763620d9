"""Reading regular files only, without ever blocking on a pipe, and writing files atomically."""

import contextlib
import csv
import dataclasses
import errno
import io
import itertools
import json
import math
import os
import re
import secrets
import stat
import sys
import unicodedata
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from latentedit.core.errors import FileFormatError, LatentEditError, OutputError
from latentedit.core.safe_paths import open_beneath

_LINUX = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share")}
_MACOS = {"cache": "Caches", "data": "Application Support"}
Encoded = bytes | bytearray | memoryview  # content of a file
_Kind = type[LatentEditError]  # class of the error that is raised
MAX_DOCUMENT_BYTES = 16_000_000  # most bytes of a JSON document whose kind has no limit of its own
_LONGEST_NAME_BYTES = 200  # most bytes of a name without its ending; file systems allow 255 in all
_FIRST_BYTES = 16  # first bytes of a file, by which its format is known
_SHOWN_LETTERS = 200  # letters of a path that an error message shows
_WHY = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "there is no such file: {}. Check the path"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "{} cannot be read: permission was denied. Change its permissions"),
    errno.EISDIR: "{} is a folder, not a file. Name a file in it",
    errno.ENXIO: "{} is no regular file but a socket, and was not read. Save it to a file first",
    errno.ELOOP: "{} is a link that leads back to itself, or that may not be followed. Check the path",
}
_URL = re.compile(r"https?:/")
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_confined: list[bool] = []  # whether this process reads relative paths without links


def user_path(name: str | Path, *, error: _Kind = FileFormatError) -> Path:
    """Expand ``~`` in a path; raises an ``error`` for a path that cannot exist on this system."""
    try:
        path = Path(name).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        return path
    except (OSError, RuntimeError, ValueError) as caught:
        raise _unreadable(name, caught, error) from caught


def check_exists(path: Path) -> None:
    """Raise a `FileFormatError` if there is neither a file nor a folder of this name."""
    try:
        path.stat()
    except (OSError, ValueError) as caught:
        raise _unreadable(path, caught, FileFormatError) from caught


def confine() -> None:
    """From now on, this process reads relative paths below its current folder, without following any link."""
    _confined.append(True)


def _open(name: str, flags: int) -> int:
    is_beneath = _confined and not Path(name).is_absolute()
    return (open_beneath if is_beneath else os.open)(name, flags | _NEVER_WAIT)


@contextlib.contextmanager
def open_file(path: str | Path, *, limit: int | None, error: _Kind = FileFormatError) -> Generator[BinaryIO]:
    """Open a regular file of at most ``limit`` bytes for reading; raises an ``error`` otherwise."""
    if not (isinstance(path, str) or hasattr(path, "__fspath__")):  # a number is a file that is open already
        raise error(f"a file is named by a path; got {type(path).__name__}. Give a path, an image or its bytes")
    try:
        file = open(path, "rb", opener=_open)  # noqa: SIM115
    except (OSError, ValueError) as caught:
        raise _unreadable(path, caught, error) from caught
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{path} is no regular file but a pipe or a device, and was not read. Save it to a file first")
        if limit is not None and status.st_size > limit:
            raise error(f"{path} has {status.st_size} bytes, which is above the limit of {limit}. It was not read")
        yield file


def read_bytes(
    path: str | Path, *, limit: int, error: _Kind = FileFormatError, starts: re.Pattern[bytes] | None = None
) -> bytes:
    """The content of a file, of one that ``starts`` does not match the first bytes only; conditions as `open_file`."""
    with open_file(path, limit=limit, error=error) as file:
        try:
            is_other = starts is not None and starts.match(file.read(_FIRST_BYTES)) is None
            file.seek(0)
            return file.read(_FIRST_BYTES if is_other else os.fstat(file.fileno()).st_size)
        except OSError as caught:
            raise _unreadable(path, caught, error) from caught


def read_text(path: str | Path, *, limit: int, error: _Kind = FileFormatError) -> str:
    """A UTF-8 text, with or without a byte order mark, its line ends as they are."""
    try:
        return read_bytes(path, limit=limit, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as caught:
        line = caught.object[: caught.start].count(b"\n") + 1
        what = f"the byte 0x{caught.object[caught.start]:02x} stands in line {line}"
        raise error(f"{path} is not in UTF-8: {what}. Save it as UTF-8") from caught


def read_json(
    path: str | Path, *, limit: int = MAX_DOCUMENT_BYTES, error: _Kind = FileFormatError, allow_nan: bool = False
) -> Any:
    """The value of a JSON file; see `parse_json`."""
    text = read_text(path, limit=limit, error=error)
    try:
        return parse_json(text, allow_nan=allow_nan)
    except ValueError as caught:
        raise error(f"{path} is not valid JSON: {caught}. Correct the file, or fetch it again") from caught


def parse_json(text: str | bytes, *, allow_nan: bool = False) -> Any:
    """The value of a JSON text in UTF-8, or a ValueError of one clause; with ``allow_nan`` also NaN and Infinity."""
    try:
        value: object = json.loads(text)
        # Lone surrogates pass as JSON, and cannot be printed; 1e999 passes as a number, and is infinite.
        json.dumps(value, ensure_ascii=False, allow_nan=allow_nan).encode("utf-8")
    except UnicodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"syntax error in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:  # also an integer of thousands of digits
        raise ValueError("it contains NaN, Infinity or a number out of range") from None
    return value


def read_object(text: str | bytes) -> dict[str, Any]:
    """One JSON object; a `ValueError` for anything else, whose message is one clause."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return cast("dict[str, Any]", value)


def check_format(fields: Mapping[str, Any], name: str, expected: int) -> None:
    """Raise a `FileFormatError` if a document has another format number than ``expected``."""
    written = fields.get("format")
    if isinstance(written, int) and written != expected:
        raise FileFormatError(
            f"{name} was written by another version of latentedit: it has the format {written}, "
            f"and this version reads the format {expected}. "
            "Use the version that wrote it, or make the file again"
        )


def check_place(path: str | Path, *, source: str | Path | None = None) -> None:
    """Raise an `OutputError` if a file cannot be written, or would overwrite the source."""
    path = user_path(path, error=OutputError)
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder. Name a file in it, such as {path / 'result.png'}")
    target = _target(path)
    if not target.parent.is_dir():
        raise OutputError(f"the output folder {target.parent} does not exist. Create it first")
    if source is not None and target.resolve() == user_path(source, error=OutputError).resolve():
        raise OutputError(f"the output {path} is the image itself. Choose another name")
    try:
        temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:
        raise unwritable(path, error) from error


def _target(path: Path) -> Path:
    """The file that is written for a path, at the end of all links; raises an `OutputError` for pipes and devices."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.exists() and not target.is_file():
        raise OutputError(f"{path} is no regular file, and was not replaced. Name a file")
    return target


def check_no_input(path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise an `OutputError` if a file that exists is one of the inputs, also by another name of it."""
    read = [user_path(one, error=OutputError) for one in inputs if one is not None]
    if path.exists() and any(one.exists() and path.samefile(one) for one in read):
        remedy = "Choose another name, or give `overwrite=True`"
        raise OutputError(f"{path} is an image that the result was made from. {remedy}")


def sibling_path(path: Path, ending: str) -> Path:
    """A path next to a file, with another ending, that does not exist yet; a long name is cut, with its checksum."""
    name, whole = path.stem, os.fsencode(path.stem)
    if len(whole) > _LONGEST_NAME_BYTES:
        name = f"{whole[:_LONGEST_NAME_BYTES].decode('utf-8', 'ignore')}-{zlib.crc32(whole):08x}"
    place = path.parent / f"{name}.{ending}"
    numbered = (place.with_stem(f"{place.stem}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([place], numbered) if not os.path.lexists(one))


def look_of(name: str) -> str:
    """A key that names share if they look the same: however letters are composed, whatever kind the spaces are of."""
    return re.sub(r"\s", " ", unicodedata.normalize("NFKC", name))


def existing(*paths: Path | None) -> tuple[Path, ...]:
    """The files that exist, which results are about to replace."""
    return tuple(path for path in paths if path is not None and path.exists())


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Generator[BinaryIO]:
    """Write a file atomically: a temporary file is renamed to ``path`` at the end, or removed after an error.

    Links stay, and the file at their end is replaced. A new file has its predecessor's permissions.
    """
    path = user_path(path, error=OutputError)
    target = _target(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        before = target.stat() if target.exists() else None
        mode = 0o666 if before is None else before.st_mode & 0o777
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode | 0o200)) as file:
            yield file
        if before is not None:
            with contextlib.suppress(OSError, AttributeError):  # the user is not in that group; Windows has no chown
                os.chown(temporary, -1, before.st_gid)
            temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or never created
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically in UTF-8, with its line ends unchanged."""
    with atomic_file(path) as file:
        file.write(as_text(text).encode("utf-8"))


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, one column for each name."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def make_folder(path: str | Path) -> None:
    """Create a folder and its parents if missing; raises an `OutputError`."""
    try:
        user_path(path, error=OutputError).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(Path(path), error) from error


def unwritable(path: Path, error: Exception) -> OutputError:
    """The error for a path that cannot be written to."""
    return OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}. Choose another place")


def _unreadable(path: str | Path, caught: Exception, error: _Kind) -> LatentEditError:
    shown = str(path) if len(str(path)) <= _SHOWN_LETTERS else f"{str(path)[:_SHOWN_LETTERS]}..."
    number = getattr(caught, "errno", None)
    if number == errno.ENAMETOOLONG and error is OutputError:
        return error(f"the name of the result, {shown}, is too long. Choose a shorter one")
    if number == errno.ENOENT and _URL.match(shown):
        address = re.sub(":/+", "://", shown)  # a path has no double slashes
        return error(f"{address} is a URL, which is not downloaded. Save the image as a file first")
    if number in _WHY:
        return error(_WHY[number].format(shown))
    return error(f"{shown} cannot be read: {getattr(caught, 'strerror', None) or caught}. Check the path")


def as_text(value: str, errors: str = "backslashreplace") -> str:
    """The value as text that UTF-8 can hold: a file name may have bytes that are no text."""
    return value.encode("utf-8", errors).decode()


def plain(value: Any) -> Any:
    """Convert dataclasses, mappings and sequences to JSON types; nan and infinity become null."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # pydantic's
        return plain(value.model_dump())
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Sequence():
            return [plain(item) for item in value]
        case _:
            return str(value)


def user_folder(kind: Literal["cache", "data"]) -> Path:
    """The user's folder for caches or data, by the convention of the platform; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / _MACOS[kind]
    else:
        variable, usual = _LINUX[kind]
        base = Path(os.environ.get(variable) or Path.home() / usual)
    return base / "latentedit"

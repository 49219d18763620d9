"""Files as they are read, whoever wrote them: what is no regular file, too large or too deep is refused before.

Every file that this library reads is opened here. Opening never waits (as a pipe without a writer would have it), and
what was opened is looked at, not what the name stood for a moment before.
"""

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from latentedit.core.errors import FileFormatError, LatentEditError

MAX_DEPTH = 128
"""Objects and lists inside each other in a document; a record of a hundred edits, one inside the other, has 103."""

MAX_DOCUMENT_BYTES = 16_000_000
"""Size of a JSON document, where its kind has no limit of its own."""

_MAX_DIGITS = 100  # of a whole number in JSON: Python refuses to print more than some thousands
_SHOWN_LETTERS = 200  # of a path in an error
_NO_ENTRY = (errno.ENOENT, errno.ENOTDIR)
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def user_path(name: str | Path, *, error: type[LatentEditError] = FileFormatError) -> Path:
    """A path as somebody wrote it, with ``~`` expanded; nothing has to be there.

    Args:
        name: relative or absolute.
        error: what is raised.

    Raises:
        error: a path that this system can't have or look at: ``~nobody``, a name that is too long, links in a circle.
    """
    path = Path(name)
    try:
        path = path.expanduser()
        path.stat()
    except OSError as caught:
        if caught.errno not in _NO_ENTRY:
            raise _unreadable(name, caught, error) from caught
    except (RuntimeError, ValueError) as caught:
        raise _unreadable(name, caught, error) from caught
    return path


@contextlib.contextmanager
def open_file(
    path: str | Path, *, limit: int | None, error: type[LatentEditError] = FileFormatError
) -> Generator[BinaryIO]:
    """A regular file, opened to be read; see the top of this module.

    Args:
        limit: size in bytes above which it is refused; None for files that are not read into memory.
        error: what is raised.

    Raises:
        error: no such file, a folder, a pipe or device, larger than the limit, or not readable.
    """
    try:
        file = open(path, "rb", opener=_opened_at_once)  # noqa: SIM115 (closed below)
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


def read_text(path: str | Path, *, limit: int, error: type[LatentEditError] = FileFormatError) -> str:
    """A text in UTF-8, with or without a byte order mark, its line ends as they are; see `open_file`."""
    try:
        return read_bytes(path, limit=limit, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as caught:
        line = caught.object[: caught.start].count(b"\n") + 1
        raise error(
            f"{path} is not in UTF-8: the byte 0x{caught.object[caught.start]:02x} stands in line {line}. "
            "Save it as UTF-8"
        ) from caught


def read_json(
    path: str | Path,
    *,
    limit: int = MAX_DOCUMENT_BYTES,
    depth: int = MAX_DEPTH,
    error: type[LatentEditError] = FileFormatError,
    allow_nan: bool = False,
) -> Any:
    """The value of a JSON file; see `open_file` and `parse_json`.

    Raises:
        error: a file that cannot be read, or no strict JSON.
    """
    text = read_text(path, limit=limit, error=error)
    try:
        return parse_json(text, depth=depth, allow_nan=allow_nan)
    except ValueError as caught:
        raise error(f"{path} is not sound JSON: {caught}. Correct the file, or fetch it again") from caught


def parse_json(text: str | bytes, *, depth: int = MAX_DEPTH, allow_nan: bool = False) -> Any:
    """Strict JSON in UTF-8: no name twice in one object, nothing that is no JSON, no half of a character.

    Args:
        text: all of it.
        depth: objects and lists that may stand inside each other; more are refused before anything is made of them.
        allow_nan: take NaN and Infinity, which Python writes, for numbers.

    Raises:
        ValueError: anything else; the message is one clause.
    """
    constant = None if allow_nan else _no_constant
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        _check_depth(text, depth)
        value: object = json.loads(text, object_pairs_hook=_distinct, parse_int=_read_int, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # halves of characters pass as JSON, and can't be printed
    except UnicodeError:
        raise ValueError("it is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON from line {error.lineno}, column {error.colno} on") from None
    return value


def read_object(text: str | bytes) -> dict[str, Any]:
    """One JSON object; see `parse_json`.

    Raises:
        ValueError: anything else; the message is one clause.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return cast("dict[str, Any]", value)


def _unreadable(path: str | Path, caught: Exception, error: type[LatentEditError]) -> LatentEditError:
    """The error that says in plain words why nothing can be read there."""
    shown = str(path) if len(str(path)) <= _SHOWN_LETTERS else f"{str(path)[:_SHOWN_LETTERS]}..."
    match caught:
        case FileNotFoundError() | NotADirectoryError():
            why = f"there is no such file: {shown}"
        case IsADirectoryError():
            return error(f"{shown} is a folder, not a file. Name a file in it")
        case PermissionError():
            return error(f"{shown} cannot be read: permission was denied. Change its permissions")
        case OSError(errno=errno.ENXIO):
            return error(f"{shown} is no regular file but a socket, and was not read. Save it to a file first")
        case OSError(errno=errno.ELOOP):
            why = f"{shown} is a link that leads back to itself"
        case _:
            why = f"{shown} cannot be read: {getattr(caught, 'strerror', None) or caught}"
    return error(f"{why}. Check the path")


def _opened_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | _NEVER_WAIT)


def _check_depth(text: str, most: int) -> None:
    depth = 0
    for bracket in _BRACKET.findall(text) if text.count("[") + text.count("{") > most else ():
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > most:
            raise ValueError(f"it is nested too deeply, more than {most} times")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"it has the name {twice[:40]!r} twice in one object")
    return made


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"it says {word}, which is no JSON")


def _read_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)

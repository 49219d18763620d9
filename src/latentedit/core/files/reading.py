"""JSON that anyone may have written: what is too large, too deep or ambiguous is refused before it is used."""

import json
import re
from pathlib import Path
from typing import Any, NoReturn, cast

from latentedit.core.errors import FileFormatError, LatentEditError
from latentedit_keep.files import read_bytes

MAX_DEPTH = 128
"""Objects and lists inside each other in a document; a record of a hundred edits, one inside the other, has 103."""

MAX_DOCUMENT_BYTES = 16_000_000
"""Size of a JSON document, where its kind has no limit of its own."""

_MAX_DIGITS = 100  # of a whole number in JSON: Python refuses to print more than some thousands
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def read_text(path: str | Path, *, limit: int, error: type[LatentEditError] = FileFormatError) -> str:
    """A text in UTF-8, with or without a byte order mark, its line ends as they are; see `open_file`."""
    try:
        return read_bytes(path, limit=limit, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as caught:
        line = caught.object[: caught.start].count(b"\n") + 1
        what = f"the byte 0x{caught.object[caught.start]:02x} stands in line {line}"
        raise error(f"{path} is not in UTF-8: {what}. Save it as UTF-8") from caught


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

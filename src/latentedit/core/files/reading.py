"""Text and JSON files, read up to a size limit, with errors that name the file; and the user's own folders."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from latentedit.core.errors import FileFormatError, LatentEditError
from latentedit_keep.files import read_bytes

MAX_DOCUMENT_BYTES = 16_000_000
"""Size limit of a JSON document whose kind has no limit of its own."""


_LINUX = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share")}
_MACOS = {"cache": "Caches", "data": "Application Support"}


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


def read_text(path: str | Path, *, limit: int, error: type[LatentEditError] = FileFormatError) -> str:
    """A UTF-8 text, with or without a byte order mark, its line ends as they are."""
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
    error: type[LatentEditError] = FileFormatError,
    allow_nan: bool = False,
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
        value: object = json.loads(text, parse_constant=None if allow_nan else _no_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates pass as JSON, and cannot be printed
    except UnicodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"syntax error in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def read_object(text: str | bytes) -> dict[str, Any]:
    """One JSON object; a `ValueError` for anything else, whose message is one clause."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return cast("dict[str, Any]", value)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"it contains {word}")

"""CSV, JSON and YAML files as plain values; one that cannot be read is told with the line where known."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import yaml

from latentedit.core.errors import FileFormatError


def read_text(path: Path) -> str:
    """A file in UTF-8, with or without a byte order mark, its line ends as they are.

    Raises:
        FileFormatError: no such file, a folder, not readable, or another encoding.
    """
    try:
        if not path.is_file():
            raise FileFormatError(f"expected {path} to be a file; there is none. Check the path")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise FileFormatError(
            f"expected {path} in UTF-8; got the byte 0x{error.object[error.start]:02x} in line {line}. Save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"expected {path} to be readable; got: {error}. Check the path") from error


def read_csv(path: Path) -> list[list[str]]:
    """The cells of a file with commas, its empty lines left out.

    Raises:
        FileFormatError: not readable, or quotes that do not fit.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        return [row for row in reader if any(row)]
    except csv.Error as error:
        raise _malformed(path, "CSV", f"{error} in line {reader.line_num}") from error


def read_document(path: Path) -> Any:
    """What a JSON file holds, or a YAML file where the name ends otherwise.

    Raises:
        FileFormatError: not readable, or malformed; a JSON object with a key twice too.
    """
    return read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)


def read_json(path: Path) -> Any:
    """What a JSON file holds; see `read_document`."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "JSON", str(error)) from error


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, by PyYAML's safe loader; see `read_document`."""
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" in line {mark.line + 1}"
        raise _malformed(path, "YAML", f"{error.problem or error.context}{place}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _malformed(path, "YAML", str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} twice in one object")
        found[key] = value
    return found


def _malformed(path: Path, kind: str, why: str) -> FileFormatError:
    return FileFormatError(f"expected {path} to be sound {kind}; got: {why}. Correct the file")

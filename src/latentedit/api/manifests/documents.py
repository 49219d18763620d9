"""CSV, JSON and YAML files as plain values; one that cannot be read is refused with the line where known."""

import csv
import io
from pathlib import Path
from typing import Any

import yaml

from latentedit.core.errors import FileFormatError
from latentedit.core.files import reading

MAX_BYTES = 64_000_000
"""Size of a list of pictures; a hundred thousand rows have a tenth of it."""


def read_text(path: Path) -> str:
    """A list's text; see `latentedit.core.files.reading.read_text`."""
    return reading.read_text(path, limit=MAX_BYTES)


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
    return reading.read_json(path, limit=MAX_BYTES) if path.suffix.lower() == ".json" else read_yaml(path)


def read_yaml(path: Path) -> Any:
    """The value of a YAML file, by PyYAML's safe loader.

    Raises:
        FileFormatError: not readable, or malformed.
    """
    try:
        return yaml.safe_load(read_text(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise _malformed(path, "YAML", f"{error.problem or error.context}{where}") from error
    except Exception as error:  # the readers of !!int, !!bool and the like raise whatever they meet
        raise _malformed(path, "YAML", str(error)) from error


def _malformed(path: Path, kind: str, why: str) -> FileFormatError:
    return FileFormatError(f"{path} is not sound {kind}: {why}. Correct the file")

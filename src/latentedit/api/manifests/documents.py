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

_MAX_YAML_VALUES = 1_000_000  # that a YAML file may mean, every alias written out: a bomb says 2^28 in 28 lines
_MAX_BITS = 64  # of a whole number: Python refuses to print very long ones


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
    """What a YAML file holds, by PyYAML's safe loader; see `read_document`.

    Raises:
        FileFormatError: not readable, malformed, nested too deeply, or aliases that unfold without measure.
    """
    text = read_text(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > _MAX_YAML_VALUES:
            raise yaml.constructor.ConstructorError(problem="its aliases unfold to too many values")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" in line {mark.line + 1}"
        raise _malformed(path, "YAML", f"{error.problem or error.context}{place}") from error
    except yaml.YAMLError as error:
        raise _malformed(path, "YAML", str(error)) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which says where it stumbles, and stops where values are nested too deeply."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > reading.MAX_DEPTH:
            problem = f"it is nested too deeply, more than {reading.MAX_DEPTH} times"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int) and made.bit_length() > _MAX_BITS:
                raise ValueError(f"a number of more than {_MAX_BITS} bits")
        except yaml.YAMLError:
            raise
        except Exception as error:  # the readers of !!int, !!bool and the like raise whatever they meet
            problem = f"{str(node.value)[:40]!r} cannot be read as {node.tag.rpartition(':')[2]} ({error})"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from error
        return made


def _values(node: Any, known: dict[int, int]) -> int:
    """How many values a node means with every alias written out; more than the limit where it holds itself."""
    if id(node) not in known:
        known[id(node)] = _MAX_YAML_VALUES + 1
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        known[id(node)] = 1 + sum(_values(part, known) for part in flat)
    return known[id(node)]


def _malformed(path: Path, kind: str, why: str) -> FileFormatError:
    return FileFormatError(f"{path} is not sound {kind}: {why}. Correct the file")

"""Rows of finished work in a file, one line a unit: a stop, or a line that was cut off, loses one unit at most."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.api.outputs import plain
from latentedit.core.files.writing import write_text

Unit = tuple[str | int | float, ...]
"""A unit of work by plain values, the same in every run."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Journal:
    """What is known of the units of one piece of work.

    Args:
        path: of the file, JSON lines.
        known: the rows of each finished unit.
    """

    path: Path
    known: dict[Unit, list[dict[str, Any]]]

    @staticmethod
    def open(path: Path) -> "Journal":
        """Read what is there; a last line that was cut off is removed."""
        known: dict[Unit, list[dict[str, Any]]] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_text(path, whole)
        for line in whole.splitlines():
            unit, rows = json.loads(line)
            known[tuple(unit)] = rows
        return Journal(path=path, known=known)

    def add(self, unit: Unit, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a finished unit."""
        told = plain(rows)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([list(unit), told], allow_nan=False) + "\n")
        self.known[unit] = told

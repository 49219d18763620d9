"""Entries of the open task side by side: what one score becomes, and the stored table that it is ranked in."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from latentedit.core.errors import ConfigError
from latentedit.core.files.reading import read_json
from latentedit_bench.metrics.statistics import Estimate, Table
from latentedit_bench.open_task.scoring import AS_IS, KEPT, errors_by, estimates
from latentedit_bench.open_task.task import TaskSpec

STORED = Path("results/leaderboard.json")
"""Where the table lies in the repository."""


class Told(pydantic.BaseModel):
    """A mean with its 95 % interval, over so many portraits; null ends where there are too few for one."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mean: float
    low: float | None
    high: float | None
    pictures: int


class Entry(pydantic.BaseModel):
    """A row of the table.

    Args:
        name: of the tool.
        made: how its pictures were made, such as a command.
        task: which was scored.
        failed: files that were missing, not readable or of another size.
        measures: by how they were scored ("as it is", "after keep") or what was asked afterwards (`task.Then.name`),
            those of `scoring.MEASURES` that are known.
        kinds: likewise, the error of each kind of change.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    made: str
    task: TaskSpec
    failed: int
    measures: dict[str, dict[str, Told]]
    kinds: dict[str, dict[str, Told]]

    @property
    def error(self) -> float:
        """By which entries are ranked: the mean error as it is, at most 1."""
        found = self.measures[AS_IS].get("error")
        return math.inf if found is None else found.mean


class Leaderboard(pydantic.BaseModel):
    """The stored table."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    entries: list[Entry]


def entry_of(name: str, made: str, task: TaskSpec, rows: Table, items: Table) -> Entry:
    """An entry by its rows and its items; see `scoring`."""
    return Entry(
        name=name,
        made=made,
        task=task,
        failed=int(rows.loc[rows["scored"] != KEPT, "failed"].sum()),
        measures=_told(estimates(items)),
        kinds=_told(errors_by(items, "kind")),
    )


def read_entries(path: Path | None) -> list[Entry]:
    """The entries of a stored table.

    Args:
        path: of the table; None for `STORED`, which need not be there.

    Raises:
        ConfigError: no table there, or no sound one.
        FileFormatError: no JSON.
    """
    if path is None and not STORED.is_file():
        return []
    try:
        return Leaderboard.model_validate(read_json(path or STORED)).entries
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"{path or STORED} is no table of entries: {where}: {fault['msg']}. Give another") from error


def ranked(entry: Entry, stored: Sequence[Entry]) -> tuple[list[Entry], int]:
    """The entry among those of the same task, the best first, and how many of other tasks were left out.

    A stored entry of the same name and task gives way to the new one.
    """
    same = [one for one in stored if one.task.same_pictures(entry.task)]
    others = [one for one in same if one.name != entry.name]
    return sorted([entry, *others], key=lambda one: one.error), len(stored) - len(same)


def _told(found: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {
        scored: {
            name: Told(mean=one.mean, low=_known(one.low), high=_known(one.high), pictures=one.pictures)
            for name, one in some.items()
            if math.isfinite(one.mean)
        }
        for scored, some in found.items()
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Rows of units over the runs' one store and runner: a unit that is finished is not done again."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.api.runs.executors import run_work
from latentedit.api.runs.folder import RunFolder, file_name
from latentedit.api.runs.work import UnitResult
from latentedit.core.progress import Progress
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.run import table_of


def measured(
    folder: Path,
    *,
    kind: str,
    plan: Mapping[str, Any],
    units: Sequence[tuple[Any, ...]],
    measure: Callable[[Any], Sequence[Mapping[str, Any]]],
    command: str,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Table:
    """The rows of all units in their order, in a folder as `RunFolder` has it.

    Args:
        folder: is made where it is missing; a run that was stopped goes on.
        kind: of the run, with which progress is called.
        plan: everything that decides the rows, as plain values.
        units: plain values each.
        measure: the rows of one of them.
        command: that is stored with the rows.
        progress: called after each unit, in units.
        note: called with what the user should know.

    Raises:
        ConfigError: the folder holds the run of another plan.
        OutputError: the folder cannot be written to, or the disk is full.
        KeyboardInterrupt: saying what is kept.
    """
    names = {file_name(f"{index:05d} {' '.join(map(str, unit))}"): unit for index, unit in enumerate(units)}
    work = _Units(spec=plan, named=names, measure=measure)
    opened = RunFolder.start(folder, plan, kind=kind, units=list(names), command=command, request={})
    for said in run_work(opened, work, progress=progress):
        if note is not None:
            note(said)
    return table_of(opened)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Units:
    """Units as work for a runner in this process."""

    spec: Mapping[str, Any]
    named: Mapping[str, tuple[Any, ...]]
    measure: Callable[[Any], Sequence[Mapping[str, Any]]]

    @property
    def units(self) -> list[str]:
        return list(self.named)

    def task(self, unit: str, *, with_bytes: bool = False) -> tuple[Any, ...]:
        del with_bytes
        return self.named[unit]

    def start(self) -> Callable[[Any], UnitResult]:
        return lambda unit: UnitResult(rows=self.measure(unit))

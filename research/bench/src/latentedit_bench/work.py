"""Work whose units need nothing but their task."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.batch import Executor, RunFolder, UnitFunction, run_work
from latentedit.core import Progress
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.run import table_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitWork:
    """Units with small tasks; see `latentedit.batch.work.Work`."""

    spec: Mapping[str, Any]
    tasks: Mapping[str, Any]  # keys are names of units, in order
    measure: UnitFunction  # function of a task; can be pickled

    @property
    def units(self) -> Sequence[str]:
        """Their names."""
        return list(self.tasks)

    def task(self, unit: str) -> Any:
        """The subject of the measurement."""
        return self.tasks[unit]

    def start(self) -> UnitFunction:
        """Nothing to load."""
        return self.measure

    def rows(
        self, folder: Path, *, kind: str, command: str, executor: Executor, progress: Progress | None = None
    ) -> Table:
        """All rows; a folder keeps them, and those that are missing are measured."""
        run = RunFolder.start(folder, self.spec, kind=kind, units=self.units, command=command, request={})
        run_work(run, self, executor=executor, progress=progress)
        run.write_table()
        return table_of(run)

"""Running a benchmark in a folder: on one machine by one process or several, or on a cluster."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from latentedit.api.runs.executors import Executor, run_work
from latentedit.api.runs.folder import RunFolder
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.models.base import Backbone
from latentedit_bench.metrics.statistics import Table, with_numbers
from latentedit_bench.ranking.plan import KIND, Plan
from latentedit_bench.ranking.work import BenchWork


def run(
    plan: Plan,
    folder: Path,
    *,
    command: str,
    request: Mapping[str, Any] | None = None,
    pictures: bool = False,
    load: Callable[[], Backbone] | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Table:
    """Measure what was not measured before.

    Args:
        plan: what is run.
        folder: where the run goes, see `api.runs.folder`; made where it is missing. A run that was stopped goes on.
        command: that is stored with it.
        request: what makes the same plan again, for ``bench resume``.
        pictures: also write every edited picture, under ``pictures/METHOD/STRENGTH/ITEM.png``.
        load: loads the plan's model in another process; can be pickled.
        executor: this process by default.
        progress: called with the number of finished units.
        note: called with what the user should know, such as workers that died on the way.

    Returns:
        Every row, see `evaluate.evaluate`; also ``rows.csv`` in the folder.

    Raises:
        ConfigError: the folder holds another run, one of another version, or one without the pictures that are wanted.
        OutputError: the folder cannot be written to, or the disk is full.
        KeyboardInterrupt: saying what is kept.
    """
    executor = Executor() if executor is None else executor
    work = BenchWork.of(plan, load=None if executor.here else load, pictures=pictures)
    told = {**(request or {}), "pictures": pictures}
    opened = RunFolder.start(folder, work.spec, kind=KIND, units=sorted(work.units), command=command, request=told)
    if pictures and not opened.manifest.request.get("pictures", True):
        raise ConfigError(
            f"the run in {folder} was begun without pictures, so its finished parts have none. Name another folder "
            "with -o"
        )
    for said in run_work(opened, work, executor=executor, progress=progress):
        if note is not None:
            note(said)
    opened.write_table()
    return table_of(opened)


def table_of(run: RunFolder) -> Table:
    """Every row of the finished units; a column that says nothing anywhere holds numbers."""
    return with_numbers(pd.DataFrame(run.rows()))

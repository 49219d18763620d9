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
    plan: Plan,  # what is run
    folder: Path,  # where the run goes, see `api.runs.folder`; made where it is missing. A run that was stopped goes on
    *,
    command: str,  # that is stored with it
    request: Mapping[str, Any] | None = None,  # what makes the same plan again, for ``bench resume``
    pictures: bool = False,  # also write every edited picture, under ``pictures/METHOD/STRENGTH/ITEM.png``
    load: Callable[[], Backbone] | None = None,  # loads the plan's model in another process; can be pickled
    executor: Executor | None = None,  # this process by default
    progress: Progress | None = None,  # called with the number of finished units
    # called with what the user should know, such as workers that died on the way
    note: Callable[[str], None] | None = None,
) -> Table:
    """Measure what was not measured before."""
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

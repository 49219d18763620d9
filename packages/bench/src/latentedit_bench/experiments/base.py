"""What an experiment is: a question, a plan that is fixed before the run, units of work, and what their rows say."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from latentedit.api.runs.executors import Executor, run_work, suitable_workers
from latentedit.api.runs.folder import RunFolder, file_name
from latentedit.api.runs.work import UnitResult
from latentedit.core.errors import RegistryError
from latentedit.core.plugins import EXPERIMENTS
from latentedit.core.progress import Progress
from latentedit.core.settings import to_plain
from latentedit.models.placement import existing_device
from latentedit.models.registry import weights_fingerprint
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.plotting import draw_numbers, panels
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.run import table_of

T = TypeVar("T")

Unit = tuple[str | int | float, ...]
"""One unit of work: plain values, the same in every run of the same plan."""

Row = dict[str, str | int | float | None]
"""One measured row of a table; None stands for what could not be measured."""

_FEWEST = 4
"""Units for which it is worth loading the models once more, in another process."""

RULE = (
    "holds where the 95 % interval of the number (bootstrap over pictures) lies above 0, does not hold where it lies "
    "below 0, and is undecided at this size otherwise"
)
"""How a number decides, in every experiment that does not state its own rule."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What all rows of an experiment together say.

    Args:
        claims: each with its number, interval and verdict; the first of each model is the one that the statement is
            about.
        summary: the table behind the plot: means, intervals, null levels.
        rows: what it is concluded from; see `Experiment.run`.
        line: what was found, in one line; may be empty.
        notes: what a reader must know beside the numbers: what is matched and what is not, which control was used.
    """

    claims: tuple[Claim, ...]
    summary: Table = dataclasses.field(default_factory=pd.DataFrame)
    rows: Table = dataclasses.field(default_factory=pd.DataFrame)
    line: str = ""
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """Where an experiment works, and who hears of it.

    Args:
        folder: of its rows; made where it is missing.
        command: that is stored with them.
        device: where models run; None is the best there is.
        progress: called with the experiment's name, and that of its part where it has several, after each unit.
        note: called with what the user should know, such as workers that died on the way.
        made: what `once` keeps, in one process.
    """

    folder: Path
    command: str
    device: str | None = None
    progress: Progress | None = None
    note: Callable[[str], None] | None = None
    made: dict[Any, Any] = dataclasses.field(default_factory=dict[Any, Any])

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What several units share, such as a loaded model: made when it is asked for first."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


class Experiment(abc.ABC):
    """One question; a claim of a paper where the paper's sentence is given.

    Laws:
        1. ``plan`` is known before anything is measured, and decides every number.
        2. ``units`` is the same for the same plan; ``measure`` depends on the plan and the unit only, so that a run can
           stop anywhere and go on.
        3. ``quick`` asks the same question of fewer pictures.

    Subclasses are frozen dataclasses whose fields are sizes and settings, the full plan's by default. Registered under
    their ``name`` in the entry-point group ``latentedit.experiments``.
    """

    name: ClassVar[str]
    """As the command line knows it."""

    minutes: ClassVar[int] = 0
    """How long the full plan took on two CPU cores, alone and from nothing; 0 where that is not known."""

    title: ClassVar[str] = ""
    """What is looked at, for plots and lists."""

    paper: ClassVar[str] = ""
    """Short name and number of the paper, such as "EIM (arXiv 2411.08196)"; empty where no claim is tested."""

    statement: ClassVar[str] = ""
    """What the paper says, in our words."""

    statistic: ClassVar[str] = ""
    """The number that decides, with its unit, such that the claim is true where it is above 0."""

    rule: ClassVar[str] = RULE
    """How the number decides."""

    notes: ClassVar[tuple[str, ...]] = ()
    """What a reader must know beside the numbers."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """Models, pictures, methods, levels, seeds: plain values."""
        return to_plain(self)

    def quick(self) -> "Experiment":
        """The same with a smaller plan."""
        return self

    @abc.abstractmethod
    def units(self, at: Context) -> Sequence[Unit]:
        """The units of work, in their order."""

    @abc.abstractmethod
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """The rows of one unit."""

    @abc.abstractmethod
    def conclude(self, rows: Table) -> Outcome:
        """What all rows say, with intervals and against a control."""

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """A plot that can be read alone: axes with units, intervals, the null level; by default the claims' numbers."""
        draw_numbers(panels(figure, [self.title or self.name])[0][0], outcome.claims, unit=self.statistic)

    def rows(self, at: Context) -> Table:
        """Every row; what was not measured before is measured, and a run that was stopped goes on.

        On a CPU by a process a core, see `suitable_workers`.

        Raises:
            ConfigError: the folder holds rows of another plan.
            OutputError: the folder cannot be written to, or the disk is full.
            KeyboardInterrupt: saying what is kept.
        """
        units = self.units(at)
        named = {file_name(f"{index:05d} {' '.join(map(str, unit))}"): unit for index, unit in enumerate(units)}
        work = _Work(experiment=self, spec=self.stored_plan(at), named=named, at=at)
        folder = RunFolder.start(at.folder, work.spec, kind=self.name, units=work.units, command=at.command, request={})
        executor = Executor(workers=suitable_workers(existing_device(at.device), len(units) // _FEWEST))
        for said in run_work(folder, work, executor=executor, progress=at.progress):
            if at.note is not None:
                at.note(said)
        return table_of(folder)

    @property
    def model_names(self) -> Sequence[str]:
        """The models whose weights decide the rows: bundled names, or folders; none by default."""
        return ()

    def weights(self) -> dict[str, str]:
        """Fingerprints of the weights behind the models' names, as they are now."""
        return {name: weights_fingerprint(name) for name in self.model_names}

    def stored_plan(self, at: Context) -> Mapping[str, Any]:
        """What must be the same for stored rows to be the same: the plan, and the weights behind its models' names."""
        del at
        fingerprints = list(self.weights().values())
        return {**self.plan, "fingerprints": fingerprints} if fingerprints else self.plan

    def run(self, at: Context) -> Outcome:
        """What the rows say, and the rows themselves; see `rows`."""
        rows = self.rows(at)
        return dataclasses.replace(self.conclude(rows), rows=rows)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Units as work for runners, of which another process makes anew what several units share."""

    experiment: Experiment
    spec: Mapping[str, Any]
    named: Mapping[str, Unit]
    at: Context

    @property
    def units(self) -> list[str]:
        return list(self.named)

    def task(self, unit: str, *, with_bytes: bool = False) -> Unit:
        del with_bytes
        return self.named[unit]

    def start(self) -> Callable[[Unit], UnitResult]:
        return lambda unit: UnitResult(rows=self.experiment.measure(unit, self.at))

    def __reduce__(self) -> tuple[Any, ...]:
        elsewhere = dataclasses.replace(self.at, progress=None, note=None, made={})
        return _Work, (self.experiment, self.spec, self.named, elsewhere)


def make_experiment(name: str) -> Experiment:
    """The installed experiment of that name, with its full plan.

    Raises:
        RegistryError: there is none, with the nearest names; or what is registered is no experiment.
    """
    made = EXPERIMENTS.load(name)()
    if not isinstance(made, Experiment):
        raise RegistryError(f"what is registered as the experiment {name!r} is a {type(made).__name__}, which is none")
    return made

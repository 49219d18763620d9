"""An experiment: the claim of a paper, where it is measured, and the number that decides.

    @experiment("name", paper=EIM_PAPER, says="the claim", on=Items(...), decides=Number(...), quick={...})
    def name(batch, *, level=0.5): ...

The function yields what is measured of one unit; its keyword arguments are settings of the plan, its docstring is read
beside the result. `quick` changes fields of `on` and settings.
"""

import abc
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from latentedit.batch.executors import Executor, run_work, suitable_workers
from latentedit.batch.folder import RunFolder, UnitResult, file_name
from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EXPERIMENTS
from latentedit.core.progress import Progress
from latentedit.models.placement import existing_device
from latentedit.models.registry import weights_fingerprint
from latentedit_bench.experiments.decisions import Claim, Statistic
from latentedit_bench.experiments.plots import Plot
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.run import table_of
from latentedit_keep.files import plain

T = TypeVar("T")

EIM_PAPER = "EIM (arXiv 2411.08196)"
RIEMANNIAN = "Riemannian geometry of the latent space (arXiv 2307.12868)"
UNSUPERVISED = "Unsupervised semantic directions (arXiv 2302.12469)"
MODELS = ("portraits", "portraits-unet")  # the bundled models of portraits: a transformer and a U-Net
SEED = 20  # of every random number: one that no run before these plans has used
Unit = tuple[str | int | float, ...]  # one unit of work: plain values, the same in every run of the same plan
Row = dict[str, Any]  # one measured row of a table; None stands for what could not be measured
Rows = Iterator[Row]
LATER = {"later": True}  # marks fields of a source that plans name only where they are not at their default
_FEWEST = 4  # units for which it is worth loading the models once more, in another process


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """Where an experiment works, and who hears of it."""

    folder: Path  # of its rows; made where it is missing
    command: str  # that is stored with them
    device: str | None = None  # where models run; None is the best there is
    progress: Progress | None = None  # called with the experiment's name after each unit
    made: dict[Any, Any] = dataclasses.field(default_factory=dict[Any, Any])  # what `once` keeps, in one process

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What several units share, such as a loaded model: made when it is asked for first."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source(abc.ABC):
    """What is looked at: models, images, sizes. Everything in its fields is part of the plan."""

    keys: ClassVar[tuple[str, ...]]  # columns by which rows are paired, unless the experiment names others
    image_columns: ClassVar[tuple[str, ...]]  # columns that name the images of a row
    quick: ClassVar[Mapping[str, Any]] = {}  # fields of the smaller plan, unless the experiment names others

    models: tuple[str, ...] = MODELS
    seed: int = SEED

    @abc.abstractmethod
    def units(self, look: Callable[..., Any], at: Context) -> Sequence[Unit]:
        """The units of work, in their order."""

    @abc.abstractmethod
    def measure(self, look: Callable[..., Any], unit: Unit, at: Context) -> Iterable[Row]:
        """The rows of one unit; they depend on the plan and the unit only."""

    def rows(self, one: "Experiment", at: Context) -> Table:
        """All rows; what was not measured before is measured, on a CPU by a process a core."""
        units = self.units(one.look, at)
        named = {file_name(f"{index:05d} {' '.join(map(str, unit))}"): unit for index, unit in enumerate(units)}
        work = _Work(experiment=one, spec={**one.plan, "weights": one.weights()}, named=named, at=at)
        folder = RunFolder.start(at.folder, work.spec, kind=one.name, units=work.units, command=at.command, request={})
        executor = Executor(workers=suitable_workers(existing_device(at.device), len(units) // _FEWEST))
        run_work(folder, work, executor=executor, progress=at.progress)
        return table_of(folder)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """A claim, and how it is measured."""

    name: str  # as the command line knows it
    paper: str  # short name and number
    says: str  # the claim, in our words
    on: Source  # where it is measured
    look: Callable[..., Iterable[Any]]  # measures a unit; see the source's `measure`
    decides: Statistic  # the number that decides, of each model
    tells: tuple[Statistic, ...] = ()  # numbers that are reported beside it
    plots: tuple[Plot, ...] = ()  # drawn in a row, before that of the number that decides
    keys: tuple[str, ...] = ()  # see `Source`
    image_columns: tuple[str, ...] = ()
    prepare: Callable[[Table], Table] = lambda rows: rows  # adds or selects columns before numbers are taken
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # of the function
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # fields of the smaller plan
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # from the module
    minutes: int = 0  # that the full plan took on two CPU cores; 0 where that is not known

    @property
    def notes(self) -> str:
        """What a reader must know beside the numbers."""
        return inspect.getdoc(self.look) or ""

    @property
    def plan(self) -> Mapping[str, Any]:
        """Models, images, levels, seeds: plain values."""
        late = {one.name for one in dataclasses.fields(self.on) if one.metadata.get("later")}
        same = {one.name for one in dataclasses.fields(self.on) if getattr(self.on, one.name) == one.default}
        about = {name: value for name, value in plain(self.on).items() if name not in late & same}
        return {**about, **plain(self.settings)}

    def changed(self, **changes: Any) -> "Experiment":
        """With other sizes or settings."""
        fields = {field.name for field in dataclasses.fields(self.on)}
        unknown = set(changes) - fields - set(self.settings)
        if unknown:
            raise ConfigError(f"{self.name} has no setting {sorted(unknown)[0]!r}. Leave it out")
        on = dataclasses.replace(self.on, **{name: value for name, value in changes.items() if name in fields})
        settings = {name: changes.get(name, value) for name, value in self.settings.items()}
        return dataclasses.replace(self, on=on, settings=settings, changes={**self.changes, **changes})

    def variant(self, name: str, how: str, **changes: Any) -> "Experiment":
        """The same claim with other sizes or settings, as another experiment; how they differ is said in brackets."""
        return dataclasses.replace(self.changed(**changes), name=name, says=f"{self.says} ({how})", minutes=0)

    def measure(self, unit: Unit, at: Context) -> list[Row]:
        """The rows of one unit."""
        return list(self.on.measure(functools.partial(self.look, **self.settings), unit, at))

    def weights(self) -> dict[str, str]:
        """Fingerprints of the weights behind the models' names, as they are now."""
        return {name: weights_fingerprint(name) for name in self.on.models}

    def rows(self, at: Context) -> Table:
        """Every row, measured or read."""
        return self.prepare(self.on.rows(self, at))

    def conclude(self, rows: Table) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
        """What decides, one a model; and what is told beside it."""
        keys, images = self.keys or self.on.keys, self.image_columns or self.on.image_columns
        told = [one for number in (*self.tells, *self.decides.sides()) for one in number.claims(rows, keys, images)]
        return tuple(self.decides.claims(rows, keys, images)), tuple(told)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.look.__module__, self.look.__name__, self.name, dict(self.changes))


def experiment(name: str, *, on: Source, **about: Any) -> Callable[[Callable[..., Iterable[Any]]], Experiment]:
    """Make an experiment of a function that measures; see `Experiment` for what else is named."""
    quick = {**on.quick, **about.pop("quick", {})}

    def made(look: Callable[..., Iterable[Any]]) -> Experiment:
        given = inspect.signature(look).parameters.values()
        settings = {one.name: one.default for one in given if one.default is not inspect.Parameter.empty}
        return Experiment(name=name, on=on, look=look, settings=settings, quick=quick, **about)

    return made


def make_experiment(name: str) -> Experiment:
    """The installed experiment of that name, with its full plan."""
    made = EXPERIMENTS.load(name)
    if not isinstance(made, Experiment):
        raise RegistryError(f"the entry point {name!r} is a {type(made).__name__}. Register an experiment")
    return made


def _again(module: str, look: str, name: str, changes: Mapping[str, Any]) -> Experiment:
    """In another process."""
    made: Experiment = getattr(importlib.import_module(module), look)
    return dataclasses.replace(made.changed(**changes), name=name)


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

    def task(self, unit: str) -> Unit:
        return self.named[unit]

    def start(self) -> Callable[[Unit], UnitResult]:
        return lambda unit: UnitResult(rows=self.experiment.measure(unit, self.at))

    def __reduce__(self) -> tuple[Any, ...]:
        elsewhere = dataclasses.replace(self.at, progress=None, made={})
        return _Work, (self.experiment, self.spec, self.named, elsewhere)

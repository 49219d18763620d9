"""An experiment: a claim of a paper, the source of its images, and the measure that decides it.

    @experiment("name", paper=EIM_PAPER, claim="...", source=Items(...), primary=Measure(...), quick={...})
    def name(batch, *, level=0.5): ...

The function measures one unit and yields its rows. Its keyword arguments are settings of the plan; its docstring is
printed with the result. `quick` overrides fields of `source` and settings for a smaller plan.
"""

import abc
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from latentedit import load
from latentedit.batch import Executor, UnitResult, file_name, suitable_workers
from latentedit.core import EXPERIMENTS, ConfigError, Progress, RegistryError, plain
from latentedit.core import MODELS as BUNDLED
from latentedit.numerics import existing_device
from latentedit_bench.metrics.decisions import Outcome, Statistic
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.report.plots import Plot
from latentedit_bench.work import UnitWork

T = TypeVar("T")

EIM_PAPER = "EIM (arXiv 2411.08196)"
RIEMANNIAN = "Riemannian geometry of the latent space (arXiv 2307.12868)"
UNSUPERVISED = "Unsupervised semantic directions (arXiv 2302.12469)"
MODELS = ("portraits", "portraits-unet")  # the bundled models of portraits: a transformer and a U-Net
SEED = 20  # seed of all random numbers; no run before these plans used it
Unit = tuple[str | int | float, ...]  # one unit of work: plain values, the same in every run of the same plan
Row = dict[str, Any]  # one measured row of a table; None if not measured
Rows = Iterator[Row]
LATER = {"later": True}  # marks fields that a plan lists only if they differ from their default
_FEWEST = 4  # units for which it is worth loading the models once more, in another process


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """Folder, device, progress callback and cache of a run."""

    folder: Path  # folder of the rows; created if it is missing
    command: str  # stored with the rows
    device: str | None = None  # device of the models; None is the best available
    progress: Progress | None = None  # called with the experiment's name after each unit
    cache: dict[Any, Any] = dataclasses.field(default_factory=dict[Any, Any])  # values of `cached`, in one process

    def cached(self, key: Any, make: Callable[[], T]) -> T:
        """A value that several units share, such as a loaded model; created on first use."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def __reduce__(self) -> tuple[Any, ...]:  # another process fills its own cache
        return functools.partial(Context, folder=self.folder, command=self.command, device=self.device), ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source(abc.ABC):
    """Models, images and sizes of an experiment. All fields are part of the plan."""

    keys: ClassVar[tuple[str, ...]]  # columns by which rows are paired, unless the experiment names others
    image_columns: ClassVar[tuple[str, ...]]  # columns that name the images of a row
    quick: ClassVar[Mapping[str, Any]] = {}  # fields of the smaller plan, unless the experiment names others

    models: tuple[str, ...] = MODELS
    seed: int = SEED

    @abc.abstractmethod
    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """The units of work, in their order."""

    @abc.abstractmethod
    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """The rows of one unit; they depend on the plan and the unit only."""

    def rows(self, one: "Experiment", context: Context) -> Table:
        """All rows; missing ones are measured, on a CPU by one process per core."""
        units = self.units(one.function, context)
        named = {file_name(f"{index:05d} {' '.join(map(str, unit))}"): unit for index, unit in enumerate(units)}
        spec, measure = {**one.plan, "weights": one.weights()}, functools.partial(_measured, one, context)
        work = UnitWork(spec=spec, tasks=named, measure=measure)
        executor = Executor(workers=suitable_workers(existing_device(context.device), len(units) // _FEWEST))
        about = {"kind": one.name, "command": context.command}
        return work.rows(context.folder, executor=executor, progress=context.progress, **about)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """A claim and how it is measured."""

    name: str  # name on the command line
    paper: str  # short name and number
    claim: str  # in our words
    source: Source
    function: Callable[..., Iterable[Any]]  # measures a unit; see the source's `measure`
    primary: Statistic  # decides the claim, for each model
    secondary: tuple[Statistic, ...] = ()  # reported, but do not decide
    plots: tuple[Plot, ...] = ()  # drawn in a row, before the plot of the primary measure
    keys: tuple[str, ...] = ()  # see `Source`
    image_columns: tuple[str, ...] = ()
    prepare: Callable[[Table], Table] = lambda rows: rows  # adds or selects columns before numbers are taken
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # arguments of the function
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # fields of the smaller plan
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # from the module
    minutes: int = 0  # time of the full plan on two CPU cores; 0 where that is not known
    how: str = ""  # in what a variant differs from the experiment that it is made from

    @property
    def notes(self) -> str:
        """Notes for the reader."""
        return inspect.getdoc(self.function) or ""

    @property
    def plan(self) -> Mapping[str, Any]:
        """Models, images, levels, seeds: plain values."""
        late = {one.name for one in dataclasses.fields(self.source) if one.metadata.get("later")}
        same = {one.name for one in dataclasses.fields(self.source) if getattr(self.source, one.name) == one.default}
        about = {name: value for name, value in plain(self.source).items() if name not in late & same}
        return {**about, **plain(self.settings)}

    def changed(self, **changes: Any) -> "Experiment":
        """The same experiment in other sizes or settings."""
        fields = {field.name for field in dataclasses.fields(self.source)}
        unknown = set(changes) - fields - set(self.settings)
        if unknown:
            raise ConfigError(f"{self.name} has no setting {sorted(unknown)[0]!r}. Leave it out")
        source = dataclasses.replace(self.source, **{name: value for name, value in changes.items() if name in fields})
        settings = {name: changes.get(name, value) for name, value in self.settings.items()}
        return dataclasses.replace(self, source=source, settings=settings, overrides={**self.overrides, **changes})

    def variant(self, name: str, how: str, *, minutes: int = 0, **changes: Any) -> "Experiment":
        """The same claim with other sizes or settings, as another experiment; `how` is appended in brackets."""
        named = {"name": name, "claim": f"{self.claim} ({how})", "how": how, "minutes": minutes}
        return dataclasses.replace(self.changed(**changes), **named)

    def measure(self, unit: Unit, context: Context) -> list[Row]:
        """The rows of one unit."""
        return list(self.source.measure(functools.partial(self.function, **self.settings), unit, context))

    def weights(self) -> dict[str, str]:
        """Fingerprints of the weights behind the models' names, as they are now."""
        return {name: (_bundled if name in BUNDLED.points() else _fingerprint)(name) for name in self.source.models}

    def rows(self, context: Context) -> Table:
        """Every row, measured or read."""
        return self.prepare(self.source.rows(self, context))

    def conclude(self, rows: Table) -> tuple[tuple[Outcome, ...], tuple[Outcome, ...]]:
        """Primary and secondary outcomes."""
        keys, images = self.keys or self.source.keys, self.image_columns or self.source.image_columns
        measures = (*self.secondary, *self.primary.sides())
        secondary = [outcome for measure in measures for outcome in measure.outcomes(rows, keys, images)]
        return tuple(self.primary.outcomes(rows, keys, images)), tuple(secondary)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.function.__module__, self.function.__name__, self.name, dict(self.overrides))


def experiment(name: str, *, source: Source, **about: Any) -> Callable[[Callable[..., Iterable[Any]]], Experiment]:
    """Make an experiment from the function that measures; see `Experiment` for the fields."""
    quick = {**source.quick, **about.pop("quick", {})}

    def made(function: Callable[..., Iterable[Any]]) -> Experiment:
        given = inspect.signature(function).parameters.values()
        settings = {one.name: one.default for one in given if one.default is not inspect.Parameter.empty}
        return Experiment(name=name, source=source, function=function, settings=settings, quick=quick, **about)

    return made


def make_experiment(name: str) -> Experiment:
    """The installed experiment of that name, with its full plan."""
    made = EXPERIMENTS.load(name)
    if not isinstance(made, Experiment):
        raise RegistryError(f"the entry point {name!r} must be an experiment; got a {type(made).__name__}")
    return made


def _again(module: str, function: str, name: str, changes: Mapping[str, Any]) -> Experiment:
    """In another process."""
    made: Experiment = getattr(importlib.import_module(module), function)
    return dataclasses.replace(made.changed(**changes), name=name)


def _measured(one: Experiment, context: Context, unit: Unit) -> UnitResult:
    return UnitResult(rows=one.measure(unit, context))


def _fingerprint(name: str) -> str:
    return load(name, device="cpu").fingerprint


_bundled = functools.cache(_fingerprint)  # the weights of installed packages stay while a process runs

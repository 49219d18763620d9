"""The plan of a benchmark, which determines its rows, and its form in a run's folder."""

import dataclasses
from typing import Any

import pydantic

from latentedit import Backbone, __version__
from latentedit.batch import MANIFEST, RunFolder, faults_of
from latentedit.core import ConfigError, FileFormatError
from latentedit.numerics import dtype_name
from latentedit_bench.data.items import Dataset
from latentedit_bench.ranking.evaluate import Method

KIND = "bench"  # kind of the run, as its plan names it
BATCH = 32  # items that are edited together by default: as many as memory allows is fastest


class _Stored(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class MethodSpec(_Stored):
    """A method in ``run.json``; see `Method`."""

    name: str
    editor: str
    local: bool
    gain: float = 1.0
    subtract_residual: float = 0.0
    refined: bool = False
    tuned: bool = True
    settings: dict[str, Any]


class DataSpec(_Stored):
    """A data set in ``run.json``, identified by its fingerprint."""

    name: str
    version: str
    items: int
    fingerprint: str


class PlanSpec(_Stored):
    """A plan in ``run.json``; see `Plan`."""

    latentedit: str
    model: str
    model_fingerprint: str
    network_dtype: str
    data: DataSpec
    methods: list[MethodSpec] = pydantic.Field(min_length=1)
    strengths: list[float]
    seeds: list[int] = pydantic.Field(min_length=1)
    batch: int = pydantic.Field(ge=1)


def read_plan(run: RunFolder) -> PlanSpec:
    """The plan of a run."""
    if run.manifest.kind != KIND:
        raise ConfigError(
            f"{run.path} is the folder of `latentedit {run.manifest.kind}`, not of a benchmark. Continue it with: "
            f"{run.manifest.command}"
        )
    try:
        return PlanSpec.model_validate(run.manifest.plan)
    except pydantic.ValidationError as error:
        raise FileFormatError(f"{run.path / MANIFEST} is damaged: {faults_of(error)}. Use another folder") from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A benchmark to run; equal plans give equal rows."""

    model: Backbone  # the model that edits
    dataset: Dataset  # the items to edit
    methods: tuple[Method, ...]  # the methods to compare
    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)  # at which
    seeds: tuple[int, ...] = (0,)  # every item is edited with each; see `numerics.rng.item_seed`
    batch: int = BATCH  # items that are edited together; changes rows by rounding at most

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            named = ", ".join(map(repr, names)) or "none"
            raise ConfigError(f"expected different methods; got {named}")
        if 1.0 not in self.strengths or 0.0 in self.strengths:
            raise ConfigError(f"strengths must include 1 and not 0; got {', '.join(map(str, self.strengths))}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"expected different seeds; got {', '.join(map(str, self.seeds)) or 'none'}")

    @property
    def spec(self) -> dict[str, Any]:
        """The plan as plain values."""
        about = [(one, {"editor": one.editor.name, "settings": one.editor.to_dict()}) for one in self.methods]
        methods = [dataclasses.asdict(one) | editor for one, editor in about]
        return PlanSpec(
            latentedit=__version__,
            model=self.model.name,
            model_fingerprint=self.model.fingerprint,
            network_dtype=dtype_name(self.model.network_dtype),
            data=DataSpec(**self.dataset.spec),
            methods=[MethodSpec.model_validate(one) for one in methods],
            strengths=list(self.strengths),
            seeds=list(self.seeds),
            batch=self.batch,
        ).model_dump()

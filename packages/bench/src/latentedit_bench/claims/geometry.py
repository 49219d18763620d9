"""The geometry of the latent space, claim by claim: the analyses with a plan that is fixed before they run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from matplotlib.figure import Figure

from latentedit.models.registry import load
from latentedit_bench.analysis.base import Analysis
from latentedit_bench.analysis.curvedness import Curvedness
from latentedit_bench.analysis.datasets import DataSets
from latentedit_bench.analysis.edits import Edits
from latentedit_bench.analysis.frequency import Frequency
from latentedit_bench.analysis.homogeneity import Homogeneity
from latentedit_bench.analysis.prompts import Prompts
from latentedit_bench.analysis.run import run
from latentedit_bench.analysis.samples import Samples
from latentedit_bench.analysis.spectrum import Spectrum
from latentedit_bench.analysis.study import Study
from latentedit_bench.analysis.trajectory import Trajectory
from latentedit_bench.analysis.transport import Transport
from latentedit_bench.claims.base import Experiment, Outcome, Place
from latentedit_bench.domains.base import sample_pictures
from latentedit_bench.metrics.statistics import Table

RIEMANNIAN = "Riemannian geometry of the latent space (arXiv 2307.12868)"
UNSUPERVISED = "Unsupervised semantic directions (arXiv 2302.12469)"

BASES = "bases"
"""Folder, beside those of the experiments, for the local bases that they share; it may be deleted."""

_UNET = ("portraits-unet",)
_QUICK: Mapping[str, Any] = {"models": _UNET, "pictures": 6, "levels": (0.95, 0.5), "rank": 4}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GeometryClaim(Experiment):
    """An analysis as an experiment; the models bring their own pictures, on which they were not trained.

    Local bases are kept in the folder `BASES` beside that of the experiment, where the others find them.

    Args:
        analysis: with its settings.
        models: bundled names.
        pictures: how many, the same for each model that can show them.
        levels: falling.
        rank: of the local bases.
        steps: of the model's whole grid.
        seed: of every search and every draw.
    """

    notes: ClassVar[tuple[str, ...]] = ()
    """What a reader must know beside the numbers."""

    smaller: ClassVar[Mapping[str, Any]] = _QUICK
    """Fields of the quick plan that differ."""

    analysis: Analysis
    models: tuple[str, ...] = ("portraits", "portraits-unet")
    pictures: int = 8
    levels: tuple[float, ...] = (0.95, 0.7, 0.4, 0.15)
    rank: int = 10
    steps: int = 28
    seed: int = 0

    @property
    def plan(self) -> Mapping[str, Any]:
        """The analysis with its settings, and where it looks."""
        return {
            "analysis": self.analysis.name,
            "settings of the analysis": dict(self.analysis.settings),
            "models": list(self.models),
            "pictures": self.pictures,
            "levels": list(self.levels),
            "rank": self.rank,
            "site": "each model's own choice",
            "steps": self.steps,
            "seed": self.seed,
        }

    def quick(self) -> "GeometryClaim":
        """One model where one is enough, two levels, less rank, fewer pictures."""
        return dataclasses.replace(self, **self.smaller)

    def run(self, at: Place) -> Outcome:
        """As ``latentedit analyze``, with its files in the folder."""
        studies = [
            Study.of(
                load(name, device=at.device),
                sample_pictures(name, self.pictures),
                levels=self.levels,
                rank=self.rank,
                steps=self.steps,
                seed=self.seed,
                folder=at.folder.parent / BASES,
            )
            for name in self.models
        ]

        def tell(_: str, done: int, total: int) -> None:
            if at.progress is not None:
                at.progress(self.name, done, total)

        finished = run(self.analysis, studies, at.folder, command=at.command, progress=tell)
        found = finished.conclusion
        return Outcome(claims=found.claims, table=finished.table, notes=(f"Found: {found.line}.", *self.notes))

    def draw(self, table: Table, figure: Figure) -> None:
        """The analysis' own plot."""
        self.analysis.draw(table, figure)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumClaim(GeometryClaim):
    """How many directions count, at each level."""

    name: ClassVar[str] = "geometry-spectrum"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "the spectrum of the Jacobian is steep near noise and flattens towards the picture"
    statistic: ClassVar[str] = "growth of the stable rank |J|_F^2 / s_1^2 from the highest to the lowest level"
    smaller: ClassVar[Mapping[str, Any]] = {**_QUICK, "analysis": Spectrum(rank=4, probes=8)}

    analysis: Analysis = dataclasses.field(default_factory=lambda: Spectrum(rank=10, probes=16))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyClaim(GeometryClaim):
    """How fine the vectors of the bases are, at each level."""

    name: ClassVar[str] = "geometry-frequency"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "the local basis moves from low to high spatial frequency as the level falls"
    statistic: ClassVar[str] = (
        "growth of the mean frequency of the basis from the highest to the lowest level, in units of Nyquist"
    )

    analysis: Analysis = dataclasses.field(default_factory=Frequency)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SamplesClaim(GeometryClaim):
    """How far apart the tangent spaces of different pictures are, at each level."""

    name: ClassVar[str] = "geometry-samples"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "tangent spaces of different samples are alike near noise and diverge as the level falls"
    statistic: ClassVar[str] = (
        "growth of the mean geodesic distance between tangent spaces of the features from the highest to the lowest "
        "level, as a share of the largest distance"
    )

    analysis: Analysis = dataclasses.field(default_factory=Samples)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryClaim(GeometryClaim):
    """How far apart the tangent spaces of one picture at different levels are."""

    name: ClassVar[str] = "geometry-trajectory"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "tangent spaces differ between the levels of one trajectory"
    statistic: ClassVar[str] = (
        "mean distance of neighbouring levels less that of two searches for one basis, in features, as a share of the "
        "largest distance"
    )

    analysis: Analysis = dataclasses.field(default_factory=Trajectory)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataSetsClaim(GeometryClaim):
    """Tangent spaces in a model of simple and in one of complex data."""

    name: ClassVar[str] = "geometry-datasets"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "simpler data gives more similar tangent spaces"
    statistic: ClassVar[str] = (
        "mean distance between pictures in the model of complex data less that in the model of simple data, in "
        "features, averaged over levels, as a share of the largest distance"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "One network a data set was trained: what another training of it would give is not in the intervals.",
    )
    smaller: ClassVar[Mapping[str, Any]] = {**_QUICK, "models": DataSets.models}

    analysis: Analysis = dataclasses.field(default_factory=DataSets)
    models: tuple[str, ...] = DataSets.models


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PromptsClaim(GeometryClaim):
    """Tangent spaces of one picture under texts that are more or less alike."""

    name: ClassVar[str] = "geometry-prompts"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "similar prompts give similar tangent spaces, and the prompt's influence fades later"
    statistic: ClassVar[str] = (
        "minus the rank correlation of the similarity of two texts with the distance of their tangent spaces, in "
        "features, at the highest level, mean over pictures"
    )
    smaller: ClassVar[Mapping[str, Any]] = {**_QUICK, "pictures": 2}

    analysis: Analysis = dataclasses.field(default_factory=Prompts)
    pictures: int = 6
    levels: tuple[float, ...] = (0.95, 0.3)
    rank: int = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransportClaim(GeometryClaim):
    """A direction of one picture, carried to another one."""

    name: ClassVar[str] = "geometry-transport"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "an edit that was found at one sample does the same at another, carried by its feature"
    statistic: ClassVar[str] = (
        "cosine between what the reader sees change at source and target, by the carried direction less by a random "
        "one of equal effect"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Features are pulled back with their singular values, damped; the paper's public code leaves these out.",
    )
    smaller: ClassVar[Mapping[str, Any]] = {**_QUICK, "pictures": 3, "levels": (0.4,)}

    analysis: Analysis = dataclasses.field(default_factory=Transport)
    pictures: int = 6
    levels: tuple[float, ...] = (0.7,)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CurvednessClaim(GeometryClaim):
    """Lengths of curves between the same ends."""

    name: ClassVar[str] = "geometry-curvedness"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "semantic paths: lerp is longer than slerp, and slerp longer than geodesic shooting"
    statistic: ClassVar[str] = (
        "semantic length (sum of the Grassmann distances of successive tangent spaces, rad) of lerp less that of slerp "
        "between the ends of a shot"
    )
    notes: ClassVar[tuple[str, ...]] = (
        "The energy geodesic is searched for from lerp or slerp, and so is shorter nearly by construction.",
    )
    smaller: ClassVar[Mapping[str, Any]] = {
        **_QUICK,
        "pictures": 2,
        "levels": (0.95,),
        "analysis": Curvedness(segments=2, rank=3),
    }

    analysis: Analysis = dataclasses.field(default_factory=lambda: Curvedness(segments=3, rank=4))
    models: tuple[str, ...] = _UNET
    pictures: int = 6
    levels: tuple[float, ...] = (0.95,)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditsClaim(GeometryClaim):
    """What directions change, at each level."""

    name: ClassVar[str] = "geometry-edits"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "edits at early levels change coarse attributes, at late levels fine ones"
    statistic: ClassVar[str] = (
        "area of the attributes that are changed at the highest level less that at the lowest one at which the reader "
        "sees changes, as a share of the picture"
    )
    smaller: ClassVar[Mapping[str, Any]] = {
        **_QUICK,
        "pictures": 3,
        "levels": (0.6, 0.3),
        "analysis": Edits(directions=1, controls=1),
    }

    analysis: Analysis = dataclasses.field(default_factory=lambda: Edits(directions=2, controls=1))
    levels: tuple[float, ...] = (0.95, 0.5, 0.15)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HomogeneityClaim(GeometryClaim):
    """Each picture's directions against the mean of the others."""

    name: ClassVar[str] = "geometry-homogeneity"
    paper: ClassVar[str] = UNSUPERVISED
    statement: ClassVar[str] = "directions agree between samples near noise, so that global ones exist, and less later"
    statistic: ClassVar[str] = (
        "share of a global direction's energy in a picture's tangent space at the highest level less at the lowest"
    )

    analysis: Analysis = dataclasses.field(default_factory=Homogeneity)

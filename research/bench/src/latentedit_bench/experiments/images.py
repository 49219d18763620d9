"""Images as the source of an experiment: local bases at several levels, of trained networks and untrained twins."""

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd

from latentedit import Backbone, from_pipeline, load
from latentedit.core import ConfigError
from latentedit.models import quiet_libraries
from latentedit.numerics import seeded
from latentedit_bench.domains.base import full_caption, load_domain, sample_images
from latentedit_bench.experiments.experiment import LATER, Context, Row, Source, Unit
from latentedit_bench.experiments.study import Inversion, Ranks, Study
from latentedit_bench.experiments.texts import graded
from latentedit_bench.metrics.decisions import Difference
from latentedit_bench.metrics.statistics import Table

TWIN = Difference("network", "trained", "untrained")  # a trained network less its untrained twin at the same latents

BASES = "bases"  # folder, next to those of the experiments, for the local bases that they share; it may be deleted


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Images(Source):
    """Images on which the models were not trained, at levels.

    The function takes a `Study` and, as it names them, "level" and "image", and yields rows. A unit is what it names.
    Rows get "model", "network", and those of "level" and "image" that are named.
    """

    keys: ClassVar[tuple[str, ...]] = ("image", "level")
    image_columns: ClassVar[tuple[str, ...]] = ("image",)
    quick: ClassVar[Mapping[str, Any]] = {"models": ("portraits-unet",), "images": 6, "levels": (0.95, 0.5), "rank": 4}

    images: int = 24  # per model
    levels: tuple[float, ...] = (0.95, 0.7, 0.3)  # falling
    rank: int = 8  # dimensions of the local bases
    steps: int = 28  # steps on the model's whole grid
    twins: bool = True  # also measure the untrained twin of each network
    feature: Literal["full", "pooled"] = dataclasses.field(default="full", metadata=LATER)  # pooled: summed over space
    prompt: Literal["empty", "own", "edit"] = dataclasses.field(default="empty", metadata=LATER)  # text of the bases
    inversion: Inversion = dataclasses.field(default="level", metadata=LATER)
    ranks: Ranks = dataclasses.field(default="gap", metadata=LATER)

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """The units that the function names, for each model."""
        found: list[Unit] = []
        for name in self.models:
            study = self._study(name, context)
            places: Mapping[str, Sequence[int | float]] = {"level": study.levels, "image": range(len(study))}
            found += [(name, *item) for item in itertools.product(*(places[axis] for axis in _axes(function)))]
        return found

    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """The rows of a network, and of its untrained twin."""
        name, where = str(unit[0]), dict(zip(_axes(function), unit[1:], strict=True))
        studies = {"trained": self._study(name, context)}
        if self.twins:
            twin = context.cached(("twin", name), lambda: untrained_twin(name, seed=self.seed, device=context.device))
            studies["untrained"] = studies["trained"].untrained(twin)
        for network, study in studies.items():
            for row in function(study, **where):
                yield {"model": Path(name).name, "network": network, **where, **row}

    def _study(self, name: str, context: Context) -> Study:
        """Each model's images, encoded once."""

        def made() -> Study:
            backbone = load(name, device=context.device)
            drawn = sample_images(backbone.name, self.images, seed=self.seed)
            same = {name: getattr(self, name) for name in ("levels", "rank", "steps", "seed", "inversion", "ranks")}
            pooling = "space" if self.feature == "pooled" else "none"
            study = Study.of(backbone, drawn, folder=context.folder.parent / BASES, pooling=pooling, **same)
            return study if self.prompt == "empty" else dataclasses.replace(study, texts=self._texts(study))

        return context.cached(("study", name), made)

    def _texts(self, study: Study) -> tuple[str, ...]:
        """Each image's own full caption, or the same with another value of one attribute."""
        domain = load_domain(captioned(study))
        scenes = [domain.read(latent.frames[0].pixels[None])[0] for latent in study.latents]
        if self.prompt == "edit":
            scenes = [graded(domain, scene, (0, 1), seed=self.seed)[1] for scene in scenes]
        return tuple(full_caption(domain, scene) for scene in scenes)


def captioned(study: Study) -> str:
    """The domain that reads and renders what the model draws."""
    name = study.backbone.defaults.get("captioner")
    if name is None:
        raise ConfigError(f"{study.backbone.name} has no captioner. Choose a model with one")
    return str(name)


def at_fitted_rank(rows: Table) -> Table:
    """The rows, of each model at the rank that fits its trained network best; see `subspaces.fits`."""
    found: list[Table] = []
    for _, part in rows.groupby("model", sort=False):
        own = part[part["network"] == "trained"].groupby("rank")["fit"].mean()
        rank = own.idxmax() if own.notna().any() else own.index.max()
        found.append(part[part["rank"] == rank])
    return pd.concat(found, ignore_index=True)


def _axes(function: Callable[..., Any]) -> list[str]:
    """Which of "level" and "image" a function names."""
    return [name for name in ("level", "image") if name in inspect.signature(function).parameters]


def untrained_twin(model: str | Path, *, seed: int, device: str | None = None) -> Backbone:
    """A model whose denoiser is built again from its configuration; text encoders, codec and schedule stay as they are.

    Weights are as layers begin, drawn from the seed: not with gates at zero, where a transformer does nothing.
    """
    backbone: Any = load(model, device=device, dtype="float32")
    part = type(backbone).denoiser
    trained = getattr(backbone.pipeline, part)
    with quiet_libraries(), seeded(seed):
        network = type(trained).from_config(trained.config)
    setattr(backbone.pipeline, part, network.to(backbone.device).eval().requires_grad_(requires_grad=False))
    return from_pipeline(backbone.pipeline, name=f"{backbone.name}, untrained", settings=backbone.defaults)

"""Experiments about the geometry of the latent space: local bases of pictures, over levels, in one model or several."""

import abc
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentedit._version import __version__
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.latents.encode import PictureLike
from latentedit.models.registry import load
from latentedit_bench.domains.base import sample_pictures
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.controls import NETWORKS, Number
from latentedit_bench.experiments.plotting import new_figure, panels, save_figure
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.untrained import untrained_twin
from latentedit_bench.metrics.statistics import Table, with_numbers
from latentedit_keep.files import plain, write_text

RIEMANNIAN = "Riemannian geometry of the latent space (arXiv 2307.12868)"
UNSUPERVISED = "Unsupervised semantic directions (arXiv 2302.12469)"

PREFIX = "geometry-"
"""Before the short name by which ``latentedit analyze`` knows an experiment of this kind."""

BASES = "bases"
"""Folder, beside those of the experiments, for the local bases that they share; it may be deleted."""

WORK = "unfinished"
"""Folder, inside the one of an analysis, for the rows of each unit and for bases; it may be deleted."""

QUICK: Mapping[str, Any] = {"models": ("portraits-unet",), "pictures": 6, "levels": (0.95, 0.5), "rank": 4}
"""What most quick plans change: one model where one is enough, two levels, less rank, fewer pictures."""

BASIS = 170
"""Evaluations of a local basis of rank 8, in the mean over levels and networks; forward derivatives count two."""

COVERAGE = (
    "Intervals are of a percentile bootstrap over pictures. Of normal numbers it covers the mean of 24 pictures, or of "
    "all their pairs, in 93 % of the cases and that of 12 in 91 %, not in 95 %. What another training of the network, "
    "or another start of its twin, would give is not in them."
)
"""Found by drawing normal numbers 2000 times."""

Found = tuple[list[Number], list[Table]]
"""Of one model: what is said, the first of which decides; and its parts of the summary."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Geometry(Experiment):
    """A question about local bases; the models' domains bring pictures on which they were not trained.

    Args:
        models: bundled names, or folders.
        pictures: how many, the same for each model that can show them.
        levels: falling.
        rank: of the local bases.
        site: the feature; None is each model's own choice.
        steps: of the model's whole grid.
        seed: of every search and every draw.
    """

    fewest: ClassVar[int] = 2
    """Pictures below which there is nothing to compare."""

    fewest_models: ClassVar[int] = 1
    """Models below which there is nothing to compare."""

    smaller: ClassVar[Mapping[str, Any]] = QUICK
    """Fields of the quick plan that differ."""

    panel_rows: ClassVar[int] = 1
    """Plots of a model below each other."""

    share_y: ClassVar[bool] = True
    """Whether the models' plots have one scale."""

    twins: ClassVar[bool] = True
    """Whether the untrained twin of each network is looked at as well; rows then say whose they are in "network"."""

    notes: ClassVar[tuple[str, ...]] = (COVERAGE,)

    models: tuple[str, ...] = ("portraits", "portraits-unet")
    pictures: int = 24
    levels: tuple[float, ...] = (0.95, 0.7, 0.3)
    rank: int = 8
    site: str | None = None
    steps: int = 28
    seed: int = 20

    @property
    def model_names(self) -> Sequence[str]:
        """Every model."""
        return self.models

    @property
    def look(self) -> str:
        """The short name."""
        return self.name.removeprefix(PREFIX)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of this experiment alone."""
        shared = {field.name for field in dataclasses.fields(Geometry)}
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in shared}

    @property
    def plan(self) -> Mapping[str, Any]:
        """The settings, and where it looks."""
        return {
            "analysis": self.look,
            "settings of the analysis": dict(self.settings),
            "models": list(self.models),
            "pictures": self.pictures,
            "levels": list(self.levels),
            "rank": self.rank,
            "site": self.site or "each model's own choice",
            "steps": self.steps,
            "seed": self.seed,
            "controls": "an untrained twin of each network, seeded, at the same latents" if self.twins else "see below",
            "cost, about": self.cost,
        }

    @property
    def bases(self) -> int:
        """Local bases that are asked for."""
        return len(self.models) * (1 + self.twins) * self.pictures * len(self.levels)

    @property
    def evaluations(self) -> int:
        """Of the networks, those of the bases left out."""
        return 0

    @property
    def cost(self) -> Mapping[str, int]:
        """What the plan costs at most; bases that other experiments have asked for are read."""
        return {"local bases": self.bases, "evaluations of these": BASIS * self.bases, "others": self.evaluations}

    def quick(self) -> "Geometry":
        """The plan with `smaller` sizes."""
        return dataclasses.replace(self, **self.smaller)

    def studies(self, at: Context) -> Mapping[str, Study]:
        """Each model's pictures there, by its name: those that were given, or its domain's."""
        return at.once(
            "studies", lambda: {one.backbone.name: one for one in (self._study(name, at) for name in self.models)}
        )

    def _study(self, name: str, at: Context) -> Study:
        backbone = load(name, device=at.device)
        return Study.of(
            backbone,
            at.pictures or sample_pictures(backbone.name, self.pictures, seed=self.seed),
            levels=self.levels,
            rank=self.rank,
            site=self.site,
            steps=self.steps,
            seed=self.seed,
            folder=at.folder.parent / BASES,
        )

    def stored_plan(self, at: Context) -> Mapping[str, Any]:
        """The settings, and everything on which a basis depends."""
        return plain({"settings": self.settings, "studies": [one.settings for one in self.studies(at).values()]})

    def units(self, at: Context) -> Sequence[Unit]:
        """Those of each model.

        Raises:
            ConfigError: fewer pictures or models than it takes, or one model twice.
        """
        studies = self.studies(at)
        if len(studies) < len(self.models):
            raise ConfigError(f"one model is named twice: {', '.join(self.models)}. Name each once")
        if len(studies) < self.fewest_models:
            raise ConfigError(
                f"{self.look} compares at least {self.fewest_models} models, and there is {', '.join(studies)} alone. "
                "Name another one"
            )
        for study in studies.values():
            if len(study) < self.fewest:
                raise ConfigError(
                    f"{self.look} compares at least {self.fewest} pictures, and there are {len(study)}. Name more"
                )
        return [(name, *item) for name, study in studies.items() for item in self.items(study)]

    def measure(self, unit: Unit, at: Context) -> list[Row]:
        """`look_at`, with the model's name; of its untrained twin too where that is the control."""
        model, study = str(unit[0]), self.studies(at)[str(unit[0])]
        if not self.twins:
            return [{"model": model, **row} for row in self.look_at(study, unit[1:])]
        where = self.models[list(self.studies(at)).index(model)]
        twin = at.once(("twin", model), lambda: untrained_twin(where, seed=self.seed, device=at.device))
        both = zip(NETWORKS, (study, study.untrained(twin)), strict=True)
        return [
            {"model": model, "network": network, **row} for network, one in both for row in self.look_at(one, unit[1:])
        ]

    def items(self, study: Study) -> Sequence[Unit]:
        """The units of work in one model; a picture at a level where nothing else is said."""
        return [(picture, level) for level in study.levels for picture in range(len(study))]

    @abc.abstractmethod
    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The rows of one unit of one model."""

    @abc.abstractmethod
    def of_model(self, part: Table) -> Found:
        """What the rows of one model say."""

    @abc.abstractmethod
    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """The plots of one model, from top to bottom."""

    def conclude(self, rows: Table) -> Outcome:
        """Model by model; see `of_model`."""
        claims, parts = list[Claim](), list[Table]()
        for model, part in with_numbers(rows).groupby("model", sort=False):
            found, tables = self.of_model(part)
            claims += [Claim.of(said, str(model), measure, number) for said, measure, number in found]
            parts += [table.assign(model=model) for table in tables]
        summary = pd.concat(parts, ignore_index=True)
        return Outcome(claims=tuple(claims), summary=summary, line=described(summary))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """A column a model; see `draw_model`."""
        rows = with_numbers(outcome.rows)
        models = list(dict.fromkeys(rows["model"]))
        axes = panels(figure, models, rows=self.panel_rows, share_y=self.share_y)
        for column, model in enumerate(models):
            self.draw_model([row[column] for row in axes], rows[rows["model"] == model])


def described(summary: Table) -> str:
    """Each measure at its highest and its lowest level, beside what chance gives where that is known."""
    known = summary[summary["mean"].notna()]
    names = [
        name
        for name in ("model", "network", "space", "rank", "what", "kind", "measure")
        if name in known and known[name].notna().all()
    ]
    words: list[str] = []
    for key, part in known.groupby(names, sort=False):
        ends = part.drop_duplicates("level").sort_values("level", ascending=False).iloc[[0, -1]]
        shown = {_where(row): float(row["mean"]) for row in ends.to_dict("records")}
        chance = float(part["null"].mean()) if "null" in part else float("nan")
        null = "" if math.isnan(chance) else f" (random: {chance:.3g})"
        told = ", ".join(map(_told, names, key))
        words.append(f"{told}: {', '.join(f'{mean:.3g} at {where}' for where, mean in shown.items())}{null}")
    return "; ".join(words)


def _where(row: Mapping[Any, Any]) -> str:
    """The level of a row, or both that it compares."""
    return f"{row['level']:.2f} and {row['other']:.2f}" if "other" in row else f"{row['level']:.2f}"


def _told(name: str, value: Any) -> str:
    """A field that tells rows apart, in words."""
    return f"rank {value:g}" if name == "rank" else str(value).replace("_", " ") if name == "measure" else str(value)


def analyse(
    experiment: Geometry,
    folder: Path,
    *,
    command: str,
    pictures: Sequence[PictureLike] = (),
    device: str | None = None,
    progress: Progress | None = None,
) -> tuple[Outcome, tuple[Path, ...]]:
    """Measure what was not measured before, then conclude, draw and write.

    Args:
        experiment: the question, with models, levels and rank.
        folder: where the results go; made where it is missing.
        command: that is stored with them.
        pictures: to look at; where none are given, each model's domain brings its own.
        device: where models run; None is the best there is.
        progress: called with the experiment's short name after each unit, in units.

    Returns:
        The rows and what they say; and where that was written: the summary and the rows (CSV), the plot (PNG), and
        everything about them (JSON).

    Raises:
        ConfigError: fewer pictures or models than it takes, or what it cannot look at.
        OutputError: the folder cannot be written to.
    """

    def tell(_: str, done: int, total: int) -> None:
        if progress is not None:
            progress(experiment.look, done, total)

    bases = Context(folder=folder / WORK / BASES, command=command, device=device, pictures=tuple(pictures))
    plan = experiment.stored_plan(bases)
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    own = folder / WORK / f"{experiment.look}-{digest}"
    outcome = experiment.run(dataclasses.replace(bases, folder=own, progress=tell))
    places = tuple(folder / f"{experiment.look}{ending}" for ending in (".csv", "-rows.csv", ".png", ".json"))
    for place, frame in zip(places, (outcome.summary, outcome.rows), strict=False):
        text = StringIO()
        frame.to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
        write_text(place, text.getvalue())
    figure = new_figure()
    experiment.draw(outcome, figure)
    save_figure(figure, places[2])
    about: dict[str, Any] = {
        "analysis": experiment.look,
        "title": experiment.title,
        "verdict": outcome.line,
        "command": command,
        "latentedit": __version__,
        **plan,
        "claims": [dataclasses.asdict(claim) for claim in outcome.claims],
    }
    write_text(places[3], json.dumps(plain(about), indent=1, ensure_ascii=False) + "\n")
    return outcome, places

"""What the papers' measures of continuous edits are worth: do they rank walks over strengths as the true error does?

A walk is one method's pictures of one portrait at even strengths. The portraits are changed along an attribute whose
values have an order, and every step along it has a right answer, which the papers' own pictures lack.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float, Float64
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.api.manifests.items import Item
from latentedit.editors.registry import make_editor
from latentedit.models.base import Backbone
from latentedit_bench.data.counterfactual import drawn_items
from latentedit_bench.data.prepared import Prepared, Readings, prepare, to_tensor
from latentedit_bench.experiments.base import Context, Outcome, Row, Unit
from latentedit_bench.experiments.batches import PartBatches
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import DOMAIN, Part, loaded, of_models
from latentedit_bench.experiments.plotting import draw_numbers, panels
from latentedit_bench.metrics.continuity import (
    concept_range,
    smoothness_deficit,
    step_deviation,
    strength_correlation,
)
from latentedit_bench.metrics.leakage_matrix import attribute_change
from latentedit_bench.metrics.pictures import mean_square
from latentedit_bench.metrics.statistics import Table, correlation, means
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET

METHODS = ("eim", "flowedit", "flowslider", "freesliders", "text-steering", "aligned-inversion", "sdedit", "veloedit")
"""By their names in the registry, with the settings that suit the model."""

FADE = "cross-fade"
"""The control: the picture faded into the answer of `FADED` at strength 1, the smoothest walk there is."""

FADED = "flowslider"

STRENGTHS = tuple(step / 6 for step in range(1, 7))
"""Six, as papers take; the steps of an order of three or four values are among them."""

PROXIES = ("delta-smooth", "uniformity", "1 - |r|", "- range")
"""All such that lower is said to be better; see `metrics.continuity`."""

ERROR = "error"
"""Column: ``mean_j |edited at j / n - answer of step j|^2 / |source - last answer|^2``."""

_SIDE = 128
"""Pixels of a portrait."""

_DRAWN = 12
"""Items that are drawn for each of a graded change, which is one of nine."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StrengthProxies(PartBatches):
    """The rank correlation of each proxy with the true error, over all walks and within each portrait."""

    name: ClassVar[str] = "strength-proxies"
    minutes: ClassVar[int] = 44
    paper: ClassVar[str] = "Kontinuous Kontext (arXiv 2510.08532), FreeSliders (arXiv 2511.00103)"
    statement: ClassVar[str] = "walks over strengths that are smoother, more even and more linear are better ones"
    statistic: ClassVar[str] = (
        "Spearman's rank correlation of delta-smooth with the error to the right answers of the steps, over methods "
        "ranked within each portrait"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Distances between pictures are root mean squares of pixels, where papers take DreamSim, DINO or LPIPS; "
            "how well a picture fits a text is what the attribute reader sees, where they take CLIP."
        ),
        "The cross-fade is as smooth, even and linear as a walk can be, and its steps are no answers.",
    )

    batch: ClassVar[int] = 8

    items: int = 32
    others: int = 16

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every model with full captions."""
        return tuple(
            Part(model=model, items=self.others if place else self.items) for place, model in enumerate(self.models)
        )

    @property
    def plan(self) -> Mapping[str, Any]:
        """Methods, strengths and the control."""
        return self.planned(
            methods=list(METHODS), control=f"{FADE} of {FADED}", strengths=list(STRENGTHS), proxies=list(PROXIES)
        )

    def quick(self) -> "StrengthProxies":
        """A few portraits."""
        return dataclasses.replace(self, items=4, others=2)

    def cost(self, part: Part) -> int:
        """Every method at every strength, at the price of stored settings."""
        del part
        return BUDGET * len(METHODS) * len(STRENGTHS)

    @torch.no_grad()
    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """One row a walk."""
        (part,) = (one for one in self.parts if one.name == unit[0])
        found = at.once(("ladders", part.items), lambda: ladders(self.seed, part.items))
        chosen = found[int(unit[1]) : int(unit[1]) + int(unit[2])]
        if not chosen:
            return []
        batch = prepare(loaded(part.model, at), [steps[-1] for steps in chosen])
        return [part.about | row for row in walked(batch, chosen, editors(batch.latent.backbone), seed=self.seed)]

    def conclude(self, rows: Table) -> Outcome:
        """Of each model every proxy within portraits, delta-smooth first, then over all walks."""
        claims, summary = list[Claim](), list[dict[str, Any]]()
        for model, own in of_models(rows).items():
            places = own["group"].map({group: place for place, group in enumerate(own["group"].unique())})
            pictures = [(int(place),) for place in places]
            ranked = own.groupby("item")[[*PROXIES, ERROR]].rank()
            for table, where in ((ranked, "methods within each portrait"), (own, "all walks")):
                error = [float(value) for value in table[ERROR]]
                for proxy in PROXIES:
                    values = [float(value) for value in table[proxy].astype(float)]
                    told = f"rank correlation of {proxy} with the error, {where}"
                    claims.append(Claim.of(self.statement, model, told, correlation(values, error, pictures)))
            for measure in (*PROXIES, ERROR):
                summary += means(own.dropna(subset=[measure]), ["model", "method"], measure)
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """The correlations."""
        axis = panels(figure, ["what measures without an answer are worth"], size=(11, 6))[0][0]
        draw_numbers(axis, outcome.claims, unit="rank correlation with the true error; 1: ranks as truth does")


def ladders(seed: int, count: int) -> list[tuple[Item, ...]]:
    """Graded changes of portraits that no benchmark has: one item for every step, the whole change last."""
    drawn = drawn_items(DOMAIN, f"strength-proxies/{seed}", _DRAWN * count, label="ladder", side=_SIDE)
    return [steps for steps in drawn if len(steps) > 1][:count]


def editors(model: Backbone) -> list[Method]:
    """`METHODS` with the settings that suit a model."""
    return [Method(name=name, editor=make_editor(name, model)) for name in METHODS]


def walked(
    batch: Prepared, steps: Sequence[tuple[Item, ...]], methods: Sequence[Method], *, seed: int
) -> list[dict[str, Any]]:
    """Rows of the walks of every method and of the cross-fade on every portrait: proxies and the true error.

    Args:
        batch: the last items of the ladders.
        steps: the ladders.
        methods: those that are walked; `FADED` among them for the control.
        seed: of the editors.

    Cost:
        Every method's edits at `STRENGTHS`.
    """
    found: list[dict[str, Any]] = []
    for method in methods:
        changes = [batch.changed(z) for z in method.edits(batch.latent, batch.target, STRENGTHS, seed=seed)]
        found += _rows(batch, steps, method.name, changes)
        if method.name == FADED:
            found += _rows(batch, steps, FADE, [strength * changes[-1] for strength in STRENGTHS])
    return found


def _rows(
    batch: Prepared, steps: Sequence[tuple[Item, ...]], name: str, changes: Sequence[Float[Tensor, "b 3 h w"]]
) -> list[dict[str, Any]]:
    edited = [to_tensor(batch.restored(change)) for change in changes]
    proxies = measured(
        [batch.source, *edited], [batch.before, *(batch.read(change) for change in changes)], batch.answer
    )
    rows: list[dict[str, Any]] = []
    for index, ladder in enumerate(steps):
        own = [picture[index : index + 1] for picture in edited]
        error = true_error(own, batch.source[index : index + 1], to_tensor([_answer(item) for item in ladder]))
        values = {proxy: float(values[index]) for proxy, values in proxies.items()} | {ERROR: error}
        plain = {key: value if math.isfinite(value) else None for key, value in values.items()}
        rows.append({"method": name, "item": ladder[-1].id, "group": ladder[-1].group, "steps": len(ladder), **plain})
    return rows


def _answer(item: Item) -> Any:
    assert item.truth is not None
    return item.truth()


def measured(
    walk: Sequence[Float[Tensor, "b 3 h w"]], readings: Sequence[Readings | None], answer: Readings | None
) -> dict[str, Float64[Tensor, " b"]]:
    """`PROXIES` of a walk from the unedited picture on.

    Args:
        walk: pictures, the unedited one first, then those at `STRENGTHS`.
        readings: what the reader sees of each; the range is nan where there is none.
        answer: what it sees of the right answer of the whole change.
    """
    flat = torch.stack(list(walk), dim=1).double().flatten(2)
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") / flat.shape[2] ** 0.5
    known = [reading for reading in readings if reading is not None]
    spread = torch.full((len(flat),), math.nan, dtype=torch.float64)
    if answer is not None and len(known) == len(readings):
        away = torch.stack([1 - attribute_change(known[0], one).mean(1) for one in known], dim=1)
        towards = torch.stack([1 - attribute_change(answer, one).mean(1) for one in known], dim=1)
        spread = concept_range(towards, away)
    strengths = torch.tensor((0.0, *STRENGTHS), dtype=torch.float64)
    values = (smoothness_deficit(distances), step_deviation(distances), 1 - strength_correlation(distances, strengths))
    return dict(zip(PROXIES, (*values, -spread), strict=True))


def true_error(
    edited: Sequence[Float[Tensor, "1 3 h w"]], source: Float[Tensor, "1 3 h w"], answers: Float[Tensor, "n 3 h w"]
) -> float:
    """``mean_j |edited at strength j / n - answer_j|^2 / |source - answer_n|^2`` over the n steps of an order.

    Args:
        edited: at `STRENGTHS`.
        source: the picture.
        answers: of each step, the whole change last; 2 or 3, whose strengths are among those.
    """
    count = len(answers)
    places = [len(STRENGTHS) * step // count - 1 for step in range(1, count + 1)]
    errors = [mean_square(edited[place], answer[None]) for place, answer in zip(places, answers, strict=True)]
    return float(torch.stack(errors).mean() / mean_square(source, answers[-1:])[0])

"""What a difference of two velocities holds: the change that is asked for, or drift between two states.

On FlowEdit's path the picture is at ``x_s``, the edit at ``y_s = x_s + u``, and the edit goes by

    D = v(y_s, c1) - v(x_s, c0)

which is two things at once: other texts, and other states. Each has two ways to be taken alone, and their means add up:

    change = [v(x_s, c1) - v(x_s, c0) + v(y_s, c1) - v(y_s, c0)] / 2      one state, two texts
    drift  = [v(y_s, c0) - v(x_s, c0) + v(y_s, c1) - v(x_s, c1)] / 2      one text, two states
    D      = change + drift

Where the right answer is known, so is the area that should change; which of the two lies there, only that can tell.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.core.solvers.base import level_batch
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit_bench.data.prepared import Prepared, frame_pixels
from latentedit_bench.experiments.base import Outcome, Row
from latentedit_bench.experiments.batches import BatchExperiment
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import CAPTIONS, FULL, PARTIAL, Part, of_models
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_levels, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means

CHANGE, DRIFT, DIFFERENCE, CODEC, OTHER = "change", "drift", "difference", "codec", "another item"

COVERED = 0.25
"""Share of a place's pixels that differ in the right answer from which on the place counts as asked for."""

_VISIBLE = 10 / 127.5
"""How far a pixel differs at least: ten levels of 255."""

_NOISES = 2
"""A noise and its opposite."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOrDrift(BatchExperiment):
    """How well the energy of each part tells the places that the right answer changes, along FlowEdit's path.

    Args:
        levels: of the path, falling; at the first, where the edit is still the picture, there is no drift.
    """

    name: ClassVar[str] = "change-or-drift"
    minutes: ClassVar[int] = 7
    paper: ClassVar[str] = "DiffEdit (arXiv 2210.11427)"
    statement: ClassVar[str] = "where the velocities of two texts differ at one state is where the edit belongs"
    statistic: ClassVar[str] = (
        "area under the ROC curve by which the energy of the change (one state, two texts) tells the latent's places "
        "that the right answer changes, less that of the drift (one text, two states), mean over levels, partial "
        "captions, paired by item"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Change and drift add up to the difference by which FlowEdit goes; each is the mean of its two ways to be "
            "taken. Controls: the change of another item of the batch, which knows where portraits change at all but "
            "not this one; and the encoded right answer less the encoded picture, the best that a latent can tell."
        ),
        (
            f"A place is asked for where {COVERED:.0%} of its pixels differ by ten levels of 255 or more. Items "
            "without such a place are left out."
        ),
    )

    items: int = 96
    others: int = 48
    levels: tuple[float, ...] = (0.97, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2)

    @property
    def plan(self) -> Mapping[str, Any]:
        """The path, the maps and the controls."""
        return self.planned(
            maps=[CHANGE, DRIFT, DIFFERENCE],
            controls=[OTHER, CODEC],
            captions=list(CAPTIONS),
            decides=PARTIAL,
            noises="one and its opposite at each level, shared by all pictures",
            covered=COVERED,
        )

    def quick(self) -> "ChangeOrDrift":
        """A few items at three levels."""
        return dataclasses.replace(self, items=12, others=8, levels=(0.9, 0.65, 0.35))

    def cost(self, part: Part) -> int:
        """Four velocities a level and noise."""
        del part
        return 4 * _NOISES * len(self.levels)

    def look_at(self, part: Part, batch: Prepared) -> list[tuple[int, Row]]:
        """Every map at every level."""
        del part
        assert batch.answer_pixels is not None
        latent, model = batch.latent, batch.latent.backbone
        answer = model.encode(batch.answer_pixels.to(model.device, model.dtype)) - latent.z
        asked = places(
            batch.answer_pixels - frame_pixels(latent.frames, batch.answer_pixels),
            (latent.z.shape[2], latent.z.shape[3]),
        )
        others, found = of_others([item.group for item in batch.items]), list[tuple[int, Row]]()
        for index, (level, split) in enumerate(self.path(latent, batch.target)):
            maps = {CHANGE: split[CHANGE], DRIFT: split[DRIFT], DIFFERENCE: split[CHANGE] + split[DRIFT], CODEC: answer}
            maps |= {OTHER: split[CHANGE][others]} if others else {}
            for name, values in maps.items():
                if name == DRIFT and index == 0:
                    continue
                told = located(values, asked)
                shares = shares_of(values, maps[DIFFERENCE]) if name in (CHANGE, DRIFT) else [None] * len(latent)
                found.extend(
                    (item, {"level": level, "map": name, **one, "share": share})
                    for item, (one, share) in enumerate(zip(told, shares, strict=True))
                )
        return found

    def path(self, latent: JointLatent, target: Condition) -> list[tuple[float, dict[str, Tensor]]]:
        """Change and drift at each level of ``u' = u - (s - s') D``."""
        u, found = torch.zeros_like(latent.z), list[tuple[float, dict[str, Tensor]]]()
        known = latent.backbone.capabilities
        for index, (wished, after) in enumerate(pairwise((*self.levels, 0.0))):
            level = min(max(wished, known.s_min), known.s_max)
            half = draw((_NOISES // 2, *latent.z.shape[1:]), seed=self.seed, purpose=self.name, index=index)
            noises = torch.cat([half, -half]).to(latent.z)
            parts = [change_and_drift(latent, target, u, level, noise) for noise in noises]
            split = {name: torch.stack([one[name] for one in parts]).mean(0) for name in (CHANGE, DRIFT)}
            found.append((wished, split))
            u = u - (wished - after) * (split[CHANGE] + split[DRIFT])
        return found

    def conclude(self, rows: Table) -> Outcome:
        """Model by model: change less drift, beside the controls, and how much of the difference is the change."""
        claims, summary = list[Claim](), list[dict[str, Any]]()
        for model, own in of_models(rows).items():
            claims += self.claims(model, numbers(own))
            for measure in ("auc", "correlation", "share"):
                known = own[own[measure].notna()]
                summary += means(known, ["model", "captions", "map", "level"], measure)
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Each map's area over levels and the share of the change in the difference, for each model; the numbers."""
        models = list(dict.fromkeys(outcome.summary["model"]))
        heads = [*models, "share in the difference", "change less drift"]
        *axes, shares, numbers_axis = panels(figure, heads, share_y=False, size=(4.2 * len(models) + 11, 6))[0]
        known = outcome.summary[outcome.summary["captions"] == PARTIAL]
        colours = dict(zip((CHANGE, DRIFT, DIFFERENCE, CODEC), COLOURS, strict=False)) | {OTHER: GREY}
        for axis, model in zip(axes, models, strict=True):
            own = known[(known["model"] == model) & (known["measure"] == "auc")]
            for name, colour in colours.items():
                part = own[own["map"] == name].sort_values("level", ascending=False)
                draw_levels(axis, part, label=name, colour=colour)
            axis.set_ylabel("area under ROC, partial captions, 95 % interval", fontsize=8)
            axis.legend(fontsize=7)
        for colour, model in zip(COLOURS, models, strict=False):
            own = known[(known["model"] == model) & (known["measure"] == "share") & (known["map"] == CHANGE)]
            draw_levels(shares, own.sort_values("level", ascending=False), label=model, colour=colour)
        shares.set_ylabel("<change, D> / <D, D>", fontsize=8)
        shares.legend(fontsize=7)
        shown = [one for one in outcome.claims if not {"level", "full"} & set(one.measure.replace(",", "").split())]
        draw_numbers(numbers_axis, shown, unit="area under ROC, or share")


def change_and_drift(
    latent: JointLatent, target: Condition, u: Float[Tensor, "b *latent"], level: float, noise: Float[Tensor, "*latent"]
) -> dict[str, Float[Tensor, "b *latent"]]:
    """The two parts of the difference at one level with one noise; see the module.

    Args:
        latent: encoded pictures.
        target: text.
        u: where the edit is, less where the picture is.
        level: s.
        noise: shared by all pictures.

    Cost:
        Four evaluations.
    """
    x_s = (1 - level) * latent.z + level * noise
    s = level_batch(level, x_s)
    velocities = [
        [GuidedField(backbone=latent.backbone, condition=text)(state, s) for text in (latent.condition, target)]
        for state in (x_s, x_s + u)
    ]
    (x_0, x_1), (y_0, y_1) = velocities
    return {CHANGE: (x_1 - x_0 + y_1 - y_0) / 2, DRIFT: (y_0 - x_0 + y_1 - x_1) / 2}


def of_others(groups: Sequence[str]) -> list[int]:
    """For each item the last one before it of another picture, around in a ring; none where all are of one picture."""
    count = len(groups)
    if len(set(groups)) < 2:
        return []
    return [next(k for k in range(i - 1, i - count, -1) if groups[k] != groups[i]) for i in range(count)]


def places(difference: Float[Tensor, "b 3 h w"], grid: tuple[int, int]) -> Bool[Tensor, "b places"]:
    """The latent's places in which enough pixels differ; see `COVERED`."""
    visible = (difference.abs().amax(1, keepdim=True) >= _VISIBLE).double()
    return (functional.adaptive_avg_pool2d(visible, grid) >= COVERED).flatten(1).cpu()


def located(values: Float[Tensor, "b *latent"], asked: Bool[Tensor, "b places"]) -> list[dict[str, float | None]]:
    """Of each item, how well a map's energy tells the places asked for: "auc", and the "correlation" of its ranks.

    None where no place is asked for, or every one.
    """
    energies = values.double().square().sum(1).flatten(1).cpu().numpy()
    found: list[dict[str, float | None]] = []
    for energy, wanted in zip(energies, asked.numpy(), strict=True):
        if wanted.all() or not wanted.any():
            found.append({"auc": None, "correlation": None})
            continue
        found.append(
            {"auc": area_under(energy, wanted), "correlation": float(np.corrcoef(rankdata(energy), wanted)[0, 1])}
        )
    return found


def area_under(scores: Float[np.ndarray, " n"], wanted: Bool[np.ndarray, " n"]) -> float:
    """The probability that a wanted place has the larger score than another one, ties counting half."""
    first, second = int(wanted.sum()), int((~wanted).sum())
    return float((rankdata(scores)[wanted].sum() - first * (first + 1) / 2) / (first * second))


def shares_of(part: Float[Tensor, "b *latent"], whole: Float[Tensor, "b *latent"]) -> list[float]:
    """``<part, whole> / <whole, whole>`` of each item: shares of parts that add up to the whole add up to 1."""
    part, whole = part.double().flatten(1), whole.double().flatten(1)
    return ((part * whole).sum(1) / whole.square().sum(1)).tolist()


def numbers(rows: Table) -> dict[str, Table]:
    """Of one model, what decides first; levels at which there is drift count alike.

    Args:
        rows: as `ChangeOrDrift` measures them.
    """
    drifting = rows[rows["level"] < rows["level"].max()]
    auc = {str(name): by_item(part, "auc", "map") for name, part in drifting.groupby("captions", sort=False)}
    share = {str(name): by_item(part, "share", "map") for name, part in drifting.groupby("captions", sort=False)}
    found = {
        f"change less drift, {captions} captions": auc[captions][CHANGE] - auc[captions][DRIFT] for captions in CAPTIONS
    }
    found |= {
        "change less that of another item, partial captions": auc[PARTIAL][CHANGE] - auc[PARTIAL][OTHER],
        "drift less the change of another item, partial captions": auc[PARTIAL][DRIFT] - auc[PARTIAL][OTHER],
        "change less the encoded right answer, partial captions": auc[PARTIAL][CHANGE] - auc[PARTIAL][CODEC],
        "change less the whole difference, partial captions": auc[PARTIAL][CHANGE] - auc[PARTIAL][DIFFERENCE],
    }
    found |= {
        f"share of the change in the difference, less one half, {captions} captions": share[captions][CHANGE] - 0.5
        for captions in (PARTIAL, FULL)
    }
    for level, part in drifting[drifting["captions"] == PARTIAL].groupby("level", sort=False):
        one = by_item(part, "auc", "map")
        found[f"change less drift, partial captions, level {float(str(level)):g}"] = one[CHANGE] - one[DRIFT]
    return found

"""Is the degree of an edit gradual where its text moves linearly? And is its effect a straight line, which is more?"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.editors.base import Editor, StrengthResult
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.benchmark_runs import EditingExperiment, cost_note
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.joint_latent import LOOK
from latentedit_bench.experiments.known_items import CAPTIONS, PARTIAL, Part, loaded, of_models, recommended
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_line, draw_numbers, panels
from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET

BAR = 0.9
"""Share of items, or straightness, from which on a statement is said to be true."""

FALL = 0.005
"""What an effect may fall from one strength to the next and still count as rising: rounding of pictures."""

JUMP = 0.4
"""Share of the whole effect that one step of the strength may make at most, to be gradual."""

TEXT = "text arm"
JOINT = "joint arm"
IMAGE = "image arm"
SDEDIT = "SDEdit at rising levels"
SHUFFLED = "text arm, strengths in random order"

READ = "read"
"""Column: the change of the attribute asked for, as the reader sees it."""

STRAIGHT = "effect is a straight line of the strength; stricter than the paper"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scaled(Editor):
    """The direction times the strength, whatever that does: the slider without its measured scale.

    Args:
        of: whose direction, arm, level and steps.
    """

    name: ClassVar[str] = "scaled"

    of: EIM = dataclasses.field(default_factory=EIM)

    @property
    def keeps_equal_texts(self) -> bool:
        """As the editor's own way."""
        return self.of.keeps_equal_texts

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Those of the editor at strength 1, where it surveys nothing."""
        return 0 if strength == 0 else self.of.evaluations(latent)

    def _edit_all(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed,
        progress: Progress | None,
    ) -> list[StrengthResult]:
        direction = self.of.direction(latent, target, seed=seed, progress=progress)
        slider = self.of.slider(latent, direction, seed=seed, progress=progress)
        scales = torch.tensor(strengths, dtype=torch.float64)[:, None].expand(-1, len(latent))
        moved = zip(slider.move(scales), strengths, strict=True)
        return [StrengthResult(z=z, strength=strength) for z, strength in moved]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearStrength(EditingExperiment):
    """The share of items whose effect rises with the strength and never jumps, as the text moves in equal steps.

    Args:
        strengths: rising, the last one 1.
        level: of text and joint arm, and SDEdit's highest.
        steps: of the model's whole grid.
    """

    name: ClassVar[str] = "linear-strength"
    minutes: ClassVar[int] = 39
    statement: ClassVar[str] = "the text moves linearly with the degree of the edit, and the picture follows gradually"
    statistic: ClassVar[str] = (
        f"share of items whose effect never falls by more than {FALL:g} and in no step rises by more than {JUMP:g} of "
        f"the whole, as the text moves from source to target in equal steps, less {BAR:g}; text arm, partial captions"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "That the text moves linearly is no finding: it is c0 + strength (c1 - c0) by construction. What is "
            "measured is whether the picture follows. Effect is the projection of the picture's change on the right "
            "answer's."
        ),
        (
            "Controls, which must fail for the measure to say anything: SDEdit at levels that rise in equal steps, "
            "another dial that has no direction; and the text arm's own effects in random order."
        ),
        (
            "A straight line is more than the paper says, and is told beside it. The image arm adds a multiple of one "
            "displacement to the clean latent, so what bends its curve is the decoder alone."
        ),
        (
            "What the reader sees: the total variation of its probabilities of the attribute asked for. A classifier "
            "turns from one value to another at once, so a sigmoid is expected even of a picture that changes evenly."
        ),
    )

    items: int = 64
    others: int = 32
    strengths: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    level: float = 0.95
    steps: int = 10

    @property
    def plan(self) -> Mapping[str, Any]:
        """Three arms whose direction is scaled, and the controls."""
        return self.planned(
            data="counterfactual portraits of the kind single",
            captions=list(CAPTIONS),
            methods=[TEXT, JOINT, IMAGE, SDEDIT],
            controls=[SDEDIT, SHUFFLED],
            bar=BAR,
            **{
                "falls of an effect that count as none": FALL,
                "largest step of a gradual effect": JUMP,
                "least effect at strength 1": LEAST_EFFECT,
            },
        )

    def quick(self) -> "LinearStrength":
        """A few items at four strengths."""
        return dataclasses.replace(self, items=8, others=6, strengths=(0.25, 0.5, 0.75, 1.0))

    def cost(self, part: Part) -> int:
        """Of text and joint arm a way up and one back a strength, the searches of joint and image arm, and SDEdit's."""
        del part
        ways = 2 * self.steps * (1 + len(self.strengths))
        return ways + LOOK.evaluations() + BUDGET + round(self.steps * sum(self.strengths))

    def edited(self, part: Part, at: Context) -> Table:
        """Every method at every strength."""
        methods = self.methods(loaded(part.model, at))
        return self.edit(part, at, part.data(("single",)), methods, self.strengths)

    def methods(self, model: Backbone) -> list[Method]:
        """The arms, scaled, and SDEdit."""
        arms = {
            TEXT: EIM(arm="text", level=self.level, steps=self.steps),
            JOINT: EIM(arm="joint", search=LOOK, level=self.level, steps=self.steps),
            IMAGE: recommended(model),
        }
        known = [Method(name=name, editor=Scaled(of=editor)) for name, editor in arms.items()]
        highest = min(self.level, model.capabilities.s_max)
        return [*known, Method(name=SDEDIT, editor=SDEdit(level=highest, steps=self.steps, guidance=1.0))]

    def conclude(self, rows: Table) -> Outcome:
        """Of each model, the shares of gradual items first, then how straight the effect is and what is read."""
        rows = rows.assign(**{READ: _read(rows)})
        claims, curves, dropped = list[Claim](), list[dict[str, Any]](), list[str]()
        for model, own in of_models(rows).items():
            gradual_ones: dict[str, Table] = {}
            straight: dict[str, Table] = {}
            for captions in CAPTIONS:
                part = own[own["captions"] == captions]
                effects, seen = _tables(part, "effect"), _tables(part, READ)
                effects[SHUFFLED] = _shuffled(effects[TEXT], self.seed)
                where = f"{captions} captions, less {BAR:g}"
                shares = {name: _gradual(effects[name]) - BAR for name in (TEXT, SDEDIT, SHUFFLED, JOINT, IMAGE)}
                gradual_ones |= {f"share of gradual items, {name}, {where}": shares[name] for name in shares}
                gradual_ones[f"share of gradual items, {TEXT} less {SDEDIT}, {captions} captions"] = (
                    shares[TEXT] - shares[SDEDIT]
                )
                for name in (TEXT, JOINT, IMAGE):
                    straight[f"straightness of the effect, {name}, {where}"] = _straight(effects[name]) - BAR
                    straight[f"straightness of what is read, {name}, {where}"] = _straight(seen[name]) - BAR
                dropped.append(f"{model}, {captions} captions: {int(_gradual(effects[TEXT]).isna().sum())}")
            claims += [*self.claims(model, gradual_ones), *self.claims(model, straight, STRAIGHT)]
            curves += _curves(model, own[own["captions"] == PARTIAL])
        notes = (
            f"Items left out, for the text arm has no effect on them at strength 1: {'; '.join(dropped)}.",
            cost_note(rows),
        )
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(curves), notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Effect and what is read over strength of the first model, in their values at 1; and what is claimed."""
        model = outcome.claims[0].model
        heads = [f"{model}: effect, mean over items", f"{model}: as the reader sees it", "gradual, and straight"]
        (effects, seen, numbers), *_ = panels(figure, heads, share_y=False, size=(17, 7.5))
        for axis, measure in ((effects, "effect share"), (seen, "read share")):
            part = outcome.summary[(outcome.summary["measure"] == measure) & (outcome.summary["model"] == model)]
            for colour, (name, rows) in zip(COLOURS, part.groupby("method", sort=False), strict=False):
                draw_line(axis, rows, "strength", label=str(name), colour=colour)
            axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="a straight line")
            axis.set_xlabel("strength")
            axis.legend(fontsize=7)
        effects.set_ylabel("effect / effect at strength 1, partial captions, 95 % interval")
        seen.set_ylabel("change of probabilities / that at strength 1")
        shown = [one for one in outcome.claims if one.model == model and PARTIAL in one.measure]
        draw_numbers(numbers, shown, unit=f"share of items, or straightness, less {BAR:g}")


def straightness(effects: Float[np.ndarray, "n k"], strengths: Float[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
    """``1 - max_s |e(s) - s e(1)| / |e(1)|``: 1 on the line through 0 and the end, 0 for a jump at either end.

    Args:
        effects: one row an item.
        strengths: rising; the last one is 1.

    Returns:
        One number an item, nan where the effect at strength 1 is no larger than `LEAST_EFFECT`.
    """
    end = effects[:, -1:]
    away = np.abs(effects - strengths * end).max(1)
    large = np.abs(end[:, 0]) > LEAST_EFFECT
    return np.where(large, 1 - away / np.where(large, np.abs(end[:, 0]), 1), np.nan)


def gradual(effects: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """1 where no step from 0 up falls by more than `FALL` or rises by more than `JUMP` of the last effect, else 0.

    Args:
        effects: one row an item, strengths rising in equal steps.

    Returns:
        One number an item, nan where the last effect is no larger than `LEAST_EFFECT`.
    """
    steps: Any = np.diff(np.pad(effects, ((0, 0), (1, 0))), axis=1)
    end = effects[:, -1]
    smooth = (steps >= -FALL).all(1) & (steps.max(1) <= JUMP * end)
    return np.where(end > LEAST_EFFECT, smooth.astype(float), np.nan)


def _tables(rows: Table, measure: str) -> dict[str, Table]:
    """Of each method, a row an item and a column a strength."""
    return {str(name): by_item(part, measure, "strength") for name, part in rows.groupby("method", sort=False)}


def _straight(wide: Table) -> Table:
    found = straightness(wide.to_numpy(float), np.asarray(wide.columns, dtype=np.float64))
    return pd.Series(found, index=wide.index)


def _gradual(wide: Table) -> Table:
    return pd.Series(gradual(wide.to_numpy(float)), index=wide.index)


def _shuffled(wide: Table, seed: int) -> Table:
    """Each item's effects in an order of its own, the last one in its place."""
    values = wide.to_numpy(float).copy()
    values[:, :-1] = np.random.default_rng(seed).permuted(values[:, :-1], axis=1)
    return pd.DataFrame(values, index=wide.index, columns=wide.columns)


def _curves(model: str, rows: Table) -> list[dict[str, Any]]:
    """Means of effects, and of what is read, in those at strength 1."""
    found: list[dict[str, Any]] = []
    for measure, column in (("effect share", "effect"), ("read share", READ)):
        for name, wide in _tables(rows, column).items():
            share = wide.div(wide[1.0].where(wide[1.0].abs() > LEAST_EFFECT), axis=0)
            long = share.stack().rename(measure).reset_index().assign(method=name, model=model)
            found += means(long, ["model", "method", "strength"], measure)
    return found


def _read(rows: Table) -> Table:
    """The change of the attribute that changes most in the right answer."""
    names = [str(name) for name in rows.columns if str(name).startswith(TRUE_CHANGE)]
    place = rows[names].to_numpy(float).argmax(1)
    changes = rows[[CHANGE + name.removeprefix(TRUE_CHANGE) for name in names]].to_numpy(float)
    return pd.Series(changes[np.arange(len(rows)), place], index=rows.index)

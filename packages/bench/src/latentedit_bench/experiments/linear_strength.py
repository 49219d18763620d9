"""Does strength act linearly? Effect against strength, of directions that are scaled and of our slider."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.settings import to_plain
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_bench.experiments import benchmark_runs as bench
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_line, draw_numbers, panels
from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.tuning import stored_methods

WITHIN = 0.9
"""Straightness from which on strength is said to act linearly: the curve leaves the line by a tenth of its end."""

FALL = 0.005
"""What an effect may fall from one strength to the next and still count as rising: rounding of pictures."""

TEXT = "text arm, scaled"
JOINT = "joint arm, scaled"
IMAGE_SLIDER = "slider, image arm"
JOINT_SLIDER = "slider, joint arm"

READ = "read"
"""Column: the change of the attribute asked for, as the reader sees it."""


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

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        direction = self.of.direction(latent, target, seed=seed, progress=progress)
        slider = self.of.slider(latent, direction, seed=seed, progress=progress)
        return slider.move(torch.full((1, len(latent)), strength, dtype=torch.float64))[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearStrength(bench.EditingExperiment):
    """How far the effect leaves a straight line through 0, of a direction that is scaled and of our slider.

    Args:
        items: of the test split, of one attribute each.
        strengths: rising, the last one 1.
        model: a bundled name.
        seed: of the searches' noises.
    """

    name: ClassVar[str] = "linear-strength"
    statement: ClassVar[str] = "the strength of a direction acts linearly on the picture"
    statistic: ClassVar[str] = (
        f"straightness less {WITHIN:g}, where straightness is 1 less the largest distance of the effect at a strength "
        "from the line through 0 and its end, as a share of its end; text arm, the text's difference times the strength"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Effect is the projection of the picture's change on the right answer's. The image arm adds a multiple of "
            "one displacement to the clean latent, so what bends its curve is the decoder alone. The slider measures "
            "effects in the latent and reads their curve backwards; it is straight by construction, up to the decoder."
        ),
        (
            "What the reader sees: the total variation of its probabilities of the attribute asked for. A classifier "
            "turns from one value to another at once, so a sigmoid is expected even of a picture that changes evenly."
        ),
    )

    items: int = 32
    strengths: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    model: str = "portraits"

    @property
    def plan(self) -> Mapping[str, Any]:
        """Two arms whose direction is scaled, and the slider on two."""
        return {
            **to_plain(self),
            "data": "counterfactual portraits of the kind single, full captions",
            "methods": [TEXT, JOINT, IMAGE_SLIDER, JOINT_SLIDER],
            "settings": "as stored with the model for each arm, not local",
            "straight from": WITHIN,
            "falls of an effect that count as none": FALL,
            "least effect at strength 1": LEAST_EFFECT,
        }

    def quick(self) -> "LinearStrength":
        """A few items at four strengths."""
        return dataclasses.replace(self, items=8, strengths=(0.25, 0.5, 0.75, 1.0))

    def edited(self, run: str, at: Context) -> Table:
        """Every method at every strength."""
        model, data = self.loaded(self.model, at), bench.asking("test", self.items, ("single",))
        return self.edit(run, at, model, data, methods(model), self.strengths)

    def conclude(self, rows: Table) -> Outcome:
        """Straightness of the effect and of what the reader sees, and the share of items whose effect never falls."""
        rows = rows.assign(**{READ: _read(rows)})
        model = str(rows["model"].iloc[0])
        effects = {str(name): by_item(part, "effect", "strength") for name, part in rows.groupby("method", sort=False)}
        seen = {str(name): by_item(part, READ, "strength") for name, part in rows.groupby("method", sort=False)}
        numbers = {f"effect, {name}": _straight(effects[name]) for name in effects}
        numbers |= {f"what the reader sees, {name}": _straight(seen[name]) for name in seen}
        numbers |= {f"share of items whose effect never falls, {name}": _rising(effects[name]) for name in effects}
        claims = self.claims(
            model, {f"{measure}, less {WITHIN:g}": values - WITHIN for measure, values in numbers.items()}
        )
        curves: list[dict[str, Any]] = []
        for measure, found in (("effect share", effects), ("read share", seen)):
            for name, wide in found.items():
                share = wide.div(wide[1.0].where(wide[1.0].abs() > LEAST_EFFECT), axis=0)
                long = share.stack().rename(measure).reset_index().assign(method=name, model=model)
                curves += [{"part": "curves", **row} for row in means(long, ["model", "method", "strength"], measure)]
        dropped = {name: int(_straight(wide).isna().sum()) for name, wide in effects.items()}
        notes = (
            f"Items without an effect at strength 1 are left out: {', '.join(f'{n} {k}' for n, k in dropped.items())}.",
            bench.cost_note(rows),
        )
        return Outcome(claims=claims, summary=pd.DataFrame(curves), notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Effect and what is read over strength, in their values at strength 1, and the claims' numbers."""
        heads = ["effect, mean over items", "attribute asked for, as the reader sees it", "straightness and order"]
        (effects, seen, numbers), *_ = panels(figure, heads, share_y=False, size=(16, 4.6))
        for axis, measure in ((effects, "effect share"), (seen, "read share")):
            part = outcome.summary[(outcome.summary["part"] == "curves") & (outcome.summary["measure"] == measure)]
            for colour, (name, rows) in zip(COLOURS, part.groupby("method", sort=False), strict=False):
                draw_line(axis, rows, "strength", label=str(name), colour=colour)
            axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="a straight line")
            axis.set_xlabel("strength")
            axis.legend(fontsize=7)
        effects.set_ylabel("effect / effect at strength 1, 95 % interval")
        seen.set_ylabel("change of probabilities / that at strength 1")
        draw_numbers(numbers, outcome.claims, unit=f"straightness, or share of items, less {WITHIN:g}")


def methods(model: Backbone) -> list[Method]:
    """Text and joint arm scaled, image and joint arm by the slider; with the settings stored for each arm."""
    stored = {one.name: one.editor for one in stored_methods(model, ("eim text", "eim joint", "eim, not local"))}
    text, joint, image = stored.values()
    return [
        Method(name=TEXT, editor=Scaled(of=bench.as_eim(text))),
        Method(name=JOINT, editor=Scaled(of=bench.as_eim(joint))),
        Method(name=IMAGE_SLIDER, editor=image),
        Method(name=JOINT_SLIDER, editor=joint),
    ]


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


def _straight(wide: Table) -> Table:
    found = straightness(wide.to_numpy(float), np.asarray(wide.columns, dtype=np.float64))
    return pd.Series(found, index=wide.index)


def _rising(wide: Table) -> Table:
    """1 where no step from 0 up falls by more than `FALL`."""
    steps: Any = np.diff(np.pad(wide.to_numpy(float), ((0, 0), (1, 0))), axis=1)
    return pd.Series((steps >= -FALL).all(1).astype(float), index=wide.index)


def _read(rows: Table) -> Table:
    """The change of the attribute that changes most in the right answer."""
    names = [str(name) for name in rows.columns if str(name).startswith(TRUE_CHANGE)]
    place = rows[names].to_numpy(float).argmax(1)
    changes = rows[[CHANGE + name.removeprefix(TRUE_CHANGE) for name in names]].to_numpy(float)
    return pd.Series(changes[np.arange(len(rows)), place], index=rows.index)

"""Is the degree of an edit gradual where its text moves linearly? And is its effect a straight line, which is more?"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.editors.base import Editor, StrengthResult
from latentedit.editors.baselines.sdedit import SDEdit
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit_bench.experiments.decisions import Number
from latentedit_bench.experiments.experiment import EIM_PAPER, experiment
from latentedit_bench.experiments.items import PARTIAL, Edits, Lab, recommended
from latentedit_bench.experiments.joint_latent import LOOK
from latentedit_bench.experiments.plots import Forest, Lines
from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.methods import Method

FALL = 0.005
"""What an effect may fall from one strength to the next and still count as rising: rounding of pictures."""

JUMP = 0.4
"""Share of the whole effect that one step of the strength may make at most, to be gradual."""

TEXT, SDEDIT = "text arm", "SDEdit at rising levels"


def gradual(rows: Table) -> float:
    """1 where no step from 0 up falls by more than `FALL` or rises by more than `JUMP` of the last effect, else 0.

    Args:
        rows: of one item, with "strength" in equal steps and "effect".

    Returns:
        nan where the last effect is no larger than `LEAST_EFFECT`.
    """
    effects = rows.sort_values("strength")["effect"].to_numpy(float)
    steps = np.diff(effects, prepend=0.0)
    smooth = (steps >= -FALL).all() and steps.max() <= JUMP * effects[-1]
    return float(smooth) if effects[-1] > LEAST_EFFECT else math.nan


def straight(rows: Table) -> float:
    """``1 - max_s |e(s) - s e(1)| / |e(1)|``: 1 on the line through 0 and the end, 0 for a jump at either end."""
    ordered = rows.sort_values("strength")
    effects, strengths = ordered["effect"].to_numpy(float), ordered["strength"].to_numpy(float)
    away, end = float(np.abs(effects - strengths * effects[-1]).max()), abs(float(effects[-1]))
    return 1 - away / end if end > LEAST_EFFECT else math.nan


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


_SHARE = Number(
    says="share of edits whose effect rises gradually with the strength, text arm, less 0.9",
    of=gradual,
    where={"captions": PARTIAL, "method": TEXT},
    bar=0.9,
)
_STRAIGHT = "straightness of the effect, text arm, less 0.9; stricter than the paper"


@experiment(
    "linear-strength",
    paper=EIM_PAPER,
    says="the text moves linearly with the degree of the edit, and the picture follows gradually",
    on=Edits(items=64, others=32, kinds=("single",)),
    decides=_SHARE,
    tells=(
        _SHARE.at("the same, full captions", captions="full"),
        _SHARE.at("the same of SDEdit at rising levels, the control", method=SDEDIT),
        _SHARE.at("the same of the joint arm", method="joint arm"),
        _SHARE.at("the same of the image arm", method="image arm"),
        _SHARE.at(_STRAIGHT, of=straight),
    ),
    plots=(Lines(y="effect", x="strength", by="method", label="effect", where={"captions": PARTIAL}), Forest()),
    quick={"items": 8, "others": 6, "strengths": (0.25, 0.5, 0.75, 1.0)},
    minutes=39,
)
def linear_strength(
    lab: Lab,
    *,
    strengths: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
    level: float = 0.95,
    steps: int = 10,
) -> Iterator[Table]:
    """That the text moves linearly is no finding: it is c0 + strength (c1 - c0). Measured is whether the image follows.

    An effect is gradual where it never falls by more than 0.005 and no step makes more than 0.4 of the whole. It is the
    projection of the image's change on the right answer's; items on which the text arm has no effect are left out.
    SDEdit at levels that rise in equal steps is the control: a dial that has no direction, which must fail.
    """
    arms = {
        TEXT: EIM(arm="text", level=level, steps=steps),
        "joint arm": EIM(arm="joint", search=LOOK, level=level, steps=steps),
        "image arm": recommended(lab.model),
    }
    highest = min(level, lab.model.capabilities.s_max)
    methods = [Method(name=name, editor=Scaled(of=editor)) for name, editor in arms.items()]
    yield lab.edit([*methods, Method(name=SDEDIT, editor=SDEdit(level=highest, steps=steps, guidance=1.0))], strengths)

"""Is the degree of an edit gradual where its text moves linearly? And is its effect a straight line, which is more?"""

import dataclasses
from typing import ClassVar

import torch

from latentedit.core import settings, to_plain
from latentedit.editors import EIM, Edit, SDEdit, StrengthResult
from latentedit_bench.experiments.declare import EIM_PAPER, PARTIAL, Edits, Lab, Lines, Measure, Tables, experiment
from latentedit_bench.experiments.items import recommended
from latentedit_bench.experiments.joint_latent import SEARCH
from latentedit_bench.metrics.decisions import gradual, straight
from latentedit_bench.ranking.evaluate import Method

TEXT, SDEDIT = "text arm", "SDEdit at rising levels"


@settings
class Scaled(EIM):
    """The direction times the strength: the slider without its measured scale."""

    name: ClassVar[str] = "scaled"

    def cost(self, edit: Edit) -> int:
        """Evaluations at strength 1, where nothing is surveyed."""
        return EIM.cost(self, dataclasses.replace(edit, strength=1.0))

    def _results(self, edit: Edit) -> dict[float, StrengthResult]:
        direction = self.direction(edit.latent, edit.target, seed=edit.seed, progress=edit.progress)
        slider = self.slider(edit.latent, direction, seed=edit.seed, progress=edit.progress)
        moved = slider.move(torch.tensor(edit.strengths, dtype=torch.float64)[:, None].expand(-1, len(edit.latent)))
        return {s: StrengthResult(z=z, strength=s) for s, z in zip(edit.strengths, moved, strict=True)}


_SHARE = Measure(
    name="edits whose effect rises gradually with the strength (text arm, partial captions)",
    column=gradual,
    unit="% of edits",
    where={"captions": PARTIAL, "method": TEXT},
    threshold=0.9,
)


@experiment(
    "linear-strength",
    paper=EIM_PAPER,
    claim="the text moves linearly with the strength of the edit, and the image follows gradually",
    source=Edits(items=64, others=32, kinds=("single",)),
    primary=_SHARE,
    secondary=(
        _SHARE.variant("the same, full captions", captions="full"),
        *(_SHARE.variant(f"the same, {method}", method=method) for method in (SDEDIT, "joint arm", "image arm")),
        _SHARE.variant(
            "straightness of the effect, which is stricter than the paper (text arm)", column=straight, unit=""
        ),
    ),
    plots=(Lines(y="effect", x="strength", by="method", label="effect", where={"captions": PARTIAL}),),
    quick={"strengths": (0.25, 0.5, 0.75, 1.0)},
    minutes=39,
)
def linear_strength(
    lab: Lab, *, strengths: tuple[float, ...] = tuple(k / 8 for k in range(1, 9)), level: float = 0.95, steps: int = 10
) -> Tables:
    """The text moves linearly by construction, c0 + strength (c1 - c0). Measured is whether the image follows.

    An effect is gradual if it never falls by more than 0.005 and no step makes up more than 0.4 of the whole. It is the
    projection of the image's change onto that of the right answer; items on which the text arm has no effect are left
    out. SDEdit at evenly rising noise levels is the control: a dial without a direction, which must fail.
    """
    editors = {
        TEXT: Scaled(arm="text", level=level, steps=steps),
        "joint arm": Scaled(arm="joint", search=SEARCH, level=level, steps=steps),
        "image arm": Scaled.from_dict(to_plain(recommended(lab.model))),
        SDEDIT: SDEdit(level=min(level, lab.model.capabilities.s_max), steps=steps, guidance=1.0),
    }
    yield lab.edit([Method(name=name, editor=editor) for name, editor in editors.items()], strengths)

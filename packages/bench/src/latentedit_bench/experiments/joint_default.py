"""Should an edit take a way back through the model? The image form against joint forms, as a default has to choose.

With d a displacement of the clean latent, found by the same search, and R the way back from a level s of the picture's
inversion under the target's text,

    image   x + d
    joint   R(Z_s + (1-s) d, c1)

each at the same number of evaluations: what the way takes is taken from the search. Derived here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.settings import to_plain
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_bench.data.prepared import Prepared
from latentedit_bench.experiments.base import Outcome, Row
from latentedit_bench.experiments.batches import BatchExperiment, scored
from latentedit_bench.experiments.benchmark_runs import paid
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.hessian_preservation import judged
from latentedit_bench.experiments.known_items import (
    FULL,
    OTHER_PROGRAMS,
    PARTIAL,
    Part,
    of_models,
    recommended,
)
from latentedit_bench.experiments.plotting import COLOURS, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.tuning.search_spaces import BUDGET

IMAGE = "image"
JOINT = {f"joint, level {level:g}": level for level in (0.25, 0.35, 0.5)}
"""The joint forms and the level that they come back from; the first decides."""

DECIDING = next(iter(JOINT))

SEARCH = 16
"""Network evaluations of a joint form's search; the way takes the rest."""

LEVELS = (0.3, 0.6)
"""At which a picture is judged."""

OFF, ERROR = "off", "error"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JointDefault(BatchExperiment):
    """How far edits are from what the model draws, and how far from the right answer, of each form."""

    name: ClassVar[str] = "joint-default"
    minutes: ClassVar[int] = 27
    paper: ClassVar[str] = "derived here"
    statement: ClassVar[str] = "a way back under the target's text gives what the model would draw, at no more error"
    statistic: ClassVar[str] = (
        "distance from what the model draws, |log(loss of the edit / loss of the encoded right answer)| under the "
        f"target's text, mean over levels {LEVELS[0]:g} and {LEVELS[1]:g}: of x + d, less of the {DECIDING} form, at "
        f"{BUDGET} evaluations each, partial captions, paired by item"
    )
    rule: ClassVar[str] = (
        "holds where the 95 % interval of the number (bootstrap over pictures) lies above 0 and the error of the joint "
        "form is not higher by an interval above 0; does not hold where the number's interval lies below 0, or the "
        "error is higher; and is undecided at this size otherwise. Where it holds the joint form should be the default"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The loss is how well the model denoises the picture; above that of the right answer the picture is odd, "
            "below it is smooth, and both are away from it. The model judges its own edits, which flatters the form "
            "that takes its way through the model."
        ),
        (
            "Other programs' portraits are drawn in free colours and wider framings. The models have seen such "
            "pictures in training, other ones than these."
        ),
    )

    items: int = 96
    others: int = 48

    @property
    def parts(self) -> tuple[Part, ...]:
        """Partial captions by every model and of other programs' portraits; full ones by the first."""
        first, *others = self.models
        return (
            Part(model=first, captions=PARTIAL, items=self.items),
            Part(model=first, captions=PARTIAL, items=self.items, world=OTHER_PROGRAMS),
            Part(model=first, captions=FULL, items=self.others),
            *(Part(model=model, captions=PARTIAL, items=self.others) for model in others),
        )

    @property
    def plan(self) -> Mapping[str, Any]:
        """The forms, what they take, and what decides."""
        return self.planned(
            forms={IMAGE: "x + d", **dict.fromkeys(JOINT, "R(Z_s + (1-s) d, c1)")},
            judged={"levels": list(LEVELS), "noises": "one and its opposite"},
            decides={"captions": PARTIAL, "form": DECIDING},
            local=False,
            **{"evaluations of an edit, at most": BUDGET, "of a joint form's search": SEARCH},
        )

    def quick(self) -> "JointDefault":
        """A few items."""
        return dataclasses.replace(self, items=8, others=6)

    def cost(self, part: Part) -> int:
        """An edit a form, and the losses of each and of the right answer."""
        del part
        forms = 1 + len(JOINT)
        return BUDGET * forms + 2 * len(LEVELS) * (forms + 1)

    def look_at(self, part: Part, batch: Prepared) -> list[tuple[int, Row]]:
        """Every form."""
        assert batch.answer_pixels is not None
        latent, model = batch.latent, batch.latent.backbone
        answer = model.encode(batch.answer_pixels.to(model.device, model.dtype))
        wanted = log_losses(model, answer, batch.target, seed=self.seed)
        found: list[tuple[int, Row]] = []
        for name, editor in forms(model, latent).items():
            (edited,) = editor.edit(latent, batch.target, [1.0], seed=self.seed)
            off = log_losses(model, edited.z, batch.target, seed=self.seed) - wanted
            told = {"form": name, "world": part.world, "evaluations": float(editor.evaluations(latent))}
            for index, scores in enumerate(scored(batch, edited.z)):
                found.append((index, {**told, **scores, OFF: float(off[:, index].abs().mean())}))
        return found

    def conclude(self, rows: Table) -> Outcome:
        """Of each model, kind of captions and world what the way back gives, in distance and in error."""
        rows = rows.assign(error=rows[ERROR].clip(upper=1))
        claims, summary = list[Claim](), list[dict[str, Any]]()
        for model, own in of_models(rows).items():
            for (world, captions), part in own.groupby(["world", "captions"], sort=False):
                where = f"{captions} captions" + (", other programs' portraits" if world == OTHER_PROGRAMS else "")
                told = self.claims(model, numbers(part, where))
                claims += [judged(told), *told[1:]]
            for measure in (OFF, ERROR, "leakage"):
                summary += means(own, ["model", "world", "captions", "form"], measure)
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Distance and error of every form by the first model with partial captions; and what the way back gives."""
        model = outcome.claims[0].model
        heads = [f"{model}: distance from what it draws", f"{model}: error", "x + d less joint form"]
        *axes, numbers_axis = panels(figure, heads, share_y=False, size=(17, 6))[0]
        known = outcome.summary[(outcome.summary["model"] == model) & (outcome.summary["captions"] == PARTIAL)]
        colours = dict(zip(dict.fromkeys(known["world"]), COLOURS, strict=False))
        for axis, measure, unit in zip(axes, (OFF, ERROR), ("|log ratio of losses|", "at most 1"), strict=True):
            draw_by_name(axis, known[known["measure"] == measure], "form", "world", colours)
            axis.set_xlabel(f"mean over items, {unit}; 95 % interval", fontsize=8)
        shown = [one for one in outcome.claims if DECIDING in one.measure]
        draw_numbers(numbers_axis, shown, unit="log ratio, or error")


def forms(model: Backbone, latent: JointLatent) -> dict[str, EIM]:
    """The recommended search in the image form and in the joint ones, each with the steps that the budget pays for.

    Args:
        model: whose settings they are.
        latent: for whose pictures the budget is spent.
    """
    editor = recommended(model)
    search = to_plain(editor.search)

    def paid_for(**settings: Any) -> EIM:
        return EIM.from_dict(to_plain(paid(EIM.name, {**to_plain(editor), **settings}, latent)))

    free = {name: value for name, value in search.items() if name != "steps"}
    fewer = {**search, "steps": max(1, SEARCH * editor.search.steps // editor.search.evaluations())}
    joint = {name: paid_for(arm="joint", level=level, search=fewer) for name, level in JOINT.items()}
    return {IMAGE: paid_for(arm="image", search=free), **joint}


def log_losses(
    model: Backbone, z: Float[Tensor, "b *latent"], text: Condition, *, seed: int
) -> Float[Tensor, "levels b"]:
    """Logarithms of the model's denoising losses under one text, at `LEVELS`.

    Cost:
        Two evaluations a latent and level.
    """
    judges = (Judge(level=level) for level in LEVELS)
    return torch.stack([judge.losses(model, z, (text,), seed=seed)[0].log() for judge in judges])


def numbers(rows: Table, where: str) -> dict[str, Table]:
    """What is less with the way back than without it: of the form that decides, then of the others.

    Args:
        rows: of one model, kind of captions and world.
        where: which, in words.
    """
    tables = {"distance from what the model draws": by_item(rows, OFF, "form"), ERROR: by_item(rows, ERROR, "form")}
    return {
        f"{measure}: {IMAGE} less {name}, {where}": table[IMAGE] - table[name]
        for name in JOINT
        for measure, table in tables.items()
    }

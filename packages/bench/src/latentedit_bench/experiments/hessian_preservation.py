"""What does the Hessian preserve? The same search with it and without it at equal cost; and beside SDS and DDS."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentedit.core.settings import to_plain
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.benchmark_runs import EditingExperiment, cost_note, paid, some_latent
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import CAPTIONS, PARTIAL, Part, loaded, of_models, recommended
from latentedit_bench.experiments.plotting import COLOURS, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET
from latentedit_bench.tuning.tuning import stored_methods

WITHOUT = "without Hessian"
FEWER = "without Hessian, as many steps"
"""As the member that decides, so that what its products cost is saved."""

MEMBERS: Mapping[str, Mapping[str, Any]] = {
    "gamma -0.5 at levels 0.8 to 0.5": {"gamma": -0.5, "one_sided": True, "gamma_levels": (0.8, 0.5)},
    "gamma -0.5 above level 0.5": {"gamma": -0.5, "one_sided": True, "gamma_levels": (0.98, 0.5)},
    "gamma -1 above level 0.5": {"gamma": -1.0, "one_sided": True, "gamma_levels": (0.98, 0.5)},
    "gamma -0.5": {"gamma": -0.5, "one_sided": True, "gamma_levels": (0.98, 0.0)},
    "gamma 0.5 below level 0.5": {"gamma": 0.5, "one_sided": True, "gamma_levels": (0.5, 0.0)},
    "gamma -0.5, derivative": {"gamma": -0.5},
    "newton": {"filter": "newton", "iterations": 1},
}
"""Of the Hessian family: what each changes in the search; the first decides."""

DECIDING = next(iter(MEMBERS))

BASELINES = ("dds", "sds")

OUTSIDE = "change outside"
AT_EFFECT = "change outside at equal effect"

PIPELINE = "our whole search, with its Hessian, preserves more than SDS and DDS do, whatever part of it that comes from"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HessianPreservation(EditingExperiment):
    """Change outside of the same search without its Hessian less with it, item by item."""

    name: ClassVar[str] = "hessian-preservation"
    minutes: ClassVar[int] = 109
    statement: ClassVar[str] = "the Hessian in score distillation preserves the rest of the picture"
    statistic: ClassVar[str] = (
        "energy of the change outside the area that the right answer changes, in that of the wanted change, at most 1: "
        f"of the search without its Hessian, less of the same with it ({DECIDING}), at strength 1, at no more "
        "evaluations, partial captions, paired by item"
    )
    rule: ClassVar[str] = (
        "holds where the 95 % interval of the number (bootstrap over pictures) lies above 0 and the error with the "
        "Hessian is not higher by an interval above 0; does not hold where the number's interval lies below 0, or the "
        "error is higher; and is undecided at this size otherwise"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The control is the same search without its Hessian, the evaluations of its products spent on more steps; "
            "beside it the same with as many steps, which is cheaper. The member that decides was chosen on "
            "calibration items; the others are told. One-sided products take one evaluation, the derivative two."
        ),
        (
            "Our searches are our derivation, not the paper's formula, which we do not have. SDS and DDS have the "
            "settings that were best for the first model on the calibration split. None is kept local in pixels."
        ),
        "What one edit makes of the picture outside grows with its effect; so it also stands at equal effect.",
    )

    items: int = 240
    others: int = 64

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part that decides, and fewer items of every other."""
        return tuple(
            Part(model=model, captions=captions, items=self.others if place else self.items)
            for place, (model, captions) in enumerate(itertools.product(self.models, CAPTIONS))
        )

    @property
    def plan(self) -> Mapping[str, Any]:
        """All methods at the same budget, none kept local."""
        return self.planned(
            data="counterfactual portraits that ask for a change",
            captions=list(CAPTIONS),
            decides={"captions": PARTIAL, "member": DECIDING},
            members={name: dict(change) for name, change in MEMBERS.items()},
            controls=[WITHOUT, FEWER],
            baselines=list(BASELINES),
            strength=1.0,
            local=False,
            **{"evaluations of an edit, at most": BUDGET},
        )

    def quick(self) -> "HessianPreservation":
        """A few items."""
        return dataclasses.replace(self, items=8, others=6)

    def cost(self, part: Part) -> int:
        """An edit a method."""
        del part
        return BUDGET * (len(MEMBERS) + len(BASELINES) + 2)

    def edited(self, part: Part, at: Context) -> Table:
        """Every method."""
        model, data = loaded(part.model, at), part.data()
        baselines = stored_methods(loaded(self.models[0], at), BASELINES)
        searches = methods(model, some_latent(model, data))
        return self.edit(part, at, data, [*searches, *(dataclasses.replace(one, local=False) for one in baselines)])

    def conclude(self, rows: Table) -> Outcome:
        """Of each model what the Hessian adds, by every member, and then the whole search beside SDS and DDS."""
        rows = rows.assign(**outside(rows), error=rows["error"].clip(upper=1))
        claims, notes, summary = list[Claim](), list[str](), list[dict[str, Any]]()
        for model, own in of_models(rows).items():
            for captions in CAPTIONS:
                part = own[own["captions"] == captions]
                adds = self.claims(model, added(part, captions))
                claims += [judged(adds), *adds[1:]]
                claims += self.claims(model, pipeline(part, captions), PIPELINE)
                notes.append(f"{model}, {captions} captions, {OUTSIDE} in that {WITHOUT}: {_ratios(part)}.")
            for measure in (OUTSIDE, AT_EFFECT, "error", "others_changed"):
                summary += means(own, ["model", "captions", "method"], measure)
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(summary), notes=(*notes, cost_note(rows)))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """Change outside and error of every method of the first model, and what the Hessian adds."""
        model = outcome.claims[0].model
        heads = [f"{model}: {OUTSIDE}", f"{model}: error", "without the Hessian less with it"]
        (area, error, numbers), *_ = panels(figure, heads, share_y=False, size=(17, 6.4))
        known = outcome.summary[outcome.summary["model"] == model]
        colours: dict[str, str] = dict(zip(CAPTIONS, COLOURS, strict=False))
        for axis, measure in ((area, OUTSIDE), (error, "error")):
            draw_by_name(axis, known[known["measure"] == measure], "method", "captions", colours)
            axis.set_xlabel("mean over items, each at most 1; 95 % interval", fontsize=8)
        adds = [one for one in outcome.claims if one.statement == self.statement and DECIDING in one.measure]
        shown = [one for one in adds if PARTIAL in one.measure]
        draw_numbers(numbers, shown, unit="share of the wanted change, error, or attributes")


def methods(model: Backbone, latent: JointLatent) -> list[Method]:
    """The recommended search without its Hessian and with every member's, each with as many steps as the budget pays.

    Args:
        model: whose settings they are.
        latent: for whose pictures the budget is spent.
    """
    editor = recommended(model)
    plain = without_hessian(editor.search)

    def at_budget(change: Mapping[str, Any]) -> EIM:
        search = {name: value for name, value in {**to_plain(plain), **change}.items() if name != "steps"}
        return EIM.from_dict(to_plain(paid(EIM.name, {**to_plain(editor), "arm": "image", "search": search}, latent)))

    members = {name: at_budget(change) for name, change in MEMBERS.items()}
    fewer = dataclasses.replace(plain, steps=members[DECIDING].search.steps)
    found = {WITHOUT: at_budget({}), FEWER: dataclasses.replace(members[DECIDING], search=fewer), **members}
    return [Method(name=name, editor=one) for name, one in found.items()]


def without_hessian(search: HSDS) -> HSDS:
    """The same search with the residual as it is: no product with the denoiser's Jacobian is taken."""
    return dataclasses.replace(search, filter="gamma", gamma=0.0)


def outside(rows: Table) -> dict[str, Table]:
    """`OUTSIDE` and `AT_EFFECT` of each row.

    The energy of a change is ``effect^2 + leakage^2`` in that of the wanted one, and "outside" its share outside the
    right answer's area. At equal effect it is divided by the squared effect, as if the change were scaled to the whole.
    """
    energy = (rows["outside"].astype(float) * (rows["effect"] ** 2 + rows["leakage"] ** 2)).fillna(0)
    scaled = energy / rows["effect"].clip(lower=LEAST_EFFECT) ** 2
    return {OUTSIDE: energy.clip(upper=1), AT_EFFECT: scaled.clip(upper=1)}


def added(rows: Table, captions: str) -> dict[str, Table]:
    """What is less with the Hessian than without it: of the member that decides, then of the others.

    Args:
        rows: of one model and kind of captions.
        captions: which.
    """
    where, found = f"{captions} captions", dict[str, Table]()
    tables = {name: by_item(rows, name) for name in (OUTSIDE, "error", AT_EFFECT, "others_changed")}
    for member in MEMBERS:
        for measure, table in tables.items():
            if member == DECIDING or measure in (OUTSIDE, "error"):
                words = measure.replace("_", " ")
                found[f"{words}: {WITHOUT} less {member}, {where}"] = table[WITHOUT] - table[member]
    table = tables[OUTSIDE]
    found[f"{OUTSIDE}: {FEWER} less {DECIDING}, {where}"] = table[FEWER] - table[DECIDING]
    return found


def pipeline(rows: Table, captions: str) -> dict[str, Table]:
    """What is less with our whole search than with SDS and DDS."""
    found: dict[str, Table] = {}
    for measure in (OUTSIDE, AT_EFFECT, "error"):
        table = by_item(rows, measure)
        for other in BASELINES:
            found[f"{measure}: {other} less {DECIDING}, {captions} captions"] = table[other] - table[DECIDING]
    return found


def judged(claims: tuple[Claim, ...]) -> Claim:
    """The first claim, on the change outside, which does not hold where the second, on the error, is against it."""
    change, error = claims[0], claims[1]
    return dataclasses.replace(change, verdict=error.verdict) if error.verdict == "does not hold" else change


def _ratios(rows: Table) -> str:
    mean = by_item(rows, OUTSIDE).mean()
    shown = {name: mean[name] / mean[WITHOUT] if mean[WITHOUT] > 0 else np.nan for name in (*MEMBERS, FEWER)}
    return ", ".join(f"{name} {ratio:.2f}" for name, ratio in shown.items())

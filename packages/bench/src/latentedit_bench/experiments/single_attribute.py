"""Does a direction from two texts change one attribute? What a reader sees of the one asked for and of all others."""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentedit.api.manifests.items import Dataset, Item
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.domains.base import Domain, domain
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.benchmark_runs import EditingExperiment, cost_note
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.known_items import CAPTIONS, PARTIAL, Part, loaded, of_models, recommended
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.search_spaces import BUDGET

OURS = "eim"
OTHER = "another attribute's direction"

_ASKED = 0.5
"""Total variation in the right answer from which on an attribute counts as asked for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SingleAttribute(EditingExperiment):
    """Items that ask for one attribute: the direction for it, and one for another attribute of the same portrait."""

    name: ClassVar[str] = "single-attribute"
    minutes: ClassVar[int] = 31
    statement: ClassVar[str] = "directions that come from text alone control one attribute each"
    statistic: ClassVar[str] = (
        "change of the attribute asked for less the largest change of another one, as total variation of the reader's "
        "probabilities, less the same of a direction that was found on the same portrait for another attribute; at "
        "strength 1, partial captions, paired by item; where two are tied (a beard and its colour), the smaller of "
        "theirs"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "The control is a direction of the same search on the same portrait, for another attribute that the "
            "caption names, and read as if it were the one asked for: it changes pictures as much, so where "
            "directions changed attributes at large, its margin would be ours."
        ),
        (
            "Partial captions leave out about half of the attributes, and those may change unseen by the text. The "
            "reader knows twelve attributes; what it does not read it does not see change. The search is our "
            "derivation. The change of both is kept to where it is strong."
        ),
    )

    others: int = 96

    @property
    def plan(self) -> Mapping[str, Any]:
        """Ours and the control on the same items."""
        return self.planned(
            data="counterfactual portraits of the kind single",
            captions=list(CAPTIONS),
            decides=PARTIAL,
            methods={OURS: "as the model's folder recommends", OTHER: "likewise, another attribute asked for"},
            strength=1.0,
            local=True,
        )

    def quick(self) -> "SingleAttribute":
        """About two items an attribute."""
        return dataclasses.replace(self, items=24, others=12)

    def cost(self, part: Part) -> int:
        """Two edits."""
        del part
        return 2 * BUDGET

    def edited(self, part: Part, at: Context) -> Table:
        """The items as they are; and the same pictures, another attribute asked for, measured against their answers."""
        data, editor = part.data(("single",)), recommended(loaded(part.model, at))
        ours = self.edit(part, at, data, [Method(name=OURS, editor=editor, local=True)])
        swapped, control = asking_another(data, self.seed), Method(name=OTHER, editor=editor, local=True)
        other = self.edit(part, at, swapped, [control], folder=f"{part.name}-control")
        return pd.concat([ours, other], ignore_index=True)

    def conclude(self, rows: Table) -> Outcome:
        """Of each model, the margin less the control's, the margin, and the items in which nothing else changed."""
        rows = rows.assign(
            asked=rows["asked"].map(_words),
            margin=margin(rows),
            clean=(rows["done"] == 1).astype(float) - (rows["others_changed"] > 0).astype(float),
        )
        claims, table, notes = list[Claim](), list[dict[str, Any]](), list[str]()
        for model, own in of_models(rows).items():
            numbers: dict[str, Table] = {}
            for captions in CAPTIONS:
                part = own[own["captions"] == captions]
                margins, clean = by_item(part, "margin"), by_item(part, "clean")
                numbers |= {
                    f"margin, less that of another attribute's direction, {captions} captions": (
                        margins[OURS] - margins[OTHER]
                    ),
                    f"margin: asked for less largest other, {captions} captions": margins[OURS],
                    f"share of items done, less share with another attribute changed, {captions} captions": clean[OURS],
                }
                notes.append(f"{model}, {captions} captions: {_seen(part, OURS)}; {_seen(part, OTHER)}.")
            claims += self.claims(model, numbers)
            told = own[own["captions"] == PARTIAL].rename(columns={"asked": "asked for"})
            ours = told[told["method"] == OURS]
            for name in _attributes(rows):
                cells = means(ours, ["model", "asked for"], f"{CHANGE}{name}")
                table += [{"part": "changes", "attribute": name, **row} for row in cells]
            table += [{"part": "margins", **row} for row in means(told, ["model", "method", "asked for"], "margin")]
        return Outcome(claims=tuple(claims), summary=pd.DataFrame(table), notes=(cost_note(rows), *notes))

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """What changes where what is asked for, and the margin by attribute, of the first model; all numbers."""
        model = outcome.claims[0].model
        heads = [f"{model}: mean change of each attribute", f"{model}: asked for less largest other", "all items"]
        (matrix, margins, numbers), *_ = panels(figure, heads, share_y=False, size=(16, 5.4))
        known = outcome.summary[outcome.summary["model"] == model]
        changes = known[known["part"] == "changes"]
        cells = changes.pivot_table(index="attribute", columns="asked for", values="mean", sort=True)
        shown = matrix.imshow(cells.to_numpy(float), vmin=0, vmax=1, cmap="viridis", aspect="auto")
        matrix.set_xticks(
            range(cells.shape[1]), [str(name).replace("_", " ") for name in cells.columns], rotation=90, fontsize=7
        )
        matrix.set_yticks(range(cells.shape[0]), [str(name).replace("_", " ") for name in cells.index], fontsize=7)
        matrix.grid(visible=False)
        matrix.set_xlabel("asked for (one or two tied), partial captions")
        figure.colorbar(shown, ax=matrix, label="total variation of the reader's probabilities")
        part = known[known["part"] == "margins"]
        draw_by_name(margins, part, "asked for", "method", {OURS: COLOURS[0], OTHER: GREY})
        margins.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
        margins.set_xlabel("total variation, 95 % interval", fontsize=8)
        draw_numbers(numbers, outcome.claims, unit="total variation, or share of items")


def asking_another(data: Dataset, seed: int) -> Dataset:
    """The same pictures, captions and answers, but that each target asks for another attribute that its caption names.

    Items whose caption names no other one are left out.

    Args:
        data: rendered items.
        seed: of the choice.
    """
    items = [_asking_another(item, random.Random(f"{seed}/{item.id}")) for item in data.items]
    return dataclasses.replace(data, name=f"{data.name}/another", items=tuple(item for item in items if item))


def _asking_another(item: Item, generator: random.Random) -> Item | None:
    picture = item.picture
    assert isinstance(picture, Rendered)
    world = domain(picture.world)
    asked = set(item.about["asked"].split(","))
    asked |= {name for pair in world.part_of.items() if asked & set(pair) for name in pair}  # one phrase says both
    able = {name: values for name, values in world.alternatives(picture.scene).items() if name not in asked}
    for name in generator.sample(list(able), len(able)):
        target = _said_with(world, picture, item.source_caption, {name: generator.choice(able[name])})
        if target is not None:
            return dataclasses.replace(item, target_caption=target)
    return None


def _said_with(world: Domain, picture: Rendered, caption: str, change: Mapping[str, str]) -> str | None:
    """The caption with the phrases of a change in the place of what it says; None where it does not say all of it."""
    pairs = zip(world.phrases(picture.scene), world.phrases(world.change(picture.scene, change)), strict=True)
    for old, new in pairs:
        if old != new:
            if old not in caption:
                return None
            caption = caption.replace(old, new)
    return caption


def _seen(rows: Table, method: str) -> str:
    own = rows[rows["method"] == method]
    done, others = (own["done"] == 1).mean(), (own["others_changed"] > 0).mean()
    return f"{method}: asked value read in {done:.0%} of items, another attribute changed in {others:.0%}"


def margin(rows: Table) -> Table:
    """Of each row, the least change of an attribute that was asked for less the largest of the others.

    Asked for is what changes in the right answer by `_ASKED` or more, or else what changes most there.
    """
    names = _attributes(rows)
    changed = rows[[f"{CHANGE}{name}" for name in names]].to_numpy(float)
    asked = _asked(rows)
    found = np.where(asked, changed, np.inf).min(1) - np.where(asked, -np.inf, changed).max(1)
    return pd.Series(found, index=rows.index)


def _attributes(rows: Table) -> list[str]:
    return [str(name).removeprefix(CHANGE) for name in rows.columns if str(name).startswith(CHANGE)]


def _asked(rows: Table) -> Any:
    truth = rows[[f"{TRUE_CHANGE}{name}" for name in _attributes(rows)]].to_numpy(float)
    return (truth >= _ASKED) | (truth == truth.max(1, keepdims=True))


def _words(asked: str) -> str:
    """Of one attribute, or of a part and its colour."""
    first, *tied = asked.split(",")
    return f"{first} and color" if tied else first

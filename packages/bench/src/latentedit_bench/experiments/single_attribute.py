"""Does a direction from two texts change one attribute? What a reader sees of the one asked for and of all others."""

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
from latentedit.core.rng import draw
from latentedit.core.settings import to_plain
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit_bench.experiments import benchmark_runs as bench
from latentedit_bench.experiments.base import Context, Outcome
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_by_name, draw_numbers, panels
from latentedit_bench.metrics.statistics import Table, by_item, means
from latentedit_bench.ranking.evaluate import CHANGE, TRUE_CHANGE
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.tuning import stored_methods

OURS = "eim"
RANDOM = "random direction"

_ASKED = 0.5
"""Total variation in the right answer from which on an attribute counts as asked for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomDirection(Editor):
    """``z + strength |d| u``, d the direction of another editor and u uniform on the sphere, one for each picture.

    Args:
        like: whose length it has.
    """

    name: ClassVar[str] = RANDOM

    like: EIM = dataclasses.field(default_factory=EIM)

    @property
    def keeps_equal_texts(self) -> bool:
        """Where the direction has no length, nothing moves."""
        return self.like.keeps_equal_texts

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """Those of the search."""
        del latent
        return 0 if strength == 0 else self.like.search.evaluations()

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        found = self.like.direction(latent, target, seed=seed, progress=progress).z
        purposes = [f"{self.name}/{frame.picture.fingerprint}" for frame in latent.frames]
        noise = torch.stack([draw(found.shape[1:], seed=seed, purpose=purpose) for purpose in purposes])
        noise = noise.to(found.device, found.dtype)
        length, drawn = (rows.flatten(1).norm(dim=1) for rows in (found, noise))
        return latent.z + noise * (strength * length / drawn).reshape(-1, *[1] * (found.ndim - 1))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SingleAttribute(bench.EditingExperiment):
    """Items that ask for one attribute, by `EIM` as stored and by a random direction of the same length.

    Args:
        items: of the test split.
        model: a bundled name.
        seed: of the search's noises and of the random directions.
    """

    name: ClassVar[str] = "single-attribute"
    statement: ClassVar[str] = "directions that come from text alone control one attribute each"
    statistic: ClassVar[str] = (
        "change of the attribute asked for less the largest change of another one, as total variation of the reader's "
        "probabilities, in [-1, 1], at strength 1; where two are tied (a beard and its colour), the smaller of theirs"
    )
    notes: ClassVar[tuple[str, ...]] = (
        (
            "Both captions name every attribute. The reader knows twelve attributes; what it does not read it does not "
            "see change. The search is our derivation. The change of both methods is kept to where it is strong."
        ),
    )

    items: int = 96
    model: str = "portraits"

    @property
    def plan(self) -> Mapping[str, Any]:
        """Two methods on the same items."""
        return {
            **to_plain(self),
            "data": "counterfactual portraits of the kind single, full captions",
            "methods": {OURS: "as stored with the model", RANDOM: "isotropic in the clean latent, of equal length"},
            "strength": 1.0,
        }

    def quick(self) -> "SingleAttribute":
        """About two items an attribute."""
        return dataclasses.replace(self, items=24)

    def edited(self, run: str, at: Context) -> Table:
        """Both methods, kept local alike."""
        model = self.loaded(self.model, at)
        ours = stored_methods(model, [OURS])[0]
        control = Method(name=RANDOM, editor=RandomDirection(like=bench.as_eim(ours.editor)), local=ours.local)
        return self.edit(run, at, model, bench.asking("test", self.items, ("single",)), [ours, control])

    def conclude(self, rows: Table) -> Outcome:
        """The margin, the items in which nothing else changed, and the same less the control's."""
        rows = rows.assign(
            asked=rows["asked"].map(_words),
            margin=margin(rows),
            clean=(rows["done"] == 1).astype(float) - (rows["others_changed"] > 0).astype(float),
        )
        margins, clean = by_item(rows, "margin"), by_item(rows, "clean")
        numbers = {
            "asked for less largest other": margins[OURS],
            "the same, less that of a random direction of equal length": margins[OURS] - margins[RANDOM],
            "share of items with the asked value read, less share with another attribute changed": clean[OURS],
            "the same, less that of a random direction": clean[OURS] - clean[RANDOM],
        }
        model = str(rows["model"].iloc[0])
        claims = self.claims(model, numbers)
        ours = rows[rows["method"] == OURS].rename(columns={"asked": "asked for"})
        cells = [
            {"part": "changes", "attribute": name, **row}
            for name in _attributes(rows)
            for row in means(ours, ["method", "asked for"], f"{CHANGE}{name}")
        ]
        by_asked = means(rows.rename(columns={"asked": "asked for"}), ["method", "asked for"], "margin")
        other = rows[rows["method"] == RANDOM]
        notes = (
            bench.cost_note(rows),
            (
                f"Asked value read in {_share(ours['done'] == 1)} of items, another attribute changed in "
                f"{_share(ours['others_changed'] > 0)}; random directions: {_share(other['done'] == 1)} and "
                f"{_share(other['others_changed'] > 0)}."
            ),
        )
        table = pd.DataFrame([*cells, *({"part": "margins", **row} for row in by_asked)])
        return Outcome(claims=claims, summary=table, notes=notes)

    def draw(self, outcome: Outcome, figure: Figure) -> None:
        """What changes where what is asked for; the margin by attribute; the claims' numbers."""
        heads = ["mean change of each attribute, ours", "asked for less largest other", "all items"]
        (matrix, margins, numbers), *_ = panels(figure, heads, share_y=False, size=(16, 4.8))
        changes = outcome.summary[outcome.summary["part"] == "changes"]
        cells = changes.pivot_table(index="attribute", columns="asked for", values="mean", sort=True)
        shown = matrix.imshow(cells.to_numpy(float), vmin=0, vmax=1, cmap="viridis", aspect="auto")
        matrix.set_xticks(
            range(cells.shape[1]), [str(name).replace("_", " ") for name in cells.columns], rotation=90, fontsize=7
        )
        matrix.set_yticks(range(cells.shape[0]), [str(name).replace("_", " ") for name in cells.index], fontsize=7)
        matrix.grid(visible=False)
        matrix.set_xlabel("asked for (one or two tied)")
        figure.colorbar(shown, ax=matrix, label="total variation of the reader's probabilities")
        part = outcome.summary[outcome.summary["part"] == "margins"]
        draw_by_name(margins, part, "asked for", "method", {OURS: COLOURS[0], RANDOM: GREY})
        margins.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
        margins.set_xlabel("total variation, 95 % interval", fontsize=8)
        draw_numbers(numbers, outcome.claims, unit="total variation, or share of items")


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


def _share(which: Table) -> str:
    return f"{float(which.mean()):.0%}"

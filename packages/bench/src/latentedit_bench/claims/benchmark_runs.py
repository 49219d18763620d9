"""What the experiments that edit portraits share: items, runs in folders, differences paired by item, their plots."""

import dataclasses
import functools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from latentedit.api.manifests.items import Dataset
from latentedit.api.runs.executors import Executor, suitable_workers
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.analysis.base import Claim
from latentedit_bench.analysis.plotting import COLOURS, GREY
from latentedit_bench.claims.base import Place
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import prepare
from latentedit_bench.metrics.statistics import Estimate, Table, estimate
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.plan import BATCH, Plan
from latentedit_bench.ranking.run import run
from latentedit_bench.tuning.contender import BUDGET, Contender, affordable

PAPER = "EIM (arXiv 2411.08196)"

DTYPE = torch.bfloat16
"""Of the networks; coordinates are float32."""

_FEWEST = 4
"""Items for which it is worth loading the model once more."""

CLAIM = "claim"
"""In the column "part" of an outcome's table: a row that is a claim's number."""


def asking(split: str, count: int, kinds: tuple[str, ...] = ()) -> Dataset:
    """The first items of a split that ask for a change, of some kinds or of all.

    Args:
        split: "calibration" or "test".
        count: of items, fewer where there are not as many.
        kinds: such as "single"; all where none are named.
    """
    data = counterfactual("portraits", split)
    items = [item for item in data.items if item.about["asked"] and (not kinds or item.kind in kinds)]
    return dataclasses.replace(data, name=f"{data.name}/{'+'.join(kinds) or 'asking'}", items=tuple(items[:count]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """An experiment's benchmark runs, each in a folder of its own.

    Args:
        name: of the experiment.
        at: where it works; told of progress in units of a run.
        seed: of every random number of the editors.
    """

    name: str
    at: Place
    seed: int = 0

    def model(self, name: str) -> Backbone:
        """A bundled model, its network in `DTYPE`."""
        return load(name, device=self.at.device, dtype=DTYPE)

    def measure(
        self, run_name: str, model: Backbone, data: Dataset, methods: Sequence[Method], strengths: Sequence[float]
    ) -> Table:
        """Rows of `evaluate.evaluate`, with "model" and "asked"; those of the codec alone are left out.

        Args:
            run_name: of the folder.
            model: what edits.
            data: what is edited.
            methods: by which.
            strengths: at which, 1 among them.

        Raises:
            ConfigError: the folder holds the run of another plan.
            OutputError: the folder cannot be written to.
        """
        plan = Plan(
            model=model,
            dataset=data,
            methods=tuple(methods),
            strengths=tuple(strengths),
            seed=self.seed,
            batch=min(BATCH, max(1, len(data.items) // 2)),
            beside=False,
        )
        rows = run(
            plan,
            self.at.folder / run_name,
            command=self.at.command,
            load=functools.partial(load, model.name, device=self.at.device, dtype=DTYPE),
            executor=Executor(workers=suitable_workers(model.device, len(data.items) // _FEWEST)),
            progress=functools.partial(self._told, run_name),
            note=self.at.note,
        )
        asked = {item.id: item.about["asked"] for item in data.items}
        kept = rows[rows["method"] != CODEC]
        return kept.assign(model=model.name, asked=kept["item"].map(asked)).reset_index(drop=True)

    def _told(self, run_name: str, _: str, done: int, total: int) -> None:
        if self.at.progress is not None:
            self.at.progress(f"{self.name}: {run_name}", done, total)


def some_latent(model: Backbone, data: Dataset) -> JointLatent:
    """The first picture, encoded: on its grid of levels depends what an edit costs."""
    return prepare(model, data.items[:1]).latent


def paid(editor: str, settings: Mapping[str, Any], latent: JointLatent) -> Editor:
    """An editor with as many steps as `BUDGET` evaluations pay for; see `contender.affordable`."""
    return affordable(Contender(name=editor, editor=editor, candidates=(), budget=BUDGET), settings, latent)


def wide(rows: Table, measure: str, columns: str = "method") -> Table:
    """One row an item, "group" and "item" in the index; one column a method, or whatever is named."""
    return rows.pivot_table(index=["group", "item"], columns=columns, values=measure, aggfunc="mean")


def over_groups(values: Table) -> Estimate:
    """The mean of a column whose index has "group" and "item"; groups are drawn. Those that are nan are left out."""
    known = values.astype(float).dropna()
    names = [str(group) for group in known.index.get_level_values("group")]
    place = {name: index for index, name in enumerate(sorted(set(names)))}
    return estimate(known.tolist(), [(place[name],) for name in names])


def means(rows: Table, by: Sequence[str], measure: str) -> list[dict[str, Any]]:
    """Mean and interval of a column for each value of others, in the order of the rows."""
    found: list[dict[str, Any]] = []
    for key, part in rows.groupby(list(by), sort=False):
        told = over_groups(part.set_index(["group", "item"])[measure])
        found.append({**dict(zip(by, key, strict=True)), "measure": measure, **dataclasses.asdict(told)})
    return found


def best(rows: Table, measure: str = "disentanglement") -> list[str]:
    """Methods by the mean of a measure, nan counting as 0, the best first; equal ones in the order of the rows."""
    scores = rows.assign(score=rows[measure].astype(float).fillna(0)).groupby("method", sort=False)["score"].mean()
    return [str(name) for name in scores.sort_values(ascending=False, kind="stable").index]


def told(claims: Sequence[Claim], rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table of an outcome: rows with a "part" of their own, and one a claim."""
    numbers = [
        {
            "part": CLAIM,
            "model": claim.model,
            "measure": claim.measure,
            "mean": claim.estimate,
            "low": claim.low,
            "high": claim.high,
            "pictures": claim.samples,
        }
        for claim in claims
    ]
    return pd.DataFrame([*rows, *numbers])


def cost_note(rows: Table) -> str:
    """What an edit at strength 1 took, by method."""
    one = rows[rows["strength"] == 1]
    spent = one.groupby("method", sort=False)["evaluations"].mean()
    costs: dict[float, list[str]] = {}
    for name, value in spent.items():
        costs.setdefault(float(value), []).append(str(name))
    listed = "; ".join(f"{cost:g}: {', '.join(names)}" for cost, names in costs.items())
    return f"Network evaluations a picture at strength 1: {listed}."


def draw_numbers(axis: Axes, table: Table, *, unit: str) -> None:
    """The claims of an outcome's table from top to bottom, with their intervals; at 0 the line that decides.

    Args:
        axis: of the plot.
        table: of an outcome.
        unit: of the numbers.
    """
    part = table[table["part"] == CLAIM].reset_index(drop=True)
    rows = np.arange(len(part))
    several = part["model"].nunique() > 1
    for row, claim in zip(rows, part.to_dict("records"), strict=True):
        colour = COLOURS[0] if claim["low"] > 0 else COLOURS[1] if claim["high"] < 0 else GREY
        arms = [[max(0.0, claim["mean"] - claim["low"])], [max(0.0, claim["high"] - claim["mean"])]]
        axis.errorbar(claim["mean"], row, xerr=arms, fmt="o", markersize=4, color=colour)
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
    names = [f"{one['model']}: {one['measure']}" if several else one["measure"] for one in part.to_dict("records")]
    axis.set_yticks(rows, [textwrap.fill(str(name), 42) for name in names], fontsize=7)
    axis.set_ylim(len(part) - 0.5, -0.5)
    axis.set_xlabel(f"{unit}\n95 % interval; the claim is true above 0", fontsize=8)


def draw_by_name(axis: Axes, rows: Table, names: str, series: str, colours: Mapping[str, str]) -> None:
    """Means with their intervals, names from top to bottom, one point a series beside each other.

    Args:
        axis: of the plot.
        rows: with "mean", "low", "high".
        names: the column that is written on the axis; "_" is a space there.
        series: the column that is told apart by colour.
        colours: each value of that column to its own.
    """
    order = sorted(set(rows[names]))
    for index, (name, colour) in enumerate(colours.items()):
        own = rows[rows[series] == name].set_index(names).reindex(order)
        places = np.arange(len(order)) + 0.24 * (index - (len(colours) - 1) / 2)
        arms = [(own["mean"] - own["low"]).clip(lower=0), (own["high"] - own["mean"]).clip(lower=0)]
        axis.errorbar(own["mean"], places, xerr=arms, fmt="o", markersize=4, color=colour, label=name)
    axis.set_yticks(range(len(order)), [str(name).replace("_", " ") for name in order], fontsize=7)
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.legend(fontsize=7)


def draw_line(axis: Axes, rows: Table, along: str, *, label: str, colour: str) -> None:
    """Means over a column of numbers, with their intervals."""
    part = rows.sort_values(along)
    x = part[along].to_numpy(float)
    axis.plot(x, part["mean"].to_numpy(float), marker="o", markersize=4, color=colour, label=label)
    low, high = (part[end].to_numpy(float) for end in ("low", "high"))
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)

"""What the experiments that edit by whole editors share: benchmark runs in folders of their own."""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from latentedit.api.manifests.items import Dataset
from latentedit.api.runs.executors import Executor, suitable_workers
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.placement import half_or_float32
from latentedit.models.registry import load
from latentedit_bench.data.prepared import prepare
from latentedit_bench.experiments.base import Context, Row, Unit
from latentedit_bench.experiments.known_items import KnownItems, Part, loaded
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.plan import BATCH, Plan
from latentedit_bench.ranking.run import run
from latentedit_bench.tuning.search_spaces import BUDGET, SearchSpace, at_budget

_FEWEST = 4
"""Items for which it is worth loading the model once more."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditingExperiment(KnownItems):
    """Editing methods on items with known answers. A unit is a part, measured by a benchmark run in its own folder."""

    def units(self, at: Context) -> Sequence[Unit]:
        """The parts."""
        del at
        return [(part.name,) for part in self.parts]

    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """The rows of a part."""
        (part,) = (one for one in self.parts if one.name == unit[0])
        return self.found(part, at).to_dict("records")

    def rows(self, at: Context) -> Table:
        """Those of all parts, see `Part.about`; each is finished in its own folder, so they are not stored again."""
        return pd.concat([self.found(part, at) for part in self.parts], ignore_index=True)

    def found(self, part: Part, at: Context) -> Table:
        """The rows of a part, measured or read once."""
        return at.once(("rows", part), lambda: self.edited(part, at).assign(**part.about))

    @abc.abstractmethod
    def edited(self, part: Part, at: Context) -> Table:
        """The rows of a part, by `edit`."""

    def edit(
        self,
        part: Part,
        at: Context,
        data: Dataset,
        methods: Sequence[Method],
        strengths: Sequence[float] = (1.0,),
        *,
        folder: str = "",
    ) -> Table:
        """Rows of `evaluate.evaluate`, with "asked"; those of the codec alone are left out.

        Args:
            part: whose model edits.
            at: where the experiment works; its progress is called in units of the run.
            data: what is edited.
            methods: by which.
            strengths: at which, 1 among them.
            folder: of the run, where a part takes several.

        Raises:
            ConfigError: the folder holds the run of another plan.
            OutputError: the folder cannot be written to.
        """
        where, model = folder or part.name, loaded(part.model, at)

        def tell(_: str, done: int, total: int) -> None:
            if at.progress is not None:
                at.progress(f"{self.name}: {where}", done, total)

        plan = Plan(
            model=model,
            dataset=data,
            methods=tuple(methods),
            strengths=tuple(strengths),
            seeds=(self.seed,),
            batch=min(BATCH, max(1, len(data.items) // 2)),
        )
        rows = run(
            plan,
            at.folder / where,
            command=at.command,
            load=functools.partial(load, part.model, device=at.device, dtype=half_or_float32(at.device)),
            executor=Executor(workers=suitable_workers(model.device, len(data.items) // _FEWEST)),
            progress=tell,
            note=at.note,
        )
        asked = {item.id: item.about["asked"] for item in data.items}
        kept = rows[rows["method"] != CODEC]
        return kept.assign(asked=kept["item"].map(asked)).reset_index(drop=True)


def some_latent(model: Backbone, data: Dataset) -> JointLatent:
    """The first picture, encoded: on its grid of levels depends what an edit costs."""
    return prepare(model, data.items[:1]).latent


def paid(editor: str, settings: Mapping[str, Any], latent: JointLatent) -> Editor:
    """An editor with as many steps as `BUDGET` evaluations pay for; see `search_spaces.at_budget`."""
    return at_budget(SearchSpace(name=editor, editor=editor, candidates=(), budget=BUDGET), settings, latent)


def best(rows: Table) -> list[str]:
    """Methods by their mean disentanglement, nan counting as 0, the best first; equal ones in the order of the rows."""
    scores = (
        rows.assign(score=rows["disentanglement"].astype(float).fillna(0)).groupby("method", sort=False)["score"].mean()
    )
    return [str(name) for name in scores.sort_values(ascending=False, kind="stable").index]


def cost_note(rows: Table) -> str:
    """What an edit at strength 1 took, by method."""
    one = rows[rows["strength"] == 1]
    spent = one.groupby("method", sort=False)["evaluations"].mean()
    costs: dict[float, list[str]] = {}
    for name, value in spent.items():
        costs.setdefault(float(value), []).append(str(name))
    listed = "; ".join(f"{cost:g}: {', '.join(names)}" for cost, names in costs.items())
    return f"Network evaluations a picture at strength 1: {listed}."

"""What the experiments that edit items with known answers share: runs in folders, and differences paired by item."""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch

from latentedit.api.manifests.items import Dataset
from latentedit.api.runs.executors import Executor, suitable_workers
from latentedit.core.settings import to_plain
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.prepared import prepare
from latentedit_bench.experiments.base import Context, Experiment, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.metrics.statistics import Table, over_groups
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.plan import BATCH, Plan
from latentedit_bench.ranking.run import run
from latentedit_bench.tuning.search_spaces import BUDGET, SearchSpace, at_budget

PAPER = "EIM (arXiv 2411.08196)"

DTYPE = torch.bfloat16
"""Of the networks; coordinates are float32."""

_FEWEST = 4
"""Items for which it is worth loading the model once more."""

DOMAIN = "portraits"
"""Whose counterfactuals are the items."""


def asking(split: str, count: int, kinds: tuple[str, ...] = ()) -> Dataset:
    """The first items of a split that ask for a change, of some kinds or of all.

    Args:
        split: "calibration" or "test".
        count: of items, fewer where there are not as many.
        kinds: such as "single"; all where none are named.
    """
    data = counterfactual(DOMAIN, split)
    items = [item for item in data.items if item.about["asked"] and (not kinds or item.kind in kinds)]
    return dataclasses.replace(data, name=f"{data.name}/{'+'.join(kinds) or 'asking'}", items=tuple(items[:count]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditingExperiment(Experiment):
    """Editing methods on items with known answers. A unit is a benchmark run, which is kept in a folder of its own.

    Args:
        items: of the test split.
        seed: of every random number of the editors.
    """

    paper: ClassVar[str] = PAPER

    runs: ClassVar[tuple[str, ...]] = ("test",)
    """Names of the runs; later ones may need what earlier ones found."""

    items: int = 48
    seed: int = 0

    def units(self, at: Context) -> Sequence[Unit]:
        """The runs."""
        del at
        return [(run,) for run in self.runs]

    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """The rows of a run."""
        return self.part(str(unit[0]), at).to_dict("records")

    def rows(self, at: Context) -> Table:
        """Those of all runs, with "run"; each is finished in its own folder, so they are not stored again."""
        return pd.concat([self.part(run, at).assign(run=run) for run in self.runs], ignore_index=True)

    def part(self, run: str, at: Context) -> Table:
        """The rows of a run, measured or read once."""
        return at.once(("rows", run), lambda: self.edited(run, at))

    @abc.abstractmethod
    def edited(self, run: str, at: Context) -> Table:
        """The rows of a run, by `edit`."""

    def loaded(self, name: str, at: Context) -> Backbone:
        """A bundled model, its network in `DTYPE`."""
        return at.once(("model", name), lambda: load(name, device=at.device, dtype=DTYPE))

    def claims(self, model: str, numbers: Mapping[str, Table]) -> tuple[Claim, ...]:
        """One for each measure, by its values of each item; see `over_groups`."""
        return tuple(Claim.of(self.statement, model, name, over_groups(values)) for name, values in numbers.items())

    def edit(
        self,
        run_name: str,
        at: Context,
        model: Backbone,
        data: Dataset,
        methods: Sequence[Method],
        strengths: Sequence[float] = (1.0,),
    ) -> Table:
        """Rows of `evaluate.evaluate`, with "model" and "asked"; those of the codec alone are left out.

        Args:
            run_name: of the folder.
            at: where the experiment works; its progress is called in units of the run.
            model: what edits.
            data: what is edited.
            methods: by which.
            strengths: at which, 1 among them.

        Raises:
            ConfigError: the folder holds the run of another plan.
            OutputError: the folder cannot be written to.
        """

        def tell(_: str, done: int, total: int) -> None:
            if at.progress is not None:
                at.progress(f"{self.name}: {run_name}", done, total)

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
            at.folder / run_name,
            command=at.command,
            load=functools.partial(load, model.name, device=at.device, dtype=DTYPE),
            executor=Executor(workers=suitable_workers(model.device, len(data.items) // _FEWEST)),
            progress=tell,
            note=at.note,
        )
        asked = {item.id: item.about["asked"] for item in data.items}
        kept = rows[rows["method"] != CODEC]
        return kept.assign(model=model.name, asked=kept["item"].map(asked)).reset_index(drop=True)


def some_latent(model: Backbone, data: Dataset) -> JointLatent:
    """The first picture, encoded: on its grid of levels depends what an edit costs."""
    return prepare(model, data.items[:1]).latent


def paid(editor: str, settings: Mapping[str, Any], latent: JointLatent) -> Editor:
    """An editor with as many steps as `BUDGET` evaluations pay for; see `search_spaces.at_budget`."""
    return at_budget(SearchSpace(name=editor, editor=editor, candidates=(), budget=BUDGET), settings, latent)


def as_eim(editor: Editor) -> EIM:
    """An editor by its settings, for experiments that vary those of Encode, Identify, Manipulate.

    Raises:
        ConfigError: settings of another editor.
    """
    return EIM.from_dict(to_plain(editor))


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

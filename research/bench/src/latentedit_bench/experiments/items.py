"""Items with known answers as the source of an experiment: edited latents in batches, or whole editors."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from latentedit import Backbone, load
from latentedit.batch import Executor, suitable_workers
from latentedit.core import to_plain
from latentedit.editors import EIM, Editor, make_editor
from latentedit.numerics import half_or_float32
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Dataset
from latentedit_bench.data.prepared import Prepared, prepare, to_tensor
from latentedit_bench.experiments.experiment import SEED, Context, Experiment, Row, Source, Unit
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import ANSWERS, Method
from latentedit_bench.ranking.plan import BATCH, Plan
from latentedit_bench.ranking.run import run_ranking
from latentedit_bench.ranking.search_spaces import BUDGET, SearchSpace, at_budget

PARTIAL, FULL, COMPLETED = "partial", "full", "completed"
CAPTIONS = (PARTIAL, FULL)  # kinds of captions, see `data.counterfactual`
SCORES = ("disentanglement", "effect", "leakage", "error")
Placed = Iterator[tuple[int, Row]]  # the place of an item in its batch, and a row
Latents = Iterator[tuple[dict[str, Any], Tensor]]  # columns that identify a latent, and the latent
Tables = Iterator[Table]
_SIZE = 16  # items that are encoded together
_FEWEST = 4  # items for which it is worth loading the model once more


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Items(Source):
    """Counterfactual items. The function takes a batch, and yields columns that identify a latent, and the latent."""

    keys: ClassVar[tuple[str, ...]] = ("group", "item")
    image_columns: ClassVar[tuple[str, ...]] = ("group",)
    quick: ClassVar[Mapping[str, Any]] = {"items": 8, "others": 6}

    items: int = 192  # items of the test split, for the first model
    others: int = 64  # items for every other model
    captions: tuple[str, ...] = CAPTIONS  # kinds of captions, measured separately
    kinds: tuple[str, ...] = ()  # such as "single"; empty for all

    def parts(self) -> Iterator[tuple[str, str, int]]:
        """Model, captions and number of items."""
        for place, model in enumerate(self.models):
            for captions in self.captions:
                yield model, captions, self.others if place else self.items

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """Model, captions, first item and number of items of each batch."""
        del function, context
        return [
            (model, captions, first, min(_SIZE, count - first))
            for model, captions, count in self.parts()
            for first in range(0, count, _SIZE)
        ]

    @torch.no_grad()
    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """Rows of `measured` for the batch, with the model, the captions, and the item of each row."""
        model, captions, first, count = str(unit[0]), str(unit[1]), int(unit[2]), int(unit[3])
        backbone, most = loaded(model, context), max(self.items, self.others)
        name = backbone.defaults.get("captioner", "portraits")
        data = context.cached(("items", name, captions), lambda: select_items(self, captions, first=most, domain=name))
        items = data.items[first : first + count]
        for index, row in self.measured(function, prepare(backbone, items)) if items else ():
            named = {"model": Path(model).name, "captions": captions, "item": items[index].id}
            yield {**named, "group": items[index].group, **row}

    def measured(self, function: Callable[..., Any], batch: Prepared) -> Placed:
        """`SCORES` of each latent's image, put back as an edit is, by the place of its item in the batch."""
        assert batch.truth is not None
        for about, z in function(batch, seed=self.seed):
            scores = all_scores(to_tensor(batch.restored(batch.changed(z))), batch.source, batch.truth)
            for index in range(len(batch.items)):
                yield index, {**about, **{name: float(scores[name][index]) for name in SCORES}}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batches(Items):
    """The function takes a batch, and yields places of items in it, each with a row."""

    def measured(self, function: Callable[..., Any], batch: Prepared) -> Placed:
        """The function's own rows."""
        yield from function(batch, seed=self.seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edits(Items):
    """Counterfactual items that whole editors edit. The function takes a `Lab`, and yields tables of rows."""

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """Model, captions and number of items."""
        del function, context
        return list(self.parts())

    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """The rows of every method."""
        name, captions, count = str(unit[0]), str(unit[1]), int(unit[2])
        lab = Lab(source=self, model=loaded(name, context), name=name, captions=captions, count=count, context=context)
        for table in function(lab):
            yield from table.assign(model=Path(name).name, captions=captions).to_dict("records")

    def rows(self, one: Experiment, context: Context) -> Table:
        """Rows of all parts; each run of editors is finished in its own folder, so they are not stored again."""
        return pd.DataFrame([row for unit in self.units(one.function, context) for row in one.measure(unit, context)])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lab:
    """One model and one kind of captions, where editors are run."""

    source: Edits  # the plan
    model: Backbone
    name: str  # name by which the model was loaded
    captions: str  # kind of captions
    count: int  # number of items
    context: Context  # where the experiment works; its progress is called in units of the run

    @property
    def data(self) -> Dataset:
        """The items of the test split."""
        key, domain = ("data", self.name, self.captions), self.model.defaults.get("captioner", "portraits")
        return self.context.cached(
            key, lambda: select_items(self.source, self.captions, first=self.count, domain=domain)
        )

    def paid(self, editor: str, settings: Mapping[str, Any]) -> Editor:
        """An editor with as many steps as `BUDGET` evaluations pay for; see `search_spaces.at_budget`."""
        space = SearchSpace(name=editor, editor=editor, candidates=(), budget=BUDGET)
        first = ("first", self.name, self.captions)  # image: on its grid of levels depends what an edit costs
        batch = self.context.cached(first, lambda: prepare(self.model, self.data.items[:1]))
        return at_budget(space, settings, batch.latent)

    def edit(
        self,
        methods: Sequence[Method],  # methods to edit with
        strengths: Sequence[float] = (1.0,),  # at which, 1 among them
        *,
        data: Dataset | None = None,  # items to edit, the test items by default
        folder: str = "test",  # name of the run's folder
    ) -> Table:
        """Rows of `evaluate.evaluate`, with "requested"; those of the right answers are left out."""
        data = self.data if data is None else data
        where = f"{Path(self.name).name}-{self.captions}-{folder}"

        def report(_: str, done: int, total: int) -> None:
            if self.context.progress is not None:
                self.context.progress(where, done, total)

        plan = Plan(
            model=self.model,
            dataset=data,
            methods=tuple(methods),
            strengths=tuple(strengths),
            seeds=(self.source.seed,),
            batch=min(BATCH, max(1, len(data.items) // 2)),
        )
        executor = Executor(workers=suitable_workers(self.model.device, len(data.items) // _FEWEST))
        on = self.context.device
        rows = run_ranking(
            plan,
            self.context.folder / where,
            command=self.context.command,
            load=functools.partial(load, self.name, device=on, dtype=half_or_float32(on)),
            executor=executor,
            progress=report,
        )
        requested = {item.id: item.about["requested"] for item in data.items}
        kept = rows[~rows["method"].isin(ANSWERS)]
        return kept.assign(requested=kept["item"].map(requested)).reset_index(drop=True)


def select_items(on: Items, captions: str, *, first: int, split: str = "test", domain: str = "portraits") -> Dataset:
    """The first items of a split that request a change, of `on.kinds` if any; another seed draws other items."""
    draw = {} if on.seed == SEED else {"draw": on.seed}
    data = counterfactual(domain, split, captions=captions, **draw)
    items = [item for item in data.items if item.about["requested"] and (not on.kinds or item.kind in on.kinds)]
    return dataclasses.replace(data, name=f"{data.name}/{'+'.join(on.kinds) or 'changes'}", items=tuple(items[:first]))


def recommended(model: Backbone) -> EIM:
    """Encode, Identify, Manipulate with the settings that the model's folder recommends."""
    return EIM.from_dict(to_plain(make_editor(EIM.name, model)))


def loaded(name: str, context: Context, dtype: torch.dtype | None = None) -> Backbone:
    """A model, its network in `half_or_float32` unless a dtype is given; an experiment uses one dtype."""
    wanted = dtype or half_or_float32(context.device)
    return context.cached(("model", name), lambda: load(name, device=context.device, dtype=wanted))

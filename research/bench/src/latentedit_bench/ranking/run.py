"""A benchmark run in a folder. A unit is one batch of items, one editor and one seed.

Methods that have equal editors and differ in locality or gain share a unit, so they edit once.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from latentedit import Backbone
from latentedit.batch import (
    Executor,
    Failure,
    Row,
    RunFolder,
    UnitFunction,
    UnitResult,
    bisect_failures,
    check_same_model,
    file_name,
    run_work,
)
from latentedit.core import ConfigError, Progress
from latentedit.numerics import peak_bytes
from latentedit_bench.data.items import Item
from latentedit_bench.data.prepared import Prepared, prepare, same_size
from latentedit_bench.metrics.statistics import Table, with_numbers
from latentedit_bench.ranking.evaluate import CODEC, Method, RankedEdits, answer_rows, evaluate
from latentedit_bench.ranking.plan import KIND, Plan

SOURCE, TRUTH = "source", "truth"  # sub-folders of the previews, next to those of the methods
BETWEEN = " / "  # separates the names of methods that share their edits
_PREVIEW_PX = 192
Task = tuple[tuple[Item, ...], tuple[Method, ...], int]  # a unit's items, methods and seed; no methods: the answers


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BenchWork:
    """Units of a plan, batch by batch; their names sort by method, so the table does not depend on the batch size."""

    spec: Mapping[str, Any]  # see `Plan.spec`
    load: Callable[[], Backbone]  # loads the model; must be picklable if other processes work
    methods: tuple[tuple[Method, ...], ...]  # the plan's methods, grouped by equal editors
    strengths: tuple[float, ...]  # the plan's strengths
    seeds: tuple[int, ...]  # the plan's seeds
    batches: tuple[tuple[Item, ...], ...]  # batches of the plan's items
    images: bool = False  # also store every edited image, under ``images/METHOD/STRENGTH/ITEM.png``

    @staticmethod
    def of(plan: Plan, *, load: Callable[[], Backbone] | None = None, images: bool = False) -> "BenchWork":
        """The units of a plan; without ``load`` the plan's model works in this process. Opens every image."""
        return BenchWork(
            spec=plan.spec,
            load=load or (lambda: plan.model),
            methods=alike(plan.methods),
            strengths=plan.strengths,
            seeds=plan.seeds,
            batches=tuple(same_size(plan.dataset.items, plan.batch)),
            images=images,
        )

    @property
    def units(self) -> Sequence[str]:
        """In the order of work: all units of a batch, then those of the next."""
        names = [CODEC, *(some[0].name for some in self.methods for _ in self.seeds)]
        return [
            f"{place:03d}-{batch:06d}-{file_name(name)}"
            for batch in range(len(self.batches))
            for place, name in enumerate(names)
        ]

    def task(self, unit: str) -> Task:
        """The unit's items with their files, its methods, and its seed."""
        place, batch = map(int, unit.split("-", 2)[:2])
        items = tuple(item.with_bytes() for item in self.batches[batch])
        if place == 0:
            return items, (), 0
        which, seed = divmod(place - 1, len(self.seeds))
        return items, self.methods[which], self.seeds[seed]

    def start(self) -> UnitFunction:
        """Load the model and check that it is the plan's."""
        model = self.load()
        check_same_model(self.spec, model.fingerprint)
        return _Bench(self, model)


class _Bench:
    """Measures tasks, and keeps the last batch prepared for the next method."""

    def __init__(self, work: BenchWork, model: Backbone) -> None:
        self._work, self._model = work, model
        self._ready: Prepared | None = None

    def __call__(self, task: Task) -> UnitResult:
        items, methods, seed = task
        name = BETWEEN.join(method.name for method in methods) or CODEC

        def failed(item: Item, error: Exception) -> UnitResult:
            failure = Failure.of(item.id, name, error)
            return UnitResult(rows=(), failures=[failure], about={"edit_seconds": 0.0})

        with self._model.count() as cost:
            parts = bisect_failures(items, lambda some: self._one(self._prepared(tuple(some)), methods, seed), failed)
        return UnitResult(
            rows=[row for part in parts for row in part.rows],
            files={name: content for part in parts for name, content in part.files.items()},
            failures=[failure for part in parts for failure in part.failures],
            about={
                "method": name,
                "items": len(items),
                "evaluations": cost.evaluations,
                "edit_seconds": sum(part.about["edit_seconds"] for part in parts),
                "peak_bytes": peak_bytes(self._model.device),
            },
        )

    def _prepared(self, items: tuple[Item, ...]) -> Prepared:
        if self._ready is None or self._ready.items != items:
            self._ready = None  # two batches at once would take twice the memory
            self._ready = prepare(self._model, items)
        return self._ready

    def _one(self, batch: Prepared, methods: tuple[Method, ...], seed: int) -> UnitResult:
        work, names = self._work, [item.id for item in batch.items]
        if not methods:
            truths = [item.truth() for item in batch.items if item.truth is not None]
            files = _previews(SOURCE, names, [item.image() for item in batch.items])
            files |= _previews(TRUTH, names, truths) if len(truths) == len(names) else {}
            return _done(answer_rows(batch), files, 0.0)
        edits = RankedEdits.of(methods[0], batch, work.strengths, seed=seed)
        rows, files = list[Row](), dict[str, bytes]()
        for method in methods:
            found, images = evaluate(method, batch, work.strengths, seed=seed, edits=edits)
            rows += found
            if seed == work.seeds[0]:
                files |= self._files(method, names, images)
        return _done(rows, files, edits.seconds * len(names) * len(edits.latents))

    def _files(
        self, method: Method, names: Sequence[str], images: Mapping[float, Sequence[Image.Image]]
    ) -> dict[str, bytes]:
        """Small images at strength 1 and, if requested, all images."""
        files = _previews(method.name, names, images[1.0]) if 1.0 in images else {}
        for strength, some in images.items() if self._work.images else ():
            folder = f"images/{file_name(method.name)}/{strength:g}"
            files |= {f"{folder}/{file_name(n)}.png": encoded(i, "PNG") for n, i in zip(names, some, strict=True)}
        return files


def alike(methods: Sequence[Method]) -> tuple[tuple[Method, ...], ...]:
    """Methods grouped by equal editors, in the order of the first of each group."""
    found: dict[str, list[Method]] = {}
    for method in methods:
        found.setdefault(json.dumps([method.editor.name, method.editor.to_dict()], sort_keys=True), []).append(method)
    return tuple(tuple(some) for some in found.values())


def _done(rows: Sequence[Row], files: Mapping[str, bytes], seconds: float) -> UnitResult:
    """Seconds are stored apart from the rows because they differ from run to run."""
    kept = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return UnitResult(rows=kept, files=files, about={"edit_seconds": seconds})


def preview_name(kind: str, item: str) -> str:
    """Place of a small image in the folder of a run: of a method, `SOURCE` or `TRUTH`."""
    return f"previews/{file_name(kind)}/{file_name(item)}.webp"


def _previews(kind: str, names: Sequence[str], images: Sequence[Image.Image]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, image in zip(names, images, strict=True):
        small = image.convert("RGB")
        small.thumbnail((_PREVIEW_PX, _PREVIEW_PX))
        found[preview_name(kind, name)] = encoded(small, "WEBP")
    return found


def encoded(image: Image.Image, kind: str) -> bytes:
    """A file's content, in one of Pillow's formats."""
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def run_ranking(
    plan: Plan,  # plan to run
    folder: Path,  # folder of the run, see `batch.folder`; a stopped run continues
    *,
    command: str,  # command line that is stored with it
    images: bool = False,  # also write every edited image, under ``images/METHOD/STRENGTH/ITEM.png``
    retry: bool = False,  # repeat finished units with failures
    load: Callable[[], Backbone] | None = None,  # loads the plan's model in another process; can be pickled
    executor: Executor | None = None,  # this process by default
    progress: Progress | None = None,  # called with the number of finished units
) -> Table:
    """UnitFunction what was not measured before."""
    executor = Executor() if executor is None else executor
    work = BenchWork.of(plan, load=None if executor.here else load, images=images)
    request, units = {"images": images}, sorted(work.units)
    opened = RunFolder.start(folder, work.spec, kind=KIND, units=units, command=command, request=request)
    if images and not opened.manifest.request.get("images", True):
        raise ConfigError(f"the run in {folder} was started without images. Choose another folder with -o")
    for unit in [unit for unit, record in opened.records().items() if record.failures] if retry else ():
        opened.forget(unit)
    run_work(opened, work, executor=executor, progress=progress)
    opened.write_table()
    return table_of(opened)


def table_of(run: RunFolder) -> Table:
    """Every row of the finished units; a column without any value has a numeric type."""
    return with_numbers(pd.DataFrame(run.rows()))

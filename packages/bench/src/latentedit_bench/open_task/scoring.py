"""The scores of a stranger's pictures: each against the right answer, as it is and after `latentedit.keep`.

A file that is missing, cannot be read or has another size counts as no edit: its error is 1, its effect 0. Where the
right answer is the picture, no edit would be the best one, so there it counts as the worst: an error of 1. After keep a
file of another size is brought back to the picture's, and counts as what it is.

Where the picture is the answer, the error of an edit is its squared change in units of the mean squared change that the
other items ask for, at most 1 (derived here).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit_bench.data.counterfactual import Rendered, side_effects
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import Domain, domain
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.locality import outside_change
from latentedit_bench.metrics.pictures import mean_square
from latentedit_bench.metrics.side_effects import side_effect
from latentedit_bench.metrics.statistics import Estimate, Table, over_groups
from latentedit_bench.metrics.strength_curve import monotonicity
from latentedit_bench.open_task.outputs import Fault, moved, read_output
from latentedit_bench.open_task.task import TaskItem, TaskSpec
from latentedit_keep.pictures import read_image

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult

AS_IS, KEPT = "as it is", "after keep"
"""How the pictures are scored."""

MEASURES = {
    "error": "error",
    "effect": "effect",
    "leakage": "leakage",
    "outside_change": "change outside",
    "side_effect": "side effects",
    "untouched": "rest untouched",
    "done": "asked for, done",
    "others_changed": "others changed",
    "still_error": "error where nothing is asked",
    "error_between": "error between strengths",
    "strength_error": "error of the strength",
    "monotonicity": "monotonicity",
}
"""What is told of an entry, and what its columns are called."""

Row = dict[str, Any]

Told = Mapping[str, Mapping[str, Estimate]]
"""By how it was scored ("as it is", "after keep") or what was asked afterwards (`task.Then.name`): means by name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a folder of edits comes to.

    Args:
        name: of the tool.
        task: which was scored.
        failed: files that were missing, not readable or of another size.
        measures: those of `MEASURES` that are known.
        kinds: the error of each kind of change.
    """

    name: str
    task: TaskSpec
    failed: int
    measures: Told
    kinds: Told

    @staticmethod
    def of(name: str, task: TaskSpec, rows: Table, items: Table) -> "Entry":
        """From the rows of `score_items` and the items of `item_measures`."""
        failed = int(rows.loc[rows["scored"] != KEPT, "failed"].sum())
        return Entry(name=name, task=task, failed=failed, measures=estimates(items), kinds=errors_by(items, "kind"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ItemScore:
    """One item.

    Args:
        rows: one a file and way of scoring.
        faults: of its files.
    """

    rows: Sequence[Row]
    faults: Sequence[Fault]


def score_items(
    items: Sequence[TaskItem], folder: Path, *, keep: bool, workers: int = 1, progress: Progress | None = None
) -> tuple[Table, list[Fault]]:
    """Score every file that the items ask for.

    Args:
        items: of the task, from `task_items`.
        folder: of the task, with its outputs.
        keep: also bring each edit at strength 1 back by `latentedit.keep`, which finds out what was moved.
        workers: processes.
        progress: called after each item.

    Returns:
        The rows ("scored", "item", "group", "kind", "asked", "strength", "file", "failed", and the measures), and the
        faults of all files, in the order of the items.

    Raises:
        ConfigError: a picture of the folder is not the one that this machine draws for the item.
        MissingDependencyError: keep is asked for, and OpenCV is not installed.

    Cost:
        Two renders and some measuring a file; with ``keep`` some seconds more an item.
    """
    rows: list[Row] = []
    faults: list[Fault] = []
    for done, found in enumerate(_mapped(functools.partial(score_item, folder=folder, keep=keep), items, workers), 1):
        rows += found.rows
        faults += found.faults
        if progress is not None:
            progress("items", done, len(items))
    table = pd.DataFrame(rows)
    return table.assign(still_error=still_errors(table)), faults


def _mapped(function: Callable[[TaskItem], ItemScore], items: Sequence[TaskItem], workers: int) -> Iterator[ItemScore]:
    if workers == 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(function, items)


def score_item(item: TaskItem, folder: Path, *, keep: bool) -> ItemScore:
    """Score the files of one item; see `score_items`."""
    source = _known_picture(item, folder)
    whole, seen = item.answers[1.0](), functools.partial(_seen, item, side_effects(item.whole))
    rows: list[Row] = []
    faults: list[Fault] = []
    for strength, answer in item.answers.items():
        file = item.output_file(strength)
        found = read_output(folder, file, source.size)
        right = whole if strength == 1 else answer()
        faults += [] if found.fault is None else [found.fault]
        edited = None if found.fault is not None else found.image
        rows.append(_row(item, AS_IS, strength, file, _measured(edited, source, right, whole) | seen(edited)))
        if keep and strength == 1:
            result = None if found.image is None else _kept(source, found.image)
            fault = None if result is None else moved(file, result)
            faults += [] if fault is None else [fault]
            edited = None if result is None else result.image.convert("RGB")
            rows.append(_row(item, KEPT, strength, file, _measured(edited, source, right, whole) | seen(edited)))
    for then, file in zip(item.then, item.then_files, strict=True):
        found = read_output(folder, file, source.size)
        faults += [] if found.fault is None else [found.fault]
        edited = None if found.fault is not None else found.image
        before, right = then.before(), then.answer()
        measured = _measured(edited, before, right, right) | _read(then.before, then.answer, edited)
        rows.append(_row(item, then.name, 1.0, file, measured))
    return ItemScore(rows=rows, faults=faults)


def _kept(source: Image.Image, edited: Image.Image) -> "KeepResult":
    from latentedit_keep.api import keep  # noqa: PLC0415  # it needs OpenCV, which is optional

    return keep(source, edited)


def _known_picture(item: TaskItem, folder: Path) -> Image.Image:
    drawn = item.whole.picture()
    path = folder / item.picture_file
    if not np.array_equal(np.asarray(read_image(path).convert("RGB")), np.asarray(drawn)):
        raise ConfigError(
            f"{path} is not what this machine draws for {item.id}, so neither would the answer be. Install the "
            "versions that the task was made with, or write the folder anew"
        )
    return drawn


def _row(item: TaskItem, scored: str, strength: float, file: str, measured: Mapping[str, float]) -> Row:
    about = {"item": item.id, "group": item.id, "kind": item.whole.kind, "asked": item.whole.about.get("asked", "")}
    return {"scored": scored, **about, "strength": strength, "file": file, **measured}


def _measured(
    edited: Image.Image | None, source: Image.Image, answer: Image.Image, whole: Image.Image
) -> dict[str, float]:
    """The numbers of one picture; None in its place is no edit, and told as failed."""
    made, before, right, end = (to_tensor([one]) for one in (edited or source, source, answer, whole))
    mask = (before != right).any(1, keepdim=True)
    rest, own = ~mask, (made == before).all(1, keepdim=True)
    towards = all_scores(made, before, end)
    found = {
        "error": counterfactual_error(made, before, right),
        "effect": towards["effect"],
        "leakage": towards["leakage"],
        "true_effect": all_scores(right, before, end)["effect"],
        "outside_change": outside_change(made, before, right, mask),
        "untouched": (own & rest).sum() / rest.sum(),  # nan where all of the picture is to change
        "change": mean_square(made, before),
        "wanted": mean_square(right, before),
    }
    return {name: float(value) for name, value in found.items()} | {"failed": float(edited is None)}


def _seen(item: TaskItem, where: NDArray[np.bool_] | None, edited: Image.Image | None) -> dict[str, float]:
    """`_read` of an edit at strength 1 or below, and how much of the side effects of the whole change is there."""
    before, after = item.whole.picture, item.whole.truth
    assert isinstance(before, Rendered)
    assert isinstance(after, Rendered)
    found = _read(before, after, edited)
    if where is not None:
        source, answer, made = (to_tensor([one]) for one in (before(), after(), edited or before()))
        found["side_effect"] = float(side_effect(made, source, answer, torch.from_numpy(where)[None, None]))
    return found


def _read(before: Rendered, after: Rendered, edited: Image.Image | None) -> dict[str, float]:
    """What the domain's classifier of attributes sees, whatever style it is drawn in; nan where the domain has none.

    Returns:
        "done", the share of the asked attributes that are as asked (nan where none is asked), and "others_changed", the
        number of others that are not as they were.
    """
    world = domain(before.world)
    was, wanted = (world.attributes(one.scene) for one in (before, after))
    asked = [name for name in wanted if wanted[name] != was[name]]
    picture = before() if edited is None else edited
    try:
        seen = world.attributes(world.read(to_tensor([picture.resize(_size(world), Image.Resampling.BOX)]))[0])
    except NotImplementedError:
        return {"done": math.nan, "others_changed": math.nan}
    shown = was if edited is None else seen
    done = sum(shown[name] == wanted[name] for name in asked) / len(asked) if asked else math.nan
    others = sum(shown[name] != was[name] for name in wanted if name not in asked)
    return {"done": done, "others_changed": float(others)}


@functools.cache
def _size(world: Domain) -> tuple[int, int]:
    """Width and height of the pictures that a domain's classifier reads."""
    height, width = world.render(world.draw("test", 1, 0)[0]).shape[:2]
    return width, height


def still_errors(rows: Table) -> Table:
    """The error of each row whose answer is the picture (see the module); nan for the others.

    Args:
        rows: of one task. Where no other item asks for a change, any change is an error of 1.
    """
    still = rows["wanted"] == 0
    asked: Table = rows[~still & (rows["strength"] == 1) & (rows["scored"] == AS_IS)]
    usual = float(asked.drop_duplicates("item")["wanted"].mean()) if len(asked) else 0.0
    moved_by = (rows["change"] / usual if usual else (rows["change"] > 0).astype(float)).clip(upper=1)
    return moved_by.where(rows["failed"] == 0, 1.0).where(still)


def item_measures(rows: Table) -> Table:
    """One row an item and way of scoring: "scored", "item", "group", "kind", "asked", "failed", those of `MEASURES`.

    Errors count at most 1. "error_between" is the mean over strengths below 1 of the error to their own answers,
    "strength_error" the mean over all strengths of how far the effect is from that of the right answer.
    """
    keys = ["scored", "item", "group", "kind", "asked"]
    capped = rows.assign(error=rows["error"].clip(upper=1))
    one = capped[capped["strength"] == 1].drop(columns=["strength", "file", "true_effect", "change", "wanted"])
    graded = capped[(capped["scored"] == AS_IS) & capped.groupby(["scored", "item"])["item"].transform("size").gt(1)]
    curves = [_curve(str(name), part) for name, part in graded.groupby("item", sort=False)]
    names = ["item", "error_between", "strength_error", "monotonicity"]
    found = one.merge(pd.DataFrame(curves, columns=names).assign(scored=AS_IS), on=["scored", "item"], how="left")
    return found.reindex(columns=[*keys, "failed", *MEASURES])


def _curve(item: str, part: Table) -> Row:
    part = part.sort_values("strength")
    effects = torch.tensor(part["effect"].to_numpy(float))[None]
    order = monotonicity(effects, torch.tensor(part["strength"].to_numpy(float)))
    return {
        "item": item,
        "error_between": float(part.loc[part["strength"] < 1, "error"].mean()),
        "strength_error": float((part["effect"] - part["true_effect"]).abs().mean()),
        # The same effect at all strengths has no order, neither right nor wrong.
        "monotonicity": 0.0 if math.isnan(float(order)) else float(order),
    }


def estimates(items: Table) -> Told:
    """Mean and interval of each of `MEASURES` that some item has, by how it was scored.

    Args:
        items: of `item_measures`.
    """
    return {
        str(scored): {name: over_groups(part.set_index("group")[name]) for name in MEASURES if part[name].notna().any()}
        for scored, part in items.groupby("scored", sort=False)
    }


def errors_by(items: Table, column: str) -> Told:
    """The error, or where the picture is the answer that, for each value of a column, by how it was scored."""
    told = items.assign(any_error=items["error"].fillna(items["still_error"]))
    return {
        str(scored): {
            str(value): over_groups(some.set_index("group")["any_error"]) for value, some in part.groupby(column)
        }
        for scored, part in told.groupby("scored", sort=False)
    }

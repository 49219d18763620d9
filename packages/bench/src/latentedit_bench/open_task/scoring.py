"""The scores of submitted images: each against the right answer, as it is and after `latentedit.keep`.

A file that is missing, cannot be read or has another size counts as no edit: its error is 1, its effect 0. Where the
right answer is the source, no edit would be the best one, so there it counts as the worst: an error of 1. After keep a
file of another size is brought back to the source's, and counts as what it is.

Where the source is the answer, the error of an edit is its squared change in units of the mean squared change that the
other items request, at most 1 (derived here).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError, ImageError
from latentedit.core.progress import Progress
from latentedit_bench.data.counterfactual import Rendered, side_effects
from latentedit_bench.data.items import RgbFile
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import Domain, load_domain
from latentedit_bench.metrics.built_in import BUILT_IN
from latentedit_bench.metrics.decisions import rank_correlation
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.images import mean_square
from latentedit_bench.metrics.locality import outside_change, side_effect
from latentedit_bench.metrics.statistics import Estimate, Table, between, over_groups
from latentedit_bench.open_task.task import OUTPUTS, TaskItem, TaskSpec
from latentedit_bench.report.page import page, render_page
from latentedit_bench.report.tables import Cell, Grid, number
from latentedit_keep.api import keep as keep_change
from latentedit_keep.base.images import read_image
from latentedit_keep.base.workers import end_with_parent

AS_IS, KEPT = "as it is", "after keep"  # ways of scoring

_SHOWN_FAULTS = 400

_DERIVED = {  # measures besides the metrics of an edit: name to title and meaning
    "untouched": (
        "rest untouched",
        "share of the pixels that the right answer leaves alone and that are the source's, bit for bit.",
    ),
    "still_error": (
        "error where nothing is requested",
        "where the source is the answer: squared change in units of that of other items, at most 1.",
    ),
    "error_between": (
        "error between strengths",
        "of graded changes: the error at strengths below 1, each to its own right answer.",
    ),
    "strength_error": (
        "error of the strength",
        "of graded changes: how far the effect at a strength is from that of the right answer.",
    ),
    "monotonicity": (
        "monotonicity",
        "of graded changes: rank correlation of effect and strength; 1 is best, 0 where nothing changes.",
    ),
}

MEASURES = {  # numbers of an item: name to title and meaning
    **{
        one.name: (one.title or one.name, one.why)
        for one in BUILT_IN
        if one.name in ("error", "effect", "leakage", "outside_change", "side_effect", "done", "others_changed")
    },
    **_DERIVED,
}

_MOVED_PX = 0.5  # shift, or growth at the image's edge, from which a file is reported as moved
Row = dict[str, Any]
Area = NDArray[np.bool_] | None
Estimates = Mapping[str, Mapping[str, Estimate]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The scores of a folder of edits: means by way of scoring."""

    name: str  # of the tool
    task: TaskSpec
    failed: int  # files that were missing, not readable or of another size
    measures: Estimates  # those of `MEASURES` that are known
    kinds: Estimates  # the error of each kind of change

    @staticmethod
    def of(name: str, task: TaskSpec, rows: Table, items: Table) -> "Entry":
        """From the rows of `score_items` and the items of `item_measures`."""
        failed = int(rows.loc[rows["scored"] != KEPT, "failed"].sum())
        any_error = items.assign(any_error=items["error"].fillna(items["still_error"]))
        measures, kinds = dict[str, Mapping[str, Estimate]](), dict[str, Mapping[str, Estimate]]()
        for scored, part in any_error.set_index("group").groupby("scored", sort=False):
            measures[str(scored)] = {one: over_groups(part[one]) for one in MEASURES if part[one].notna().any()}
            kinds[str(scored)] = {str(kind): over_groups(some["any_error"]) for kind, some in part.groupby("kind")}
        return Entry(name=name, task=task, failed=failed, measures=measures, kinds=kinds)


def score_items(
    items: Sequence[TaskItem], folder: Path, *, keep: bool, workers: int = 1, progress: Progress | None = None
) -> Table:
    """Score every requested file, one row per file; costs two renders per file without keep."""
    rows: list[Row] = []
    one = functools.partial(score_item, folder=folder, keep=keep)
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        for done, found in enumerate((map if workers == 1 else pool.map)(one, items), 1):
            rows += found
            if progress is not None:
                progress("items", done, len(items))
    table = pd.DataFrame(rows)
    return table.assign(still_error=_still_errors(table))


def score_item(item: TaskItem, folder: Path, *, keep: bool) -> list[Row]:
    """Rows of one item: "scored", "item", "group", "kind", "requested", "strength", "file", "fault", the measures."""
    before, after, source = item.whole.image, item.whole.truth, _known_image(item, folder)
    assert isinstance(before, Rendered)
    assert isinstance(after, Rendered)
    whole, where = item.answers[1.0](), side_effects(item.whole)
    about = {"item": item.id, "group": item.id, "kind": item.whole.kind}
    about |= {"requested": item.whole.about.get("requested", "")}
    rows: list[Row] = []
    for strength, answer in item.answers.items():
        file, right = item.output_file(strength), whole if strength == 1 else answer()
        image, fault = _opened(folder / file, source.size)
        made = {AS_IS: (None if fault else image, fault)}
        if keep and strength == 1:
            made[KEPT] = _kept(source, image)
        for scored, (edited, what) in made.items():
            fields = {"scored": scored, **about, "strength": strength, "file": file, "fault": what}
            rows.append(fields | _measured(edited, source, right, whole, where) | _read(before, after, edited))
    return rows


def faults(rows: Table, items: Sequence[TaskItem], folder: Path) -> list[Row]:
    """The faults of files: "file", "what", and whether it "counts" as no edit; files of no item last."""
    wrong = rows[rows["fault"] != ""]
    reported = [{"file": one.file, "what": one.fault, "counts": bool(one.failed)} for one in wrong.itertuples()]
    known = {file for item in items for file in item.files}
    found = sorted(f"{OUTPUTS}/{path.name}" for path in (folder / OUTPUTS).glob("*"))
    what = "belongs to no item and was ignored"
    return reported + [{"file": file, "what": what, "counts": False} for file in found if file not in known]


def _known_image(item: TaskItem, folder: Path) -> Image.Image:
    drawn, path = item.whole.image(), folder / item.image_file
    if not np.array_equal(np.asarray(read_image(path).convert("RGB")), np.asarray(drawn)):
        raise ConfigError(
            f"{path} differs from the render of {item.id} on this machine, so the answer would differ too. Install "
            "the versions that wrote the task, or write the folder again"
        )
    return drawn


def _opened(path: Path, size: tuple[int, int]) -> tuple[Image.Image | None, str]:
    """The image in a file, on white, and why it cannot be scored as it is; empty if it can."""
    if not path.is_file():
        return None, "is missing"
    try:
        image = RgbFile(path)()
    except ImageError as error:
        return None, f"cannot be read: {error}"
    return image, "" if image.size == size else "is of {} x {} pixels, not {} x {}".format(*image.size, *size)


def _kept(source: Image.Image, edited: Image.Image | None) -> tuple[Image.Image | None, str]:
    """The result of `latentedit.keep`, and whether the edit was moved, zoomed or turned, or is another image."""
    if edited is None:
        return None, ""
    found = keep_change(source, edited)
    frame, half = found.analysis.registration, max(source.size) / 2
    (right, down), turned = frame.shift_px, frame.rotation_degrees
    fault = f"is moved by {right:+.1f} px to the right and {down:+.1f} px down, zoom {frame.zoom:.3f}, "
    fault += f"turned {turned:+.1f} degrees"
    most = max(abs(right), abs(down), abs(frame.zoom - 1) * half, abs(turned) * half / 57.3)
    if found.found == "different images":
        fault = "shows another image"
    elif most <= max(_MOVED_PX, 2 * frame.uncertainty_px):
        fault = ""
    return found.image.convert("RGB"), fault


def _measured(
    edited: Image.Image | None, source: Image.Image, answer: Image.Image, whole: Image.Image, where: Area
) -> dict[str, float]:
    """The measures of one image (None is no edit), with side effects of the full change in the mask ``where``."""
    made, before, right, end = (to_tensor([one]) for one in (edited or source, source, answer, whole))
    mask = (before != right).any(1, keepdim=True)
    rest, own = ~mask, (made == before).all(1, keepdim=True)
    towards = all_scores(made, before, end)
    found = {
        "error": all_scores(made, before, right)["error"],
        "effect": towards["effect"],
        "leakage": towards["leakage"],
        "true_effect": all_scores(right, before, end)["effect"],
        "outside_change": outside_change(made, before, right, mask),
        "untouched": (own & rest).sum() / rest.sum(),  # nan where all of the image is to change
        "change": mean_square(made, before),
        "wanted": mean_square(right, before),
    }
    if where is not None:
        found["side_effect"] = side_effect(made, before, end, torch.from_numpy(where)[None, None])
    return {name: float(value) for name, value in found.items()} | {"failed": float(edited is None)}


def _read(before: Rendered, after: Rendered, edited: Image.Image | None) -> dict[str, float]:
    """The measures of the domain's classifier of attributes; nan if it has none."""
    domain = load_domain(before.domain)
    was, wanted = (domain.attributes(one.scene) for one in (before, after))
    requested = [name for name in wanted if wanted[name] != was[name]]
    image = (before() if edited is None else edited).resize(_classifier_size(domain), Image.Resampling.BOX)
    try:
        seen = domain.attributes(domain.read(to_tensor([image]))[0])
    except NotImplementedError:
        return {"done": math.nan, "others_changed": math.nan}
    shown = was if edited is None else seen
    done = sum(shown[name] == wanted[name] for name in requested) / len(requested) if requested else math.nan
    others = sum(shown[name] != was[name] for name in wanted if name not in requested)
    return {"done": done, "others_changed": float(others)}


@functools.cache
def _classifier_size(domain: Domain) -> tuple[int, int]:
    height, width = domain.render(domain.draw("test", 1, 0)[0]).shape[:2]
    return width, height


def _still_errors(rows: Table) -> Table:
    """The error of each row whose answer is the source (see the module); nan for the others.

    If no other item requests a change, any change is an error of 1.
    """
    still = rows["wanted"] == 0
    requested: Table = rows[~still & (rows["strength"] == 1) & (rows["scored"] == AS_IS)]
    usual = float(requested.drop_duplicates("item")["wanted"].mean()) if len(requested) else 0.0
    moved_by = (rows["change"] / usual if usual else (rows["change"] > 0).astype(float)).clip(upper=1)
    return moved_by.where(rows["failed"] == 0, 1.0).where(still)


def item_measures(rows: Table) -> Table:
    """A row per item and way of scoring: "scored", "item", "group", "kind", "requested", "failed", those of `MEASURES`.

    Errors count at most 1, "error_between" over strengths below 1; "strength_error" is that of the effect.
    """
    capped = rows.assign(error=rows["error"].clip(upper=1))
    one = capped[capped["strength"] == 1].drop(columns=["strength", "file", "true_effect", "change", "wanted"])
    graded = capped[(capped["scored"] == AS_IS) & capped.groupby(["scored", "item"])["item"].transform("size").gt(1)]
    curves = [_curve(str(name), part) for name, part in graded.groupby("item", sort=False)]
    names = ["item", "error_between", "strength_error", "monotonicity"]
    found = one.merge(pd.DataFrame(curves, columns=names).assign(scored=AS_IS), on=["scored", "item"], how="left")
    return found.reindex(columns=["scored", "item", "group", "kind", "requested", "failed", *MEASURES])


def _curve(item: str, part: Table) -> Row:
    part = part.sort_values("strength")
    order = rank_correlation("effect", "strength")(part)
    return {
        "item": item,
        "error_between": float(part.loc[part["strength"] < 1, "error"].mean()),
        "strength_error": float((part["effect"] - part["true_effect"]).abs().mean()),
        # The same effect at all strengths has no order, neither right nor wrong.
        "monotonicity": 0.0 if math.isnan(order) else order,
    }


def score_page(entry: Entry, wrong: Sequence[Row]) -> str:
    """The page of an entry with the faults of its files."""
    title = f"{entry.name} on {entry.task.title}"
    body = render_page(
        "score.html",
        entry=entry,
        title=title,
        measures=_grid(entry.measures, {name: title for name, (title, _) in MEASURES.items()}),
        kinds=_grid(entry.kinds, {kind: kind for kind in entry.kinds[AS_IS]}),
        faults=wrong[:_SHOWN_FAULTS],
        more=len(wrong) - _SHOWN_FAULTS,
        glossary=dict(MEASURES.values()),
    )
    return page(title, body)


def _grid(found: Mapping[str, Mapping[str, Estimate]], names: Mapping[str, str]) -> Grid:
    """One row per way of scoring."""
    rows: list[list[Cell]] = []
    for scored, known in found.items():
        cells = {name: number(one.mean, note=between(one.low, one.high)) for name, one in known.items()}
        rows.append([Cell(text=scored), *(cells.get(name, Cell(text="-")) for name in names)])
    return Grid(head=["scored", *names.values()], rows=rows)

"""The pictures of a report: each method's best, median and worst edit at strength 1, with their numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentedit.api.viewer import Frame, View
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.ranking.evaluate import CODEC, TRUE_CHANGE
from latentedit_bench.ranking.work import SOURCE, TRUTH, preview_name
from latentedit_keep.pictures import content_of, read_image

_TOLD = {"error": "error", "effect": "effect", "disentanglement": "SDE", "changed_rms": "changed by (rms, white is 1)"}
"""Columns told under each edit, and what they are called there."""

_QUALITY = 80
"""Of pictures in the page; they are stored with this quality too."""

_FEWEST_SURE = 0.5
"""Total variation from which the reader is taken to see an attribute change in the right answer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One edit.

    Args:
        place: "best", "median" or "worst" by error; empty where there is nothing to order by.
        item: its id.
        kind: of change.
        change: in the captions' words.
        asked: the attributes in which a reader sees the right answer differ.
        numbers: name to text.
        view: the edit against the picture and the right answer; None where the picture or the edit is missing.
    """

    place: str
    item: str
    kind: str
    change: str
    asked: str
    numbers: Mapping[str, str]
    view: View | None


def examples(folder: Path, rows: Table) -> Mapping[str, Sequence[Example]]:
    """Of each method, its best, median and worst item by error; the first three where there are no right answers.

    Args:
        folder: of the run, for its small pictures.
        rows: all of them, those of the first seed first.
    """
    one = rows[(rows["strength"] == 1) & (rows["method"] != CODEC)]
    one = one.drop_duplicates(["method", "item"])  # the small pictures are those of the first seed
    return {
        str(method): [_example(folder, str(method), place, row) for place, row in _chosen(part)]
        for method, part in one.groupby("method", sort=False)
    }


def _chosen(part: Table) -> list[tuple[str, Mapping[str, Any]]]:
    errors = part["error"].to_numpy(float) if "error" in part else np.full(len(part), np.nan)
    records: list[Mapping[str, Any]] = part.to_dict("records")
    known = [int(place) for place in np.argsort(errors, kind="stable") if np.isfinite(errors[place])]
    if not known:
        return [("", row) for row in records[:3]]
    if len(known) < 3:
        return [(name, records[place]) for name, place in zip(("best", "worst"), known, strict=False)]
    wanted = {"best": known[0], "median": known[(len(known) - 1) // 2], "worst": known[-1]}
    return [(name, records[place]) for name, place in wanted.items()]


def _example(folder: Path, method: str, place: str, row: Mapping[str, Any]) -> Example:
    changes = {str(name).removeprefix(TRUE_CHANGE): row[name] for name in row if str(name).startswith(TRUE_CHANGE)}
    item, numbers = str(row["item"]), {name: row[column] for column, name in _TOLD.items() if column in row}
    told = {name: f"{value:.3f}" for name, value in numbers.items() if value is not None and np.isfinite(value)}
    return Example(
        place=place,
        item=item,
        kind=str(row["kind"]),
        change=str(row["change"]),
        asked=", ".join(name for name, moved in changes.items() if moved > _FEWEST_SURE),
        numbers=told,
        view=_view(folder, method, item, f"{place}: {item}" if place else item, told),
    )


def _view(folder: Path, method: str, item: str, title: str, numbers: Mapping[str, str]) -> View | None:
    source, truth, edited = (_preview(folder / preview_name(kind, item)) for kind in (SOURCE, TRUTH, method))
    if source is None or edited is None:
        return None
    reason = "; ".join(f"{name} {value}" for name, value in numbers.items())
    return View(
        source=source,
        frames=[Frame(strength=1.0, image=edited, reason=reason)],
        title=title,
        name=f"{item}.{method}",
        others={} if truth is None else {"right answer": truth},
        quality=_QUALITY,
    )


def _preview(path: Path) -> Image.Image | None:
    content = content_of(path)
    return None if content is None else read_image(path, content=content)

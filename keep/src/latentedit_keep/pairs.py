"""Pairs of images in two folders, and work on all of them, which goes on where one fails."""

import functools
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentedit_keep.base.console import Progress
from latentedit_keep.base.errors import ConfigError, LatentEditError
from latentedit_keep.base.workers import Start, each, processes

_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".heic", ".heif",
    ".jfif", ".jpe", ".avif", ".jxl",
)  # fmt: skip


def is_image(place: Path) -> bool:
    """Whether a file name is that of an image."""
    return place.suffix.lower() in _ENDINGS


def each_pair(
    pairs: Mapping[str, Any], start: Start, *, kind: str, workers: int = 1, progress: Progress | None = None
) -> Iterator[tuple[str, Any]]:
    """The name of each pair with its result, or with the message of its error; in this process, or in several."""
    with processes(functools.partial(_started, start), max(1, min(workers, len(pairs))), _REMEDY) as found:
        for done, (name, result) in enumerate(each(((name, (name, pair)) for name, pair in pairs.items()), found), 1):
            yield name, result
            if progress is not None:
                progress(kind, done, len(pairs))


_REMEDY = "Run the same command with fewer --workers"


def _started(start: Start) -> Any:
    return functools.partial(_result, start())


def _result(measure: Any, task: Any) -> Any:
    try:
        return measure(task)
    except LatentEditError as error:
        return str(error)


def paired(originals: Path, edited: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, str]]:
    """Pairs of images with the same name in two folders, and why the other images are skipped."""
    (first, failed), (second, others) = images_by_name(originals), images_by_name(edited)
    failed = others | failed
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    if not (pairs or failed):
        raise ConfigError(f"no image in {originals} has the same name as one in {edited}. Rename them to match")
    for folder, here, there in ((edited, first, second), (originals, second, first)):
        failed |= {name: f"no image of this name in {folder}" for name in here if name not in {*there, *failed}}
    return pairs, failed


def images_by_name(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Images of a folder by name without extension, sorted, and names that several have; warns of all other files."""
    found: dict[str, list[Path]] = {}
    skipped: list[str] = []
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or place.is_dir():
            continue
        if is_image(place):
            found.setdefault(place.stem, []).append(place)
        else:
            skipped.append(place.name)
    if skipped:
        warnings.warn(f"skipped in {folder}, no image that can be read: {', '.join(skipped)}", stacklevel=2)
    remedy = "differ only in their extensions. Rename all but one"
    twins = {name: " and ".join(one.name for one in places) for name, places in found.items() if len(places) > 1}
    single = {name: places[0] for name, places in found.items() if len(places) == 1}
    return single, {name: f"{both} in {folder} {remedy}" for name, both in twins.items()}

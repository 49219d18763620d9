"""Pairs of images in two folders or in a list, and work on all of them, which goes on where one fails."""

import csv
import functools
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentedit_keep.base.console import Progress
from latentedit_keep.base.errors import ConfigError, FileFormatError, LatentEditError
from latentedit_keep.base.files import read_json, read_text
from latentedit_keep.base.workers import Start, each, processes

LISTS = (".csv", ".json")  # endings of lists of pairs
_MOST_LIST_BYTES = 64_000_000
Pair = tuple[Path, Path, Path | None]  # original, edited image, mask
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


def pairs_of(original: Path, edited: Path | None, mask: Path | None) -> tuple[dict[str, Pair], dict[str, str]]:
    """The pairs of two folders or of a list by name, and why other images have none; masks may be missing."""
    if not original.is_dir():
        if edited is not None or mask is not None:
            raise ConfigError(f"the list {original} already names edited images and masks. Leave out the other paths")
        return _listed(original), {}
    if edited is None or not edited.is_dir() or (mask is not None and not mask.is_dir()):
        given = " and ".join(str(place) for place in (edited, mask) if place is not None) or "no edited images"
        raise ConfigError(f"{original} is a folder, so the others must be folders too; got {given}")
    pairs, failed = _paired(original, edited)
    masks, twins = ({}, {}) if mask is None else images_by_name(mask)
    failed |= twins
    return {name: (*pair, masks.get(name)) for name, pair in pairs.items() if name not in twins}, failed


def _paired(originals: Path, edited: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, str]]:
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


def _listed(place: Path) -> dict[str, Pair]:
    """The pairs of a CSV or JSON file; paths are relative to it."""
    try:
        if place.suffix.lower() == ".csv":
            text = read_text(place, limit=_MOST_LIST_BYTES)
            heading = text.partition("\n")[0]
            between = max(",;\t", key=heading.count)  # spreadsheets in many languages put semicolons or tabs
            rows: Any = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=between))
        else:
            rows = read_json(place, limit=_MOST_LIST_BYTES)
        pairs: dict[str, Pair] = {}
        for row in rows:
            places: list[Any] = [row.get(key) or None for key in ("original", "edited", "mask")]
            original, edited, mask = places
            name = str(row.get("name") or Path(edited).stem)
            if name in pairs:
                raise ConfigError(f'{place}: two pairs are named {name!r}. Give each a "name" of its own')
            pairs[name] = (place.parent / original, place.parent / edited, mask and place.parent / mask)
    except LatentEditError:
        raise
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise FileFormatError(f'{place} is not a list of pairs. Give each an "original" and an "edited"') from error
    if not pairs:
        raise ConfigError(f"{place} contains no pairs. Add one row per pair")
    return pairs


def slug_of(name: str) -> str:
    """A file name for a pair; a changed name gets its checksum, so that different names stay different."""
    slug = re.sub(r"[^\w-]+", "_", name).encode()[:100].decode(errors="ignore")
    return slug if slug == name else f"{slug}-{zlib.crc32(name.encode()):08x}"

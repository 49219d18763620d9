"""Pairs of images in two folders or in a list, and work on all of them, which goes on where one fails."""

import collections
import contextlib
import csv
import functools
import gc
import io
import re
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError, expected, listed
from latentedit.core.files import look_of, read_json, read_object, read_text
from latentedit.core.workers import Start, each, processes

LISTS = (".csv", ".json")  # endings of lists of pairs
# Endings between a photograph's name and what editors add to it, in any language: "DSC_1-Edit", "DSC_1 (2)".
_ADDED = re.compile(r"(?=[-_. (])")
_MOST_LIST_BYTES = 64_000_000
_BOTH = 'an "original" and an "edited"'
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
            gc.collect(0)  # parsers of XML are cyclic garbage, which the program collects too seldom for many pairs
            if progress is not None:
                progress(kind, done, len(pairs))


_REMEDY = "Run the same command with fewer --workers"


def _started(start: Start) -> Any:
    return functools.partial(_result, start())


def _result(measure: Any, task: Any) -> Any:
    try:
        return measure(task)
    except Exception as error:
        if line := expected(error):
            return line
        raise


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
    masks, twins = ({}, {}) if mask is None else images_by_name(mask, {*pairs, *failed})
    failed |= twins
    if unused := [masks[name].name for name in masks if name not in {*pairs, *failed}]:
        warnings.warn(f"masks in {mask} of which no image has the name, not used: {listed(unused)}", stacklevel=2)
    return {name: (*pair, masks.get(name)) for name, pair in pairs.items() if name not in twins}, failed


def _paired(originals: Path, edited: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, str]]:
    """Pairs of images with the same name in two folders, and why the other images are skipped."""
    first, failed = images_by_name(originals)
    second, others = images_by_name(edited, {*first, *failed})
    failed = others | failed
    results = [name for name in first if name not in {*second, *failed} and _is_result(first[name])]
    _note_results(originals, [first.pop(name) for name in results])
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    if not (pairs or failed):
        raise ConfigError(f"no image in {originals} has the same name as one in {edited}. Rename them to match")
    alone = dict[str, str]()
    for folder, here, there in ((edited, first, second), (originals, second, first)):
        alone |= {name: f"no image of this name in {folder}" for name in here if name not in {*there, *failed}}
    if alone:
        warnings.warn("name such pairs in a list: pairs.csv, with the columns original and edited", stacklevel=3)
    return pairs, failed | alone


def _is_result(place: Path) -> bool:
    """Whether a file has the record of `keep`."""
    from latentedit.photo.saving import read_chunks  # noqa: PLC0415 (heavy)

    with contextlib.suppress(LatentEditError, ValueError):
        return read_object(read_chunks(place)[0] or "").get("output") == "kept"
    return False


def _note_results(folder: Path, results: list[Path]) -> None:
    if results:
        names = listed(one.name for one in results)
        warnings.warn(f"results of keep in {folder}, left out: {names}", stacklevel=3)


def images_by_name(folder: Path, names: Collection[str] = ()) -> tuple[dict[str, Path], dict[str, str]]:
    """Images of a folder by name without extension, sorted, and names that several have; warns of all other files.

    An image whose name looks like just one of the given ``names``, which no other image has, gets that one; so does
    an image whose name goes on after it, such as "DSC_1-Edit", "DSC_1-Enhanced-NR" or "DSC_1 (2)".
    """
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
        warnings.warn(f"skipped in {folder}, no image that can be read: {listed(skipped)}", stacklevel=2)
    meant: dict[str, list[str]] = {}
    for name in names:
        meant.setdefault(look_of(name), []).extend([name] * (name not in found))
    for name in [one for one in found if one not in names]:
        begun = [name[: added.start()] for added in _ADDED.finditer(name)]
        looks = [look_of(beginning) for beginning in [name, *reversed(begun)]]
        alike = next((meant[look] for look in looks if look in meant), [])
        if len(alike) == 1:
            found.setdefault(alike[0], []).extend(found.pop(name))
    for places in found.values():
        if len(places) > 1 and len(results := [one for one in places if _is_result(one)]) < len(places):
            places[:] = [one for one in places if one not in results]
            _note_results(folder, results)
    remedy = "mean the same image. Rename all but one, or name them in a list of pairs"
    twins = {name: " and ".join(one.name for one in places) for name, places in found.items() if len(places) > 1}
    single = {name: places[0] for name, places in found.items() if len(places) == 1}
    return single, {name: f"{both} in {folder} {remedy}" for name, both in twins.items()}


def _listed(place: Path) -> dict[str, Pair]:
    """The pairs of a CSV or JSON file; paths are relative to it."""
    try:
        if place.suffix.lower() == ".csv":
            text = re.sub(r"\A(?:[,;\s]*\n)+", "", read_text(place, limit=_MOST_LIST_BYTES))
            heading = text.partition("\n")[0]
            between = max(",;\t", key=heading.count)  # spreadsheets in many languages put semicolons or tabs
            rows: Any = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=between))
        else:
            rows = read_json(place, limit=_MOST_LIST_BYTES)
        named = list[tuple[str | None, Pair]]()
        for number, row in enumerate(rows, 1):
            stated = {key.strip().lower(): cell for key, cell in row.items() if key is not None}
            cells: dict[str, Any] = {key: cell for key, cell in stated.items() if cell and str(cell).strip()}
            if not cells:
                continue  # spreadsheets end with such rows
            if missing := [key for key in ("original", "edited") if key not in cells]:
                raise FileFormatError(f'{place}: row {number} has no "{missing[0]}". Give each {_BOTH}')
            original, edited = place.parent / cells["original"], place.parent / cells["edited"]
            mask = place.parent / cells["mask"] if "mask" in cells else None
            named.append((str(cells["name"]) if "name" in cells else None, (original, edited, mask)))
    except LatentEditError:
        raise
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise FileFormatError(f"{place} is not a list of pairs. Give each {_BOTH}") from error
    if not named:
        raise ConfigError(f"{place} contains no pairs. Add one row per pair")
    return _by_name(named, f'{place}: two pairs are named {{!r}}. Give each a "name" of its own')


def edits_of(original: Path, edited: Sequence[Path], mask: Path | None) -> dict[str, Pair]:
    """The pairs of one photograph with several edits of it, by the names of their results."""
    return _by_name([(None, (original, one, mask)) for one in edited], "two edited images are named {!r}. Rename one")


def _by_name(named: Sequence[tuple[str | None, Pair]], twice: str) -> dict[str, Pair]:
    """Pairs by the given names, or those of the originals; with that of the edit if an original has several."""
    counts = collections.Counter(pair[0].stem for _, pair in named)
    pairs: dict[str, Pair] = {}
    for given, pair in named:
        original, edit = pair[0].stem, pair[1].stem
        several = edit if edit.startswith(original) else f"{original}-{edit}"
        name = given or (original if counts[original] == 1 else several)
        if name in pairs:
            raise ConfigError(twice.format(name))
        pairs[name] = pair
    return pairs


def slug_of(name: str) -> str:
    """A file name for a pair; a changed name gets its checksum, so that different names stay different."""
    slug = re.sub(r"[^\w-]+", "_", name).encode()[:100].decode(errors="ignore")
    return slug if slug == name else f"{slug}-{zlib.crc32(name.encode()):08x}"

"""PIE-Bench as it is handed out: ``mapping_file.json`` beside ``annotation_images``; its data is not ours to ship."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from latentedit.api.manifests.faults import Faults
from latentedit.api.manifests.items import Dataset, Item, PictureFile
from latentedit.api.manifests.picture_checks import Checker, described
from latentedit.core.files.reading import read_json

MAPPING = "mapping_file.json"
"""The file that makes a folder PIE-Bench's."""

KINDS = (
    "random",
    "change object",
    "add object",
    "delete object",
    "change attribute content",
    "change attribute pose",
    "change attribute color",
    "change attribute material",
    "change background",
    "change style",
)
"""Names of the edit types 0 to 9."""

SIDE = 512
"""Of every picture and of the grid that the masks are on, in pixels."""

_PICTURES = "annotation_images"
_NEEDED = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask")
_ABOUT = ("editing_instruction", "blended_word")


@dataclasses.dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as runs of True on the grid, read row by row.

    Args:
        runs: start and length of each, flat. What reaches beyond the grid is cut off, as PIE-Bench's evaluator does.
    """

    runs: tuple[int, ...]

    def __call__(self) -> NDArray[np.bool_]:
        """The mask, ``[512, 512]``; the border is as drawn, see `metrics.pie_bench` for the legacy rule."""
        mask = np.zeros(SIDE * SIDE, dtype=np.bool_)
        for start, length in zip(self.runs[::2], self.runs[1::2], strict=True):
            mask[start : start + length] = True
        return mask.reshape(SIDE, SIDE)


def load_pie_bench(folder: str | Path) -> Dataset:
    """PIE-Bench's items, every picture decoded once. Prompts lose the square brackets around their words.

    The mask tells where the picture may change; no method may see it unless its table says so.

    Args:
        folder: with ``mapping_file.json`` and ``annotation_images``.

    Raises:
        FileFormatError: no mapping file, or no JSON.
        ConfigError: anything wrong with its content, all of it in one message.

    Source:
        Ju et al. 2024, "PnP Inversion", and its public evaluator.
    """
    path = Path(folder) / MAPPING
    mapping = read_json(path)
    faults = Faults(str(path))
    checker = Checker(faults=faults)
    items: list[Item | None] = []
    if not isinstance(mapping, dict):
        faults.add("the mapping", f"entries by their keys were expected; it is {described(mapping)}")
    elif not mapping:
        faults.add("the mapping", "it has no entries")
    else:
        entries = cast("dict[str, Any]", mapping).items()
        items = [_item(key, entry, path.parent / _PICTURES, checker) for key, entry in entries]
    faults.check()
    return Dataset(name="pie-bench", version="1", items=tuple(item for item in items if item is not None))


def _item(key: str, entry: object, folder: Path, checker: Checker) -> Item | None:
    """None where anything was found wrong."""
    where, before = f"entry {key!r}", len(checker.faults)
    if not isinstance(entry, dict):
        checker.faults.add(where, f"it is {described(entry)}, not an object")
        return None
    known = cast("dict[str, Any]", entry)
    for name in _NEEDED:
        if name not in known:
            checker.faults.add(where, f"{name} is missing")
    there = {name: known[name] for name in _NEEDED if name in known}
    captions = [
        checker.text(where, name, there[name]) for name in ("original_prompt", "editing_prompt") if name in there
    ]
    picture = (
        checker.file(PictureFile, where, "image_path", there["image_path"], folder) if "image_path" in there else None
    )
    if picture is not None and checker.size(picture.path) != (SIDE, SIDE):
        width, height = cast("tuple[int, int]", checker.size(picture.path))
        checker.faults.add(where, f"its picture is {width}x{height} pixels, not the {SIDE}x{SIDE} of its mask")
    kind = _kind(where, there["editing_type_id"], checker.faults) if "editing_type_id" in there else None
    runs = _runs(where, there["mask"], checker.faults) if "mask" in there else None
    if len(checker.faults) > before or picture is None or kind is None or runs is None:
        return None
    source, target = (cast(str, caption).replace("[", "").replace("]", "") for caption in captions)
    return Item(
        id=key,
        picture=picture,
        source_caption=source,
        target_caption=target,
        kind=kind,
        group=known["image_path"],
        mask=runs,
        about=_about(known),
    )


def _kind(where: str, value: object, faults: Faults) -> str | None:
    """The name of an edit type, which is a digit or a number."""
    if str(value) in map(str, range(len(KINDS))):
        return KINDS[int(str(value))]
    faults.add(where, f"editing_type_id is {value!r}, not one of 0 to {len(KINDS) - 1}")
    return None


def _runs(where: str, value: object, faults: Faults) -> RunLengths | None:
    """A mask's runs, if it is a list of whole pairs of numbers from 0 up."""
    runs = cast("list[Any]", value) if isinstance(value, list) else None
    if runs is None:
        faults.add(where, f"mask is {described(value)}, not a list of starts and lengths")
    elif any(type(number) is not int or number < 0 for number in runs):
        faults.add(where, "mask holds something else than whole numbers from 0 up")
    elif len(runs) % 2:
        faults.add(where, f"mask has {len(runs)} numbers; starts and lengths come in pairs")
    else:
        return RunLengths(tuple(runs))
    return None


def _about(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(entry[name]) for name in _ABOUT if entry.get(name)}

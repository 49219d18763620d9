"""PIE-Bench as it is handed out: ``mapping_file.json`` beside ``annotation_images``; its data is not ours to ship.

Source:
    Ju et al. 2024, "PnP Inversion", and its public evaluator.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pydantic
from numpy.typing import NDArray

from latentedit.api.manifests.entries import Checker, Entry, Text, described
from latentedit.api.manifests.items import Dataset, Item, PictureFile
from latentedit.core.files.reading import read_json

MAPPING = "mapping_file.json"  # the file that makes a folder PIE-Bench's

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

SIDE = 512  # of every picture and of the grid that the masks are on, in pixels
_PICTURES = "annotation_images"
_ABOUT = ("editing_instruction", "blended_word")


@dataclasses.dataclass(frozen=True, slots=True)
class RunLengths:
    """A mask as runs of True on the grid, read row by row."""

    runs: tuple[int, ...]  # start and length of each, flat; what reaches beyond the grid is cut off

    def __call__(self) -> NDArray[np.bool_]:
        """The mask, ``[512, 512]``; the border is as drawn, see `metrics.pie_bench` for the legacy rule."""
        mask = np.zeros(SIDE * SIDE, dtype=np.bool_)
        for start, length in zip(self.runs[::2], self.runs[1::2], strict=True):
            mask[start : start + length] = True
        return mask.reshape(SIDE, SIDE)


def load_pie_bench(folder: str | Path) -> Dataset:
    """PIE-Bench's items, every picture decoded once. Prompts lose the square brackets around their words.

    The mask tells where the picture may change; no method may see it unless its table says so.
    """
    path = Path(folder) / MAPPING
    mapping = read_json(path)
    checker, items = Checker(str(path)), list[Item | None]()
    if not isinstance(mapping, dict):
        checker.add("the mapping", f"entries by their keys were expected; it is {described(mapping)}")
    elif not mapping:
        checker.add("the mapping", "it has no entries")
    else:
        entries = cast("dict[str, Any]", mapping).items()
        items = [_item(key, entry, path.parent / _PICTURES, checker) for key, entry in entries]
    checker.check()
    return Dataset(name="pie-bench", version="1", items=tuple(item for item in items if item is not None))


def _kind(value: object) -> str:
    """The name of an edit type, which is a digit or a number."""
    if str(value) not in map(str, range(len(KINDS))):
        raise ValueError(f"is {value!r}, not one of 0 to {len(KINDS) - 1}")
    return KINDS[int(str(value))]


def _runs(value: object) -> tuple[int, ...]:
    """A mask's runs: whole pairs of numbers from 0 up."""
    if not isinstance(value, list):
        raise ValueError(f"is {described(value)}, not a list of starts and lengths")
    runs = cast("list[Any]", value)
    if any(type(number) is not int or number < 0 for number in runs):
        raise ValueError("holds something else than whole numbers from 0 up")
    if len(runs) % 2:
        raise ValueError(f"has {len(runs)} numbers; starts and lengths come in pairs")
    return tuple(runs)


class _Entry(Entry):
    image_path: Text
    original_prompt: Text
    editing_prompt: Text
    editing_type_id: Annotated[str, pydantic.BeforeValidator(_kind)]
    mask: Annotated[tuple[int, ...], pydantic.BeforeValidator(_runs)]


def _item(key: str, content: object, folder: Path, checker: Checker) -> Item | None:
    """None where anything was found wrong."""
    where, before, picture = f"entry {key!r}", len(checker), None
    if not isinstance(content, dict):
        checker.add(where, f"it is {described(content)}, not an object")
        return None
    fields = cast("dict[str, Any]", content)
    name = fields.get("image_path")
    if isinstance(name, str) and name.strip():
        picture = checker.picture(where, f"image_path {name}", folder / name)
    if picture is not None and checker.size(picture) != (SIDE, SIDE):
        width, height = cast("tuple[int, int]", checker.size(picture))
        checker.add(where, f"its picture is {width}x{height} pixels, not the {SIDE}x{SIDE} of its mask")
    entry = checker.entry(_Entry, where, fields)
    if len(checker) > before or picture is None or entry is None:
        return None
    source, target = (
        caption.replace("[", "").replace("]", "") for caption in (entry.original_prompt, entry.editing_prompt)
    )
    return Item(
        id=key,
        picture=PictureFile(picture),
        source_caption=source,
        target_caption=target,
        kind=entry.editing_type_id,
        group=entry.image_path,
        mask=RunLengths(entry.mask),
        about={name: str(fields[name]) for name in _ABOUT if fields.get(name)},
    )

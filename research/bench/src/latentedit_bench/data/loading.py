"""Datasets by name or in files: the rendered sets, a user's own list, FlowEdit's YAML file and PIE-Bench's folder.

Sources:
    FlowEdit: Kulikov et al. 2024, arXiv 2412.08629, data and layout of its public repository.
    PIE-Bench: Ju et al. 2024, "PnP Inversion", and its public evaluator; its data is not ours to ship.
"""

import csv
import dataclasses
import functools
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray
from PIL import Image

from latentedit.batch import EditRow, ImageFile, Text, load_manifest, read_document, validated
from latentedit.core import ConfigError, make_folder, user_path, write_text
from latentedit.photo import save_image
from latentedit_bench.data.counterfactual import DRAW, PREFIX, counterfactual
from latentedit_bench.data.items import Dataset, Item, MaskFile, RgbFile

FILE_NAME = "manifest.csv"  # name of the file that `write_manifest` writes
IMAGE_KEYS = ("init_img", "input_img", "image", "img")  # the first two are FlowEdit's own
MAPPING = "mapping_file.json"  # the file that makes a folder PIE-Bench's
_BRACKETS = str.maketrans("", "", "[]")  # around words of PIE-Bench's prompts
SIDE = 512  # side of PIE-Bench's images and of the grid that the masks are on, in pixels

KINDS = (
    "random", "change object", "add object", "delete object", "change attribute content", "change attribute pose",
    "change attribute color", "change attribute material", "change background", "change style",
)  # fmt: skip
"""Names of PIE-Bench's edit types 0 to 9."""


def load_dataset(place: str | Path, *, split: str = "test", captions: str = "full", draw: int = DRAW) -> Dataset:
    """The rendered set by its name, or the items of a folder or file, with every image decoded once."""
    if str(place).startswith(PREFIX) and not Path(place).exists():
        return counterfactual(str(place).removeprefix(PREFIX), split, captions=captions, draw=draw)
    path = user_path(place, error=ConfigError)
    if path.is_dir() and (path / MAPPING).is_file():
        return load_pie_bench(path)
    if path.is_file() and path.suffix.lower() in (".csv", ".json", ".yaml", ".yml"):
        if path.suffix.lower() in (".yaml", ".yml") and is_flowedit(read_document(path)):
            return load_flowedit(path)
        return load_items(path)
    problem = "is not a data set" if path.exists() else "does not exist"
    raise ConfigError(
        f"{place} {problem}. Give {PREFIX}portraits, a folder with {MAPPING} (PIE-Bench), a .yaml file whose entries "
        "have target_prompts (FlowEdit), or a manifest ending in .csv, .json, .yaml or .yml"
    )


def taking_turns(datasets: Sequence[Dataset]) -> Dataset:
    """A dataset that alternates between datasets with the same items and different captions."""
    items = tuple(datasets[place % len(datasets)].items[place] for place in range(len(datasets[0].items)))
    return dataclasses.replace(datasets[0], name=" by turns with ".join(data.name for data in datasets), items=items)


class ItemRow(EditRow, extra="forbid"):
    """One row of a user's list."""

    truth: ImageFile | None = None
    kind: str = "edit"
    group: str = ""

    @pydantic.model_validator(mode="after")
    def _one_size(self, info: pydantic.ValidationInfo) -> "ItemRow":
        size: Any = (info.context or {})["size"]
        for name, file in (("truth", self.truth), ("mask", self.mask)):
            if file is not None and size(file) != size(self.image):
                raise ValueError(f"the {name} and the image have different sizes")
        if self.mask is not None and self.truth is None and not MaskFile(self.mask)().any():
            raise ValueError("the mask is black, so nothing may change")
        return self


def load_items(path: Path) -> Dataset:
    """The items of a list in CSV, JSON or YAML."""
    items = [
        Item(
            image=RgbFile(row.image),
            truth=None if row.truth is None else RgbFile(row.truth),
            mask=None if row.mask is None else MaskFile(row.mask),
            **row.model_dump(exclude={"image", "truth", "mask"}),
        )
        for row in load_manifest(path, ItemRow)
    ]
    return Dataset(name=path.stem, version="unversioned", items=tuple(items))


def write_manifest(items: Sequence[Item], folder: Path) -> Path:
    """Write items as PNG files and a list that `load_items` reads, without `Item.about`.

    A file is named by its content, so items of one image share it. The list is written last, so it never names a file
    that is not there.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["image", "source_caption", "target_caption", "id", "mask", "truth", "kind", "group"])
    for item in items:
        image = _written(item.image(), folder, "images")
        truth = "" if item.truth is None else _written(item.truth(), folder, "truths")
        mask = "" if item.mask is None else _written(Image.fromarray(item.mask()).convert("L"), folder, "masks")
        group = "" if item.group == item.id else item.group
        writer.writerow([image, item.source_caption, item.target_caption, item.id, mask, truth, item.kind, group])
    make_folder(folder)
    write_text(folder / FILE_NAME, text.getvalue())
    return folder / FILE_NAME


def _written(image: Image.Image, folder: Path, kind: str) -> str:
    """Path of the image in the folder."""
    pixels = np.asarray(image)
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:16]
    path = folder / kind / f"{digest}.png"
    if not path.exists():
        make_folder(path.parent)
        save_image(image, path)
    return f"{kind}/{path.name}"


def is_flowedit(content: object) -> bool:
    """Whether a YAML file's content is a list in which an entry has target prompts."""
    rows: list[Any] = content if isinstance(content, list) else []
    return any(isinstance(row, dict) and "target_prompts" in row for row in rows)


def _nearby(name: object, info: pydantic.ValidationInfo) -> object:
    """Relative to the file, one folder up, or by its name in ``Images``, where FlowEdit's repository has it."""
    if not isinstance(name, str) or not info.context:
        return name
    places = (name, f"../{name}", f"Images/{Path(name).name}")
    return next((place for place in places if (info.context["folder"] / place).is_file()), name)


class _FlowEditEntry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    image: Annotated[ImageFile, pydantic.BeforeValidator(_nearby)] = pydantic.Field(
        validation_alias=pydantic.AliasChoices(*IMAGE_KEYS)
    )
    source_prompt: Text
    target_prompts: list[Text] = pydantic.Field(min_length=1)


def load_flowedit(path: Path) -> Dataset:
    """One item for each target prompt of each entry. Items of one image share a group."""
    entries: list[_FlowEditEntry] = validated(read_document(path), list[_FlowEditEntry], path, folder=path.parent)
    items = [
        Item(
            id=f"{entry.image.stem}/{number}.{index}",
            image=RgbFile(entry.image),
            source_caption=" ".join(entry.source_prompt.split()),
            target_caption=" ".join(text.split()),
            group=f"{entry.image.parent.name}/{entry.image.name}",
        )
        for number, entry in enumerate(entries, 1)
        for index, text in enumerate(entry.target_prompts, 1)
    ]
    return Dataset(name=path.stem, version="1", items=tuple(items))


def mask_of(runs: Sequence[int]) -> NDArray[np.bool_]:
    """Runs of True on the grid, read row by row, as ``[512, 512]``: start and length of each, flat."""
    mask = np.zeros(SIDE * SIDE, dtype=np.bool_)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        mask[start : start + length] = True
    return mask.reshape(SIDE, SIDE)


def _kind(value: object) -> str:
    """The name of an edit type, which is a digit or a number."""
    if str(value) not in map(str, range(len(KINDS))):
        raise ValueError(f"{value!r} is not one of 0 to {len(KINDS) - 1}")
    return KINDS[int(str(value))]


def _square(image: Path, info: pydantic.ValidationInfo) -> Path:
    if info.context and info.context["size"](image) != (SIDE, SIDE):
        raise ValueError(f"it must have {SIDE}x{SIDE} pixels, as its mask")
    return image


def _pairs(runs: list[int]) -> list[int]:
    if len(runs) % 2:
        raise ValueError(f"it must have pairs of start and length; got {len(runs)} numbers")
    return runs


class _PieBenchEntry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    image_path: Annotated[ImageFile, pydantic.AfterValidator(_square)]
    original_prompt: Text
    editing_prompt: Text
    editing_type_id: Annotated[str, pydantic.BeforeValidator(_kind)]
    mask: Annotated[list[pydantic.NonNegativeInt], pydantic.AfterValidator(_pairs)]
    editing_instruction: str = ""
    blended_word: str = ""


def load_pie_bench(folder: Path) -> Dataset:
    """PIE-Bench's items. Prompts lose the square brackets around their words.

    The mask tells where the image may change; no method may see it unless its table says so.
    """
    path, images = folder / MAPPING, folder / "annotation_images"
    entries: dict[str, _PieBenchEntry]
    entries = validated(read_document(path), dict[str, _PieBenchEntry], path, folder=images)
    about = ("editing_instruction", "blended_word")
    items = [
        Item(
            id=key,
            image=RgbFile(entry.image_path),
            source_caption=entry.original_prompt.translate(_BRACKETS),
            target_caption=entry.editing_prompt.translate(_BRACKETS),
            kind=entry.editing_type_id,
            group=entry.image_path.relative_to(images).as_posix(),
            mask=functools.partial(mask_of, tuple(entry.mask)),
            about={name: text for name in about if (text := getattr(entry, name))},
        )
        for key, entry in entries.items()
    ]
    return Dataset(name="pie-bench", version="1", items=tuple(items))

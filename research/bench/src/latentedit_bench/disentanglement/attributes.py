"""A file of attributes: a caption with slots, the values of each slot, and optionally images with their values.

caption: "a person with {skin}, {hair}, {glasses}"
values:
  skin: [pale skin, dark skin]
  hair: [short brown hair, long black hair]
  glasses: [glasses, no glasses]
images:
  - image: me.png
    values: {skin: pale skin, hair: short brown hair, glasses: no glasses}

Without images, the model draws some from captions of random values.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
from PIL import Image

from latentedit import Backbone
from latentedit.batch import ImageFile, Text, read_document, validated
from latentedit.calibration import draw_images
from latentedit.core import ConfigError, nearest, user_path
from latentedit.encoding import to_images
from latentedit.numerics import stream
from latentedit_bench.data.items import RgbFile

DRAWN = 8  # images that the model draws by default
_SLOT = re.compile(r"\{([^{}]*)\}")
_BATCH = 8  # images that are drawn together


def _different(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("a value is there twice")
    return values


class _Row(pydantic.BaseModel):
    """An image, and the value of every attribute."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    image: ImageFile
    values: dict[Text, Text]


class AttributeFile(pydantic.BaseModel):
    """The content of a file of attributes; see the module.

    Args:
        caption: with one slot ``{name}`` for each attribute.
        values: what each slot may say, two or more.
        images: with a value of each attribute, which need not be one of ``values``.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    caption: Text
    values: dict[Text, Annotated[list[Text], pydantic.Field(min_length=2), pydantic.AfterValidator(_different)]]
    images: list[_Row] = []

    @pydantic.model_validator(mode="after")
    def _complete(self) -> "AttributeFile":
        slots = _SLOT.findall(self.caption)
        if len(self.values) < 2:
            raise ValueError("there must be two attributes or more, for what leaks from one to another")
        for name in slots:
            if name not in self.values:
                raise ValueError(f"the slot {{{name}}} of the caption has no values: {nearest(name, self.values)}")
        for name in self.values:
            if slots.count(name) != 1:
                raise ValueError(f"the caption must have the slot {{{name}}} once, not {slots.count(name)} times")
        for number, row in enumerate(self.images, 1):
            for name in self.values.keys() ^ row.values.keys():
                fault = "has no value of" if name in self.values else "has a value of the unknown attribute"
                raise ValueError(f"image {number} {fault} {name!r}")
        return self

    def filled(self, values: Mapping[str, str]) -> str:
        """The caption with these values."""
        return _SLOT.sub(lambda slot: values[slot[1]], self.caption)


def read_attributes(place: Path) -> AttributeFile:
    """The content of a file in YAML or JSON; a `ConfigError` names everything that is wrong with it."""
    path = user_path(place, error=ConfigError)
    return validated(read_document(path), AttributeFile, path, folder=path.parent)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Swaps:
    """Images with captions, and for each attribute captions in which its value alone is another."""

    images: Sequence[Image.Image]
    captions: Sequence[str]
    targets: Mapping[str, Sequence[str]]  # attribute to one caption an image

    def chosen(self, places: Sequence[int]) -> "Swaps":
        """The same for some of the images."""
        targets = {name: [texts[place] for place in places] for name, texts in self.targets.items()}
        images, captions = [self.images[place] for place in places], [self.captions[place] for place in places]
        return Swaps(images=images, captions=captions, targets=targets)


def make_swaps(content: AttributeFile, model: Backbone, *, items: int | None = None, seed: int = 0) -> Swaps:
    """The images of a file, or images that the model draws, with another value of each attribute drawn for each.

    ``items`` is the number of images: all of the file, or `DRAWN`, by default.
    """
    rows = [row.values for row in content.images][:items]
    generators = [stream(seed, "attributes", index) for index in range(len(rows) or items or DRAWN)]
    states = rows or [{name: _drawn(of, one) for name, of in content.values.items()} for one in generators]
    targets: dict[str, list[str]] = {name: [] for name in content.values}
    for state, generator in zip(states, generators, strict=True):
        for name, values in content.values.items():
            other = _drawn([value for value in values if value != state[name]], generator)
            targets[name].append(content.filled({**state, name: other}))
    captions = [content.filled(state) for state in states]
    if rows:
        images = [RgbFile(row.image)() for row in content.images[: len(rows)]]
    else:
        images = [
            image
            for first in range(0, len(captions), _BATCH)
            for image in to_images(draw_images(model, captions[first : first + _BATCH], seed=seed, first=first))
        ]
    return Swaps(images=images, captions=captions, targets=targets)


def _drawn(values: Sequence[str], generator: Any) -> str:
    return values[int(torch.randint(len(values), (), generator=generator))]

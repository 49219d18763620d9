"""Records: how a result was made, enough to make it again. No path, no key, no clock.

The same edit has the same record, so that its file is the same again. Seconds and memory are elsewhere: in
`EditResult.cost`, and in the JSON file next to the image.
"""

import functools
import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from pydantic import Field

from latentedit.core.errors import ConfigError, FileFormatError, suggestion_for
from latentedit.core.files import check_format
from latentedit.core.recipe import RECORD_FORMAT, Recipe
from latentedit.core.setting import MAX_STRENGTHS
from latentedit.encoding.captions.change import MAX_LETTERS, is_off_or_on
from latentedit.encoding.images import SourceImage
from latentedit.keeping.undoing import read_record
from latentedit.models.base import Backbone
from latentedit.numerics.device import dtype_name
from latentedit.photo.saving import MAX_RECORD_BYTES

MAX_EDITS = 100  # most edits of one record, each going on from the one before
MAX_REFERENCES = 100  # most reference images of one edit
_RECORDED = ("latentedit", "torch", "diffusers", "transformers")
_SHOWN_LETTERS = 80

Caption = Annotated[str, Field(max_length=MAX_LETTERS)]

# Content of a file: the edited image, source and edited image side by side, or images by strength.
Output = Literal["image", "sheet", "sweep"]


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers know the names

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                return super().__getattr__(name)
            known = [*type(self).model_fields, "to_json"]
            raise AttributeError(f"{type(self).__name__} has no {name!r}{suggestion_for(name, known)}")


class ModelRecord(_Record):
    """The model: its name (of a folder, the last part), the fingerprint of its weights, where and how it ran."""

    name: str
    fingerprint: str
    dtype: str
    device: str
    revision: str | None = None  # commit of a model of the hub
    autocast: str | None = None  # dtype of the `torch.autocast` around the call, which changes results

    @classmethod
    def of(cls, backbone: Backbone) -> "ModelRecord":
        device = backbone.device.type
        autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        return cls(
            name=Path(backbone.name).name if Path(backbone.name).is_absolute() else backbone.name,
            fingerprint=backbone.fingerprint,
            dtype=dtype_name(backbone.network_dtype),
            device=device,
            revision=backbone.revision,
            autocast=dtype_name(torch.get_autocast_dtype(device)) if autocast else None,
        )


class ImageRecord(_Record):
    """An image: its file's name without folder, the fingerprint of its pixels, and that of its mask."""

    name: str
    fingerprint: str
    mask: str | None = None

    @classmethod
    def of(cls, image: SourceImage, allowed: NDArray[np.uint8] | None = None) -> "ImageRecord":
        """The record of an image and of where it may change."""
        name = "" if image.path is None else image.path.name
        return cls(
            name=name.encode("utf-8", "replace").decode(),  # names of files may be no text
            fingerprint=image.fingerprint,
            mask=mask_fingerprint(allowed),
        )


class DirectionRecord(_Record):
    """One direction that was applied: ``given`` by a file, or found from the record's caption to ``target_caption``."""

    fingerprint: str
    method: str
    settings: dict[str, Any]
    strength: float
    target_caption: str
    given: bool


class RunRecord(_Record):
    """Enough to make a result again.

    Args:
        format: of the record.
        output: what the file shows.
        recipe: how the edit was made: the editor by its name, with all of its settings.
        seed: random seed.
        model: the model.
        versions: of latentedit, torch, diffusers, transformers and Python.
        image: the source image.
        instructed: the model saw the image, and the captions are instructions: to change nothing, and what to do.
        references: additional reference images.
        caption: source caption.
        target_caption: target caption; empty for directions without words.
        strengths: of the edit, or of a sweep's images.
        directions: those that were applied together, each at its strength; empty for editors without directions.
        stepped: by what the path was stepped: the velocity, or the flow map of a model that is one.
        calibrated: the search had the settings of the model's calibration (`models.model_settings`).
        evaluations: of the network, for the first strength, from nothing.
        before: the edit whose latent this one went on from; None where it started from an image.
    """

    format: Annotated[int, Field(ge=RECORD_FORMAT, le=RECORD_FORMAT)] = RECORD_FORMAT
    output: Output = "image"
    recipe: Recipe
    seed: int
    model: ModelRecord
    versions: dict[str, str]
    image: ImageRecord
    instructed: bool = False
    references: Annotated[tuple[ImageRecord, ...], Field(strict=False, max_length=MAX_REFERENCES)] = ()
    caption: Caption
    target_caption: Caption
    strengths: Annotated[tuple[float, ...], Field(min_length=1, max_length=MAX_STRENGTHS)]
    directions: tuple[DirectionRecord, ...] = ()
    stepped: Literal["velocity", "flow map"] = "velocity"
    calibrated: bool = False
    evaluations: float
    before: "RunRecord | None" = None

    @property
    def off_or_on(self) -> bool:
        """Whether the change adds, removes or exchanges a thing: no value lies between none and all of it."""
        worded = self.target_caption and not self.instructed
        return bool(worded) and is_off_or_on(self.caption, self.target_caption)

    def check_image(self, image: SourceImage) -> None:
        """Raise a ConfigError for another image than that of the record."""
        if image.fingerprint != self.image.fingerprint:
            raise ConfigError(
                f"this is not the image {self.image.name!r} of the record: its pixels are {image.fingerprint}, "
                f"not {self.image.fingerprint}. Give the image that was edited with `image`"
            )

    def to_json(self) -> str:
        """One line, the same for equal records; a `ConfigError` for more edits or strengths than can be read again."""
        if len(self.strengths) > MAX_STRENGTHS:
            raise ConfigError(
                f"a record holds at most {MAX_STRENGTHS} strengths; got {len(self.strengths)}. Write two files"
            )
        count, record = 1, self.before
        while record is not None:
            count, record = count + 1, record.before
        if count > MAX_EDITS:
            raise ConfigError(
                f"a record holds at most {MAX_EDITS} edits that go on from each other in the latent; got {count}. "
                "Write an image on the way, and go on from its file"
            )
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str, name: str) -> "RunRecord":
        """Read a record that may come from anyone; ``name`` is for messages."""
        if len(text) > MAX_RECORD_BYTES:
            raise _unsound(name, f"it has {len(text)} letters, more than {MAX_RECORD_BYTES}")
        content = read_record(text, name)
        check_format(content, f"the record in {name}", RECORD_FORMAT)
        try:
            return cls.model_validate_json(json.dumps(content))
        except pydantic.ValidationError as error:
            raise _unsound(name, first_fault(error)) from error


def first_fault(error: pydantic.ValidationError) -> str:
    """The first fault of a document: its field, and what is wrong with it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = repr(".".join(map(str, first["loc"]))[:_SHOWN_LETTERS])
    return f"{where}: {first['msg'].removeprefix('Value error, ').lower()[: 2 * _SHOWN_LETTERS]}"


def mask_fingerprint(allowed: NDArray[np.uint8] | None) -> str | None:
    """Sixteen hexadecimal digits of where an image may change; None where it may everywhere."""
    return None if allowed is None else hashlib.sha256(allowed.tobytes()).hexdigest()[:16]


def _unsound(name: str, problem: str) -> FileFormatError:
    return FileFormatError(f"the record in {name} is damaged: {problem}. Edit the image again")


def versions() -> dict[str, str]:
    """Versions of the packages that make a result; "unknown" where one is not installed."""
    return {"python": platform.python_version(), **{package: _version(package) for package in _RECORDED}}


@functools.cache  # each look-up reads the whole description of a package
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

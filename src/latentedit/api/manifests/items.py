"""What is to be edited: a picture, its caption before and after, and, where it is known, the answer and its area."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import ConfigError, ImageError
from latentedit.core.settings import Count, check
from latentedit.directions.text import changed_phrases
from latentedit_keep.pictures import content_of, read_image


@runtime_checkable
class Fingerprinted(Protocol):
    """A picture or mask that knows a digest of what it is made from, so that nothing need be decoded or rendered."""

    def fingerprint(self) -> str:
        """The same on every machine, another for another content."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One edit to make. Pictures are opened when they are asked for; the callables can be pickled.

    Args:
        id: unique in its dataset.
        picture: gives the picture to edit, RGB.
        source_caption: what the picture shows.
        target_caption: what the edited picture should show.
        kind: what sort of change, for tables, such as "single", "pair", or the name of PIE-Bench's edit type.
        group: items of one source picture share it, for the bootstrap draws groups; the id where it is left empty.
        truth: gives the right answer, RGB, of the picture's size.
        mask: gives ``[h, w]``, True where the picture may change.
        about: further plain facts, such as attributes, categories or an instruction.

    Raises:
        ConfigError: no id.
    """

    id: str
    picture: Callable[[], Image.Image]
    source_caption: str
    target_caption: str
    kind: str = "edit"
    group: str = ""
    truth: Callable[[], Image.Image] | None = None
    mask: Callable[[], NDArray[np.bool_]] | None = None
    about: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], hash=False)

    def __post_init__(self) -> None:
        if not self.id:
            raise ConfigError("an item has an empty id. Number the items")
        object.__setattr__(self, "group", self.group or self.id)

    @property
    def change(self) -> str:
        """What is asked, in the captions' words, such as "tan skin => pale skin"; empty where they say the same."""
        removed, added = changed_phrases(self.source_caption, self.target_caption)
        return f"{', '.join(removed)} => {', '.join(added)}".strip() if removed or added else ""

    def fingerprint(self) -> str:
        """SHA-256 of the texts and of what the pictures are made from; see `content`."""
        known = (self.picture, self.truth, self.mask)
        texts = (self.id, self.source_caption, self.target_caption, self.kind, self.group)
        return _digest(
            [*texts, sorted(self.about.items()), [None if part is None else content(part) for part in known]]
        )

    def with_bytes(self) -> "Item":
        """With the content of its files, for a machine that does not see them; what is no file stays as it is."""
        parts = {name: getattr(self, name) for name in ("picture", "truth", "mask")}
        files = {name: part.with_bytes() for name, part in parts.items() if isinstance(part, PictureFile | MaskFile)}
        return dataclasses.replace(self, **files)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Items under a name and a version.

    Args:
        name: what tables call it.
        version: of its content.
        items: in their order.

    Raises:
        ConfigError: no items, or an id that two items have.
    """

    name: str
    version: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ConfigError(f"the dataset {self.name!r} has no items. Add some")
        twice = [name for name, count in Counter(item.id for item in self.items).items() if count > 1]
        if twice:
            raise ConfigError(f"{', '.join(map(repr, twice[:10]))} is the id of several items. Rename them")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the items, whatever the dataset is called and wherever its files lie.

        Cost:
            Reads every file once.
        """
        return _digest([item.fingerprint() for item in self.items])

    def head(self, count: int) -> "Dataset":
        """The first items, all of them where there are fewer.

        Raises:
            ConfigError: no whole number from 1 up.
        """
        check(Count, count=count)
        return dataclasses.replace(self, items=self.items[:count])


_InFile = TypeVar("_InFile", bound="_PictureInFile")


@dataclasses.dataclass(frozen=True, slots=True)
class _PictureInFile:
    """A picture in a file.

    Args:
        path: of the file.
        content: of the file, where it need not be read again.
    """

    path: Path
    content: bytes | None = None

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return _file_digest(self.path)

    def with_bytes(self: _InFile) -> _InFile:
        """With its content, for a machine that does not see the file."""
        return dataclasses.replace(self, content=content_of(self.path))

    def _opened(self, colour: str) -> Image.Image:
        """As RGB, what is transparent laid on a colour."""
        image = read_image(self.path, content=self.content)
        if image.mode == "RGB":
            return image
        return Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")


class PictureFile(_PictureInFile):
    """A picture in a file, as RGB; what is transparent is laid on white."""

    __slots__ = ()

    def __call__(self) -> Image.Image:
        """Read it.

        Raises:
            ImageError: no such file, no picture, or damaged.
        """
        return self._opened("white")


class MaskFile(_PictureInFile):
    """A mask in a picture file: True where it is brighter than middle grey; what is transparent is black."""

    __slots__ = ()

    def __call__(self) -> NDArray[np.bool_]:
        """Read it, ``[h, w]``.

        Raises:
            ImageError: no such file, no picture, or damaged.
        """
        return np.asarray(self._opened("black").convert("L")) > 127


def content(part: Callable[[], Image.Image] | Callable[[], NDArray[np.bool_]]) -> str:
    """A digest of what a callable gives: its own `Fingerprinted.fingerprint` where it has one, else of the pixels."""
    if isinstance(part, Fingerprinted):
        return part.fingerprint()
    pixels = np.asarray(part())
    return _digest([pixels.shape, str(pixels.dtype), hashlib.sha256(pixels.tobytes()).hexdigest()])


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode("ascii")).hexdigest()


def _file_digest(path: Path) -> str:
    """The content by the reader that refuses what is no regular file, or too large."""
    content = content_of(path)
    if content is None:
        raise ImageError(f"{path} cannot be read. Check the path")
    return hashlib.sha256(content).hexdigest()

"""Items to edit: an image, its source and target captions, and, if known, the right answer and the mask."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core import ConfigError, Count, ImageError, check_value, read_bytes
from latentedit.encoding import changed_phrases
from latentedit.photo import MAX_IMAGE_BYTES, content_of, read_image


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One edit to make. Images are opened on use; the callables can be pickled."""

    id: str  # unique in its dataset
    image: Callable[[], Image.Image]  # the image to edit, RGB
    source_caption: str
    target_caption: str
    kind: str = "edit"  # kind of change, for tables, such as "single", "pair", or the name of PIE-Bench's edit type
    group: str = ""  # shared by items of one source image, which the bootstrap draws together; by default the id
    truth: Callable[[], Image.Image] | None = None  # the right answer, RGB, of the image's size
    mask: Callable[[], NDArray[np.bool_]] | None = None  # ``[h, w]``, True where the image may change
    complete: bool = False  # the model's captioner completes the captions from the image
    about: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], hash=False)  # further plain facts

    def __post_init__(self) -> None:
        if not self.id:
            raise ConfigError("the id of an item must not be empty. Number the items")
        object.__setattr__(self, "group", self.group or self.id)

    @property
    def change(self) -> str:
        """The change in the captions' words, such as "tan skin => pale skin"; empty if they say the same."""
        removed, added = changed_phrases(self.source_caption, self.target_caption)
        return f"{', '.join(removed)} => {', '.join(added)}".strip() if removed or added else ""

    def fingerprint(self) -> str:
        """SHA-256 of the texts and of what the images are made from."""
        parts = [None if part is None else content(part) for part in (self.image, self.truth, self.mask)]
        texts = (self.id, self.source_caption, self.target_caption, self.kind, self.group)
        return _digest([*texts, *(["complete"] if self.complete else []), sorted(self.about.items()), parts])

    def with_bytes(self) -> "Item":
        """The item with the content of its files, for a machine that does not see them."""
        parts = {name: getattr(self, name) for name in ("image", "truth", "mask")}
        files = {name: part.with_bytes() for name, part in parts.items() if isinstance(part, RgbFile | MaskFile)}
        return dataclasses.replace(self, **files)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Items under a name, for tables, and a version of their content."""

    name: str
    version: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ConfigError(f"the dataset {self.name!r} has no items. Add some")
        repeated = [name for name, count in Counter(item.id for item in self.items).items() if count > 1]
        if repeated:
            raise ConfigError(f"{', '.join(map(repr, repeated[:10]))} is the id of several items. Ids must be unique")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the items, independent of the name and of paths; reads every file."""
        return _digest([item.fingerprint() for item in self.items])

    @property
    def spec(self) -> dict[str, Any]:
        """Name, version, number of items and fingerprint."""
        return {"name": self.name, "version": self.version, "items": len(self.items), "fingerprint": self.fingerprint}

    def head(self, count: int, *, skip: int = 0) -> "Dataset":
        """The first items after `skip` items."""
        check_value(Count, items=count)
        return dataclasses.replace(self, items=self.items[skip : skip + count])


@dataclasses.dataclass(frozen=True, slots=True)
class _ImageFile:
    path: Path
    content: bytes | None = None  # bytes of the file, if it was read

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(read_bytes(self.path, limit=MAX_IMAGE_BYTES, error=ImageError)).hexdigest()

    def with_bytes(self) -> Self:
        """The file with its content, for a machine that does not see it."""
        return dataclasses.replace(self, content=content_of(self.path))

    def _opened(self, color: str) -> Image.Image:
        """The image as RGB, composited over a color."""
        image = read_image(self.path, content=self.content)
        if image.mode == "RGB":
            return image
        return Image.alpha_composite(Image.new("RGBA", image.size, color), image).convert("RGB")


# Pyrefly applies the slots=True of the base to its subclasses.
class RgbFile(_ImageFile):  # pyrefly: ignore[bad-class-definition]
    """An image file as RGB, composited over white."""

    __slots__ = ()

    def __call__(self) -> Image.Image:
        """Read it."""
        return self._opened("white")


class MaskFile(_ImageFile):  # pyrefly: ignore[bad-class-definition]
    """A mask in an image file: True where it is brighter than middle gray, False where it is transparent."""

    __slots__ = ()

    def __call__(self) -> NDArray[np.bool_]:
        """Read it, ``[h, w]``."""
        return np.asarray(self._opened("black").convert("L")) > 127


def content(part: Callable[[], Image.Image] | Callable[[], NDArray[np.bool_]]) -> str:
    """A digest of what a callable returns: its own ``fingerprint()`` if it has one, else of the pixels."""
    if (fingerprint := getattr(part, "fingerprint", None)) is not None:
        return fingerprint()
    pixels = np.asarray(part())
    return _digest([pixels.shape, str(pixels.dtype), hashlib.sha256(pixels.tobytes()).hexdigest()])


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode("ascii")).hexdigest()

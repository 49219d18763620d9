"""Pictures and captions of a dataset's file, checked before anything runs."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from latentedit.api.manifests.faults import Faults
from latentedit.api.manifests.items import MaskFile, PictureFile
from latentedit.core.errors import ImageError
from latentedit.core.files.pictures import read_image

File = TypeVar("File", PictureFile, MaskFile)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """Notes what is wrong with the parts of an entry.

    Args:
        faults: where it is noted.
        sizes: of the pictures that were opened, width and height, or what is wrong with them; a picture that many
            entries share is decoded once.
    """

    faults: Faults
    sizes: dict[Path, tuple[int, int] | str] = dataclasses.field(default_factory=dict[Path, Any])

    def text(self, where: str, name: str, value: object) -> str | None:
        """A caption, if it is one.

        Args:
            where: of the entry.
            name: what a fault calls the value.
            value: of any type.
        """
        if value is None:
            self.faults.add(where, f"{name} is missing")
        elif not isinstance(value, str):
            self.faults.add(where, f"{name} is {described(value)}, not text")
        elif not value.strip():
            self.faults.add(where, f"{name} is empty")
        elif not _encodable(value):
            self.faults.add(where, f"{name} holds half a character, which no file or model takes")
        else:
            return value
        return None

    def file(self, kind: type[File], where: str, name: str, value: object, folder: Path) -> File | None:
        """A picture or mask, decoded once, if it is one.

        Args:
            kind: of file.
            where: of the entry.
            name: what a fault calls it.
            value: its path, of any type.
            folder: to which the path is relative.
        """
        text = self.text(where, name, value)
        return None if text is None else self.first_file(kind, where, f"{name} {text}", [folder / text])

    def first_file(self, kind: type[File], where: str, name: str, places: list[Path]) -> File | None:
        """The first of several places where there is a file; see `file`."""
        path = next((path for path in places if _exists(path)), places[0])
        size = self.size(path)
        if isinstance(size, tuple):
            return kind(path)
        self.faults.add(where, f"{name} {size}")
        return None

    def size(self, path: Path) -> tuple[int, int] | str:
        """Of a picture, width and height, or what is wrong with it."""
        if path not in self.sizes:
            self.sizes[path] = _size(path)
        return self.sizes[path]

    def same_size(self, where: str, name: str, file: PictureFile | MaskFile, picture: PictureFile) -> bool:
        """Whether a truth or mask has the picture's size."""
        own, wanted = self.size(file.path), self.size(picture.path)
        if own == wanted:
            return True
        self.faults.add(where, f"{name} is {_times(own)} pixels, its picture {_times(wanted)}")
        return False


def described(value: object) -> str:
    """A value's type in words, such as "a number"."""
    words = {
        "NoneType": "missing",
        "bool": "yes or no",
        "int": "a number",
        "float": "a number",
        "str": "text",
        "list": "a list",
        "dict": "an object",
    }
    return words.get(type(value).__name__, f"a {type(value).__name__}")


def _size(path: Path) -> tuple[int, int] | str:
    if not _exists(path):
        return "does not exist"
    try:
        image: Image.Image = read_image(path)
    except ImageError as error:
        return f"cannot be used: {error}"
    return image.size


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _times(size: object) -> str:
    return "x".join(str(side) for side in size) if isinstance(size, tuple) else "unreadable"

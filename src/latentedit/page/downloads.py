"""Files for download. Each is written to a temporary folder and read; none stays on the disk."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from latentedit.core.files import plain
from latentedit.keeping.api import KeepResult
from latentedit.photo.images import PixelImage
from latentedit.photo.saving import save_image

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult
    from latentedit.encoding.images import SourceImage
    from latentedit.identification.direction import Direction

NAME_LETTERS = 60
LAYERS = {".ora": "image/openraster", ".tif": "image/tiff", ".png": "image/png"}  # endings, with their MIME types


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file: its name, its MIME type, its content, and what the user should know."""

    name: str
    kind: str
    content: bytes
    note: str = ""


def kept_files(result: KeepResult, limits: PixelImage | None) -> list[Download]:
    """The original with the edit alone, as PNG with its record, and the painted mask that `replay` needs."""
    name = f"{own_name(result.original.name)}.kept.png"
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name)]
        lost = result.save(files[0]).line
        if limits is not None:
            files.append(Path(folder, limits.name))
            save_image(limits, files[1])
        notes = (f"Not kept in the PNG: {lost}." * bool(lost), "")
        return [
            Download(name=file.name, kind="image/png", content=file.read_bytes(), note=note)
            for file, note in zip(files, notes, strict=False)
        ]


def layer_file(result: KeepResult, ending: str) -> list[Download]:
    """The original and the change as layers, for GIMP and Krita (.ora) or Photoshop (.tif); the change alone (.png)."""
    name = f"{own_name(result.original.name)}.change{ending}"
    with tempfile.TemporaryDirectory() as folder:
        result.save_layers(file := Path(folder, name))
        return [Download(name=name, kind=LAYERS[ending], content=file.read_bytes())]


def own_name(file: str) -> str:
    """The stem of a file, without letters that mean something in a path, at most 240 bytes long.

    Example:
        >>> own_name("IMG_0201.jpg")
        'IMG_0201'
    """
    letters = (letter if letter.isalnum() or letter in " _-.,()" else "" for letter in Path(file).stem)
    return "".join(letters).strip(" .")[:NAME_LETTERS] or "image"


def image_file(image: "SourceImage", result: "EditResult | None") -> Download:
    """An image as PNG; an edited one with its record and the data for undo."""
    name = f"{_stem(image)}.png" if result is None else f"{_stem(image)}.edited.png"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        if result is None:
            save_image(image.image, file)
        else:
            result.save(file)
        return Download(name=name, kind="image/png", content=file.read_bytes())


def record_file(image: "SourceImage", result: "EditResult") -> Download:
    """The record and measurements of an edit, as in the JSON file of a saved image."""
    facts = plain({"record": result.record, "results": [result.measures]})
    content = json.dumps(facts, ensure_ascii=False, indent=1).encode()
    return Download(name=f"{_stem(image)}.edited.json", kind="application/json", content=content)


def direction_file(name: str, direction: "Direction") -> Download:
    """A direction under a file name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        direction.save(file)
        content = file.read_bytes()
    return Download(name=name, kind="application/octet-stream", content=content)


def plain_name(text: str) -> str:
    """The ASCII letters and digits of a text, for a file name.

    Example:
        >>> plain_name("=> ../round glasses")
        'round-glasses'
    """
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text).split()
    return "-".join(words)[:NAME_LETTERS] or "image"


def _stem(image: "SourceImage") -> str:
    return own_name("" if image.path is None else image.path.name)

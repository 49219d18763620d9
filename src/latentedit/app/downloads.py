"""Files for download. Each is written to a temporary folder and read; none stays on the server."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from latentedit.directions.direction import ENDING, Direction
from latentedit.editing.result import EditResult
from latentedit.latents.images import SourceImage
from latentedit_keep.api import KeepResult
from latentedit_keep.floor.files import plain
from latentedit_keep.photo.images import PixelImage
from latentedit_keep.photo.saving import save_image

_NAME_LETTERS = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file: its name, its MIME type, its content, and what the visitor should know."""

    name: str
    kind: str
    content: bytes
    note: str = ""


def image_file(image: SourceImage, result: EditResult | None) -> Download:
    """An image as PNG; an edited one with its record and the data for undo."""
    name = f"{_stem(image)}.png" if result is None else f"{_stem(image)}.edited.png"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        if result is None:
            save_image(image.image, file)
        else:
            result.save(file)
        return Download(name=name, kind="image/png", content=file.read_bytes())


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


def layer_file(result: KeepResult) -> list[Download]:
    """The original and the change as layers, for GIMP, Krita and others."""
    name = f"{own_name(result.original.name)}.change.ora"
    with tempfile.TemporaryDirectory() as folder:
        result.save_layers(file := Path(folder, name))
        return [Download(name=name, kind="image/openraster", content=file.read_bytes())]


def record_file(image: SourceImage, result: EditResult) -> Download:
    """The record and measurements of an edit, as in the JSON file of a saved image."""
    facts = plain({"record": result.record, "results": [result.measures]})
    content = json.dumps(facts, ensure_ascii=False, indent=1).encode()
    return Download(name=f"{_stem(image)}.edited.json", kind="application/json", content=content)


def direction_files(directions: Mapping[str, Direction]) -> list[Download]:
    """One file for each direction, named after its change."""
    files: list[Download] = []
    with tempfile.TemporaryDirectory() as folder:
        for text, direction in directions.items():
            file = Path(folder, f"{plain_name(text.removesuffix(ENDING))}{ENDING}")
            direction.save(file)
            files.append(Download(name=file.name, kind="application/octet-stream", content=file.read_bytes()))
    return files


def own_name(file: str) -> str:
    """The stem of a visitor's file, without letters that mean something in a path, at most 240 bytes long.

    Example:
        >>> own_name("IMG_0201.jpg")
        'IMG_0201'
    """
    letters = (letter if letter.isalnum() or letter in " _-.,()" else "" for letter in Path(file).stem)
    return "".join(letters).strip(" .")[:_NAME_LETTERS] or "image"


def plain_name(text: str) -> str:
    """The ASCII letters and digits of a text, for a file name.

    Example:
        >>> plain_name("=> ../round glasses")
        'round-glasses'
    """
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text).split()
    return "-".join(words)[:_NAME_LETTERS] or "image"


def _stem(image: SourceImage) -> str:
    return own_name("" if image.path is None else image.path.name)

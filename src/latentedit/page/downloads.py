"""Files for download. Each is written to a temporary folder and read; none stays on the server."""

import dataclasses
import tempfile
from pathlib import Path

from latentedit.keeping.api import KeepResult
from latentedit.photo.images import PixelImage
from latentedit.photo.saving import save_image

NAME_LETTERS = 60
LAYERS = {".ora": "image/openraster", ".tif": "image/tiff", ".png": "image/png"}  # endings, with their MIME types


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file: its name, its MIME type, its content, and what the visitor should know."""

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
    """The stem of a visitor's file, without letters that mean something in a path, at most 240 bytes long.

    Example:
        >>> own_name("IMG_0201.jpg")
        'IMG_0201'
    """
    letters = (letter if letter.isalnum() or letter in " _-.,()" else "" for letter in Path(file).stem)
    return "".join(letters).strip(" .")[:NAME_LETTERS] or "image"

"""Files for download. Each is written to a temporary folder and read; none stays on the server."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from latentedit.core.files import plain
from latentedit.editing.result import EditResult
from latentedit.encoding.images import SourceImage
from latentedit.identification.direction import ENDING, Direction
from latentedit.page.downloads import NAME_LETTERS, Download, own_name
from latentedit.photo.saving import save_image


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


def plain_name(text: str) -> str:
    """The ASCII letters and digits of a text, for a file name.

    Example:
        >>> plain_name("=> ../round glasses")
        'round-glasses'
    """
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text).split()
    return "-".join(words)[:NAME_LETTERS] or "image"


def _stem(image: SourceImage) -> str:
    return own_name("" if image.path is None else image.path.name)

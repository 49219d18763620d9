"""Files of results: images that carry their record, and JSON files beside them with the record and measurements."""

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.reading import read_json
from latentedit.display.page import is_page
from latentedit.latents.record import RunRecord
from latentedit_keep.files import check_place, plain, user_path, write_text
from latentedit_keep.pictures import MAX_RECORD_BYTES, read_chunks

_MAX_JSON_BYTES = 4 * MAX_RECORD_BYTES
"""Largest JSON file that is read: a record, and what was measured at each strength."""

OutputFile = tuple[Path, Callable[[Path], None]]  # a file, and what writes it


def beside(path: str | Path) -> Path:
    """The JSON file of an image: ``NAME.json``, or ``NAME.ENDING.json`` where that belongs to another image."""
    path = user_path(path, error=OutputError)
    usual, own = (path.parent / f"{name}.json" for name in (path.stem, path.name))
    if _owner(own) == path.name:
        return own
    owner = _owner(usual)
    taken = owner not in (None, path.name) and owner in {one.name for one in path.parent.iterdir()}
    return own if taken else usual


def check_beside(path: str | Path) -> None:
    """Raise an OutputError where the JSON file of an image cannot be written, or belongs to another program."""
    place = beside(path)
    check_place(place)
    if place.exists() and _read_beside(place) is None:
        raise OutputError(
            f"the record of {Path(path).name} would go to {place}, which holds something else. Choose another name "
            "with -o"
        )


def read_record(path: str | Path) -> RunRecord:
    """The record that an image carries, or that the JSON file beside it holds.

    Raises:
        ImageError: no image.
        FileFormatError: no record, a damaged one, or one of a newer format.
    """
    text = None if is_page(path) else read_chunks(path)[0]
    if text is not None:
        return RunRecord.from_json(text, str(path))
    place = beside(path)
    if not place.is_file():
        raise FileFormatError(
            f"{path} carries no record, and {place.name} does not lie beside it. Only pictures that latentedit wrote "
            "can be made again"
        )
    content = _read_beside(place)
    if content is None:
        raise FileFormatError(f"there is no record in {place}. Edit the picture again")
    return RunRecord.from_json(json.dumps(content["record"]), str(place))


def same_picture(first: Image.Image, second: Image.Image) -> bool:
    """Equal pixels, size and mode."""
    return first.mode == second.mode and first.size == second.size and first.tobytes() == second.tobytes()


def beside_file(path: str | Path, record: RunRecord, results: Sequence[Mapping[str, Any]]) -> OutputFile:
    """The JSON file of an image: its record, and what was measured at each strength."""
    check_beside(path)
    content = plain({"file": Path(path).name, "record": record, "results": results})
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return beside(path), lambda file: write_text(file, text)


def write_together(files: Sequence[OutputFile]) -> None:
    """Write every file under a hidden name, then rename all: earlier files stay until all new ones are complete."""
    places = [user_path(place, error=OutputError) for place, _ in files]
    if len({place.resolve() for place in places}) < len(places):
        named = ", ".join(str(place) for place in places)
        raise OutputError(f"several files of a result would have one name; got {named}. Choose another name")
    for place in places:
        check_place(place)
    hidden = [place.with_name(f".{secrets.token_hex(8)}{place.suffix}") for place in places]
    try:
        for (_, write), place, other in zip(files, places, hidden, strict=True):
            try:
                write(other)
            except OutputError as error:  # it names the hidden file
                raise OutputError(str(error).replace(str(other), str(place)).replace(other.name, place.name)) from error
        for place, other in zip(places, hidden, strict=True):
            other.replace(place)
    finally:
        for other in hidden:
            with contextlib.suppress(OSError):  # it was renamed, or never written
                other.unlink()


def _owner(place: Path) -> str | None:
    """The image that a JSON file of ours belongs to, also after both were renamed; None for other files."""
    content = _read_beside(place) if place.is_file() else None
    if content is None or not isinstance(name := content.get("file"), str):
        return None
    ending = Path(name).suffix
    return place.stem if place.stem.endswith(ending) else f"{place.stem}{ending}"


def _read_beside(place: Path) -> dict[str, Any] | None:
    """The content of a JSON file of ours; None for other and for damaged files."""
    try:
        content = read_json(place, limit=_MAX_JSON_BYTES)
    except FileFormatError:
        return None
    match content:
        case {"record": {"versions": {"latentedit": str()}}}:
            return content
        case _:
            return None

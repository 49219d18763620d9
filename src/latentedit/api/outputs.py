"""Files that say how they were made: in the PNG itself, and with costs and measures in JSON beside it."""

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

_MAX_BESIDE_BYTES = 4 * MAX_RECORD_BYTES
"""Of a JSON file that is read: a record, and what was measured at each strength."""

OutputFile = tuple[Path, Callable[[Path], None]]
"""A place, and what writes to it."""


def beside(path: str | Path) -> Path:
    """Where the JSON file of a picture lies: ``NAME.json``, or ``NAME.ENDING.json`` where that is another picture's."""
    path = user_path(path, error=OutputError)
    usual, own = (path.parent / f"{name}.json" for name in (path.stem, path.name))
    if _owner(own) == path.name:
        return own
    owner = _owner(usual)
    others = owner not in (None, path.name) and owner in {one.name for one in path.parent.iterdir()}
    return own if others else usual


def check_beside(path: str | Path) -> None:
    """Find out whether the JSON file beside a picture could be written.

    Raises:
        OutputError: it could not, or the file there is not one of ours.
    """
    place = beside(path)
    check_place(place)
    if place.exists() and _read_beside(place) is None:
        raise OutputError(
            f"the record of {Path(path).name} would go to {place}, which holds something else. Choose another name "
            "with -o"
        )


def read_record(path: str | Path) -> RunRecord:
    """The record that a file of ours carries, or that lies in JSON beside it.

    Raises:
        ImageError: no picture.
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
    told = _read_beside(place)
    if told is None:
        raise FileFormatError(f"there is no record in {place}. Edit the picture again")
    return RunRecord.from_json(json.dumps(told["record"]), str(place))


def same_picture(first: Image.Image, second: Image.Image) -> bool:
    """Equal pixels, size and mode."""
    return first.mode == second.mode and first.size == second.size and first.tobytes() == second.tobytes()


def beside_file(path: str | Path, record: RunRecord, results: Sequence[Mapping[str, Any]]) -> OutputFile:
    """The JSON file of a picture: its record, and what was measured at each strength.

    Raises:
        OutputError: it could not be written, or the file there is not one of ours.
    """
    check_beside(path)
    told = plain({"file": Path(path).name, "record": record, "results": results})
    text = json.dumps(told, ensure_ascii=False, indent=1)
    return beside(path), lambda place: write_text(place, text)


def write_together(files: Sequence[OutputFile]) -> None:
    """Write each file beside its place, then rename all of them: none is seen before all of them are whole.

    What stood there before stays until then.
    """
    places = [user_path(place, error=OutputError) for place, _ in files]
    if len({place.resolve() for place in places}) < len(places):
        named = ", ".join(str(place) for place in places)
        raise OutputError(f"several files of a result would have one name; got {named}. Choose another name")
    for place in places:
        check_place(place)
    hidden = [place.with_name(f".{secrets.token_hex(8)}{place.suffix}") for place in places]
    try:
        for (_, write), place, other in zip(files, places, hidden, strict=True):
            _write_hidden(write, other, place)
        for place, other in zip(places, hidden, strict=True):
            other.replace(place)
    finally:
        for other in hidden:
            with contextlib.suppress(OSError):  # it was renamed, or never made
                other.unlink()


def _write_hidden(write: Callable[[Path], None], other: Path, place: Path) -> None:
    """Write to the other place; an error names the one that was meant."""
    try:
        write(other)
    except OutputError as error:
        raise OutputError(str(error).replace(str(other), str(place)).replace(other.name, place.name)) from error


def _owner(place: Path) -> str | None:
    """Whose JSON of ours it is, also after both were given another name; None where that is not known."""
    match _read_beside(place) if place.is_file() else None:
        case {"file": str(name)}:
            ending = Path(name).suffix
            return place.stem if place.stem.endswith(ending) else f"{place.stem}{ending}"
        case _:
            return None


def _read_beside(place: Path) -> dict[str, Any] | None:
    """The content of a JSON file of ours; None where it is another's, or damaged."""
    try:
        told = read_json(place, limit=_MAX_BESIDE_BYTES)
    except FileFormatError:
        return None
    match told:
        case {"record": {"versions": {"latentedit": str()}}}:
            return told
        case _:
            return None

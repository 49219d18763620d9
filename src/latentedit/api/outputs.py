"""Results as files that say how they were made: in the PNG itself, and with costs and measures in JSON beside it."""

import contextlib
import dataclasses
import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from PIL import Image

from latentedit.api.result import EditResult
from latentedit.api.sheets.sheet import draw_sheet
from latentedit.api.sheets.strip import save_sweep
from latentedit.api.undo import Undone, stored_latent
from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.pictures import MAX_RECORD_BYTES, read_chunks, save_image
from latentedit.core.files.reading import read_json
from latentedit.core.files.writing import check_place, write_text
from latentedit.directions.text import changed_phrases
from latentedit.latents.record import RunRecord

_MAX_BESIDE_BYTES = 4 * MAX_RECORD_BYTES
"""Of a JSON file that is read: a record, and what was measured at each strength."""

_Files = list[tuple[Path, Callable[[Path], None]]]
"""Places, and what writes to each of them."""


def beside(path: str | Path) -> Path:
    """Where the JSON file of a picture lies."""
    path = Path(path)
    return path.parent / f"{path.stem}.json"


def check_beside(path: str | Path) -> None:
    """Find out whether the JSON file beside a picture could be written.

    Raises:
        OutputError: it could not, or the file there is not one of ours.
    """
    place = beside(path)
    check_place(place)
    if place.exists() and _read_beside(place) is None:
        raise OutputError(
            f"expected {place} to be free for the record of {Path(path).name}; it holds something else. "
            "Choose another name with -o"
        )


def write_result(result: EditResult, path: str | Path, *, sheet: str | Path | None = None) -> None:
    """The edited picture with record and joint latent, the JSON beside it, and a sheet if wanted; all or nothing.

    Raises:
        OutputError: a place that cannot be written to, that is named twice, or where the JSON of something else lies.
        ConfigError: more edits in the latent than a record holds.
    """
    text, payload = result.record.to_json(), stored_latent(result)
    picture = (Path(path), lambda place: save_image(result.image, place, record=text, payload=payload))
    files = [picture, _beside_file(path, result.record, [result])]
    _write_together(files if sheet is None else files + _sheet_files(result, sheet))


def write_sheet(result: EditResult, path: str | Path) -> None:
    """Source, edited and difference side by side with what was asked for, and the JSON beside it; both or neither.

    Raises:
        OutputError: a place that cannot be written to, or where the JSON of something else lies.
        ConfigError: more edits in the latent than a record holds.
    """
    _write_together(_sheet_files(result, path))


def write_sweep(results: Sequence[EditResult], path: str | Path) -> None:
    """Pictures by strength, as a sheet or an animation, and the JSON beside it; both or neither.

    Raises:
        OutputError: a place that cannot be written to, or where the JSON of something else lies.
        ConfigError: more edits in the latent than a record holds.
    """
    first = results[0]
    strengths = tuple(float(result.strength) for result in results)
    record = first.record.model_copy(update={"output": "sweep", "strengths": strengths})
    labels = [f"{result.strength:.2f}\n{measured_text(result)}" for result in results]
    lines = _captions(first)
    images, text = [result.image for result in results], record.to_json()

    def write(place: Path) -> None:
        save_sweep(images, labels, place, title=record.picture.name or "picture", lines=lines, record=text)

    _write_together([(Path(path), write), _beside_file(path, record, results)])


def write_undone(undone: Undone, path: str | Path) -> None:
    """The picture as it was, with the record of the undoing, and the JSON beside it; both or neither.

    Raises:
        OutputError: a place that cannot be written to, or where the JSON of something else lies.
    """
    text = undone.record.to_json()
    picture = (Path(path), lambda place: save_image(undone.image, place, record=text))
    _write_together([picture, _beside_file(path, undone.record, [])])


def measured_text(result: EditResult) -> str:
    """The measured strength as a label, or what went wrong."""
    word = "damaged" if result.verdict.word == "damaged" else "measured"
    return word if result.measured_strength is None else f"{word} {result.measured_strength:.2f}"


def read_record(path: str | Path) -> RunRecord:
    """The record that a file of ours carries, or that lies in JSON beside it.

    Raises:
        ImageError: no picture.
        FileFormatError: no record, a damaged one, or one of a newer format.
    """
    text, _ = read_chunks(path)
    if text is not None:
        return RunRecord.from_json(text, str(path))
    place = beside(path)
    if not place.is_file():
        raise FileFormatError(
            f"expected {path} to carry a record, or {place.name} beside it; there is none. "
            "Only pictures that latentedit wrote can be made again"
        )
    told = _read_beside(place)
    if told is None:
        raise FileFormatError(f"expected a record in {place}; it holds none. Edit the picture again")
    return RunRecord.from_json(json.dumps(told["record"]), str(place))


def plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as JSON knows them; numbers that it has no word for become null."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case pydantic.BaseModel():
            return plain(value.model_dump())
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownArgumentType]
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Sequence():
            return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return str(value)


def same_picture(first: Image.Image, second: Image.Image) -> bool:
    """Equal pixels, size and mode."""
    return first.mode == second.mode and first.size == second.size and first.tobytes() == second.tobytes()


def _sheet_files(result: EditResult, path: str | Path) -> _Files:
    record = result.record.model_copy(update={"output": "sheet"})
    change = ", ".join(changed_phrases(result.caption, result.target_caption)[1]) if result.target_caption else ""
    title = f"{record.picture.name or 'picture'}: {change or 'strength'} {result.strength:g}"
    lines = (*_captions(result), f"{result.method}: {result.verdict.reason}")
    text = record.to_json()

    def write(place: Path) -> None:
        save_image(draw_sheet(result.source, result.image, title=title, lines=lines), place, record=text)

    return [(Path(path), write), _beside_file(path, record, [result])]


def _captions(result: EditResult) -> tuple[str, ...]:
    """What a sheet says of source and target; a direction without words has no target to tell."""
    target = (f"to: {result.target_caption}",) if result.target_caption else ()
    return (f"from: {result.caption}", *target)


def _beside_file(
    path: str | Path, record: RunRecord, results: Sequence[EditResult]
) -> tuple[Path, Callable[[Path], None]]:
    check_beside(path)
    told = [
        {
            "strength": result.strength,
            "measured_strength": result.measured_strength,
            "verdict": result.verdict,
            "effect": result.effect,
            "cost": result.cost,
            "notes": result.notes,
        }
        for result in results
    ]
    text = json.dumps(plain({"record": record, "results": told}), ensure_ascii=False, indent=1)
    return beside(path), lambda place: write_text(place, text)


def _write_together(files: _Files) -> None:
    """Write each file beside its place, then rename all of them: none is seen before all of them are whole.

    What stood there before stays until then.
    """
    places = [place for place, _ in files]
    if len({place.resolve() for place in places}) < len(places):
        named = ", ".join(str(place) for place in places)
        raise OutputError(f"expected different names for all files of a result; got {named}. Choose another name")
    for place in places:
        check_place(place)
    hidden = [place.with_name(f".{secrets.token_hex(8)}{place.suffix}") for place in places]
    try:
        for (place, write), other in zip(files, hidden, strict=True):
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

"""What was discovered, as a folder: the directions, a sheet of them, and in JSON everything that was measured."""

import contextlib
import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from latentedit.api.discovery import SCALES, Discovered, Discovery, Walked
from latentedit.api.outputs import plain
from latentedit.api.sheets.discovery_sheet import draw_discovery
from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.pictures import save_image
from latentedit.core.files.reading import read_json, user_path
from latentedit.core.files.writing import check_place, write_text
from latentedit.directions.direction_file import save_direction
from latentedit.editors.walks.step_length import EFFECT
from latentedit.latents.record import ModelRecord, PictureRecord, versions

SHEET, TOLD = "directions.png", "discovered.json"

_NAME_LETTERS = 40
_UNWRITABLE = "expected to be able to write {}, with enough space"


def check_folder(folder: Path) -> None:
    """Find out whether `write_discovery` could write a folder, before any work is spent on it.

    Raises:
        OutputError: a file of that name, a folder that holds anything but an earlier discovery, or a place that cannot
            be written to.
    """
    folder = user_path(folder, error=OutputError)
    if folder.is_dir():
        strangers = sorted({path.name for path in folder.iterdir()} - _listed(folder))
        if strangers:
            raise OutputError(
                f"expected {folder} to be new, empty, or an earlier discovery; it holds {strangers[0]!r}. "
                "Choose another folder"
            )
    elif folder.exists():
        raise OutputError(f"expected the output {folder} to be a folder; it is a file. Choose another name")
    check_place(folder.resolve().parent / f"{folder.resolve().name}.{secrets.token_hex(4)}")


def write_discovery(discovery: Discovery, folder: Path) -> dict[str, Any]:
    """Write the folder, whole or not at all; an earlier discovery there is replaced.

    Args:
        discovery: of a picture.
        folder: where.

    Returns:
        What the JSON file says.

    Raises:
        OutputError: as `check_folder`, or a full disk.
    """
    check_folder(folder)
    told = plain(_told(discovery))
    place = folder.resolve()
    hidden = place.with_name(f".{secrets.token_hex(8)}")
    try:
        hidden.mkdir()
        for one, name in zip(discovery.found, file_names(discovery), strict=True):
            save_direction(one.direction, hidden / name)
        title = f"{told['record']['picture']['name'] or 'picture'}: {len(discovery.found)} directions"
        save_image(draw_discovery(discovery, title=title), hidden / SHEET)
        write_text(hidden / TOLD, json.dumps(told, ensure_ascii=False, indent=1))
        _put(hidden, place)
    except OSError as error:
        why = str(error).replace(str(hidden), str(folder))
        told_already = isinstance(error, OutputError)
        raise OutputError(why if told_already else f"{_UNWRITABLE.format(folder)}; got: {why}") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return told


def file_names(discovery: Discovery) -> list[str]:
    """One a direction: its number, and what it changes first in each sign."""
    names: list[str] = []
    for index, one in enumerate(discovery.found, start=1):
        words = re.sub(r"[^a-z0-9]+", "-", one.walked.meaning.name.lower()).strip("-")
        names.append(f"{index:02d}-{words[:_NAME_LETTERS].strip('-')}.safetensors")
    return names


def _listed(folder: Path) -> set[str]:
    """Files of an earlier discovery, by its own account; none where there is no such account."""
    place = folder / TOLD
    try:
        told = read_json(place)
    except FileFormatError:
        return set()
    match told:
        case {"record": {"versions": {"latentedit": str()}}, "directions": [*rows]}:
            files = (row.get("file") for row in rows if isinstance(row, dict))
            return {TOLD, SHEET, *(name for name in files if isinstance(name, str))}
        case _:
            return set()


def _put(hidden: Path, place: Path) -> None:
    """Rename a folder to its place; what stood there is gone only once the new one stands."""
    before = place.with_name(f".{secrets.token_hex(8)}")
    if place.exists():
        place.rename(before)
    try:
        hidden.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            before.rename(place)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _told(discovery: Discovery) -> dict[str, Any]:
    basis = discovery.basis
    frame = basis.latent.frames[0]
    rows = zip(discovery.found, file_names(discovery), strict=True)
    return {
        "record": {
            "versions": versions(),
            "model": ModelRecord.of(basis.latent.backbone),
            "picture": PictureRecord.of(frame.picture, frame.allowed),
            "caption": basis.latent.captions[0],
            "prompt": basis.prompt,
            "site": basis.site,
            "level": basis.level,
            "steps": basis.steps,
            "rank": len(basis),
            "seed": basis.seed,
        },
        "effect": EFFECT,
        "scales": SCALES,
        "directions": [_row(discovery, index, one, name) for index, (one, name) in enumerate(rows)],
        "random": {
            "equal length": [_walked(one) for one in discovery.equal_length],
            "equal effect": [_walked(one) for one in discovery.equal_effect],
        },
        "basis": {
            "iterations": basis.iterations,
            "products": basis.products,
            "converged": basis.converged,
            "evaluations": basis.evaluations,
            "notes": basis.notes,
        },
        "cost": discovery.cost,
    }


def _row(discovery: Discovery, index: int, one: Discovered, name: str) -> dict[str, Any]:
    basis, known = discovery.basis, one.direction.calibration
    sound = None if known is None else (known.lowest, known.highest)
    return {
        "file": name,
        "fingerprint": one.direction.fingerprint,
        **_walked(one.walked),
        "singular_value": float(basis.singular_values[index]),
        "residual": float(basis.residuals[index]),
        "sound": sound,
    }


def _walked(walked: Walked) -> dict[str, Any]:
    meaning = walked.meaning
    return {
        "name": meaning.name,
        "attribute": meaning.attribute,
        "purity": meaning.purity,
        "place": meaning.place,
        "length": walked.length,
        "effect": walked.effect,
        "changes": meaning.changes,
    }

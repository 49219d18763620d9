"""A discovery as a folder: the directions, a sheet of them, and all measurements in JSON."""

import contextlib
import json
import math
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from latentedit.api.discovery import SCALES, DirectionProbe, Discovery
from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.reading import read_json
from latentedit.directions.direction import save_direction
from latentedit.display.sheet import draw_grid
from latentedit.geometry.walks import EFFECT
from latentedit.latents.captions.base import to_images
from latentedit.latents.record import ModelRecord, PictureRecord, versions
from latentedit_keep.files import check_place, plain, user_path, write_text
from latentedit_keep.pictures import save_image

SHEET, FACTS = "directions.png", "discovered.json"

_PANEL_PX = 160  # width of a picture on the sheet
_NAME_LETTERS = 40  # maximum, of a file name without its number


def check_folder(folder: Path) -> None:
    """Check that `write_discovery` could write a folder, before any work is spent on it.

    A folder that holds anything but an earlier discovery is refused.
    """
    folder = user_path(folder, error=OutputError)
    if folder.is_dir():
        strangers = sorted({path.name for path in folder.iterdir()} - _listed(folder))
        if strangers:
            raise OutputError(
                f"The folder {folder} is neither empty nor an earlier discovery: it holds {strangers[0]!r}. "
                "Choose another folder"
            )
    elif folder.exists():
        raise OutputError(f"The output {folder} is a file, not a folder. Choose another name")
    check_place(folder.resolve().parent / f"{folder.resolve().name}.{secrets.token_hex(4)}")


def write_discovery(discovery: Discovery, folder: Path) -> dict[str, Any]:
    """Write the folder atomically, in place of an earlier discovery; returns the content of its JSON file."""
    check_folder(folder)
    facts = plain(_facts(discovery))
    target = user_path(folder, error=OutputError).resolve()
    hidden = target.with_name(f".{secrets.token_hex(8)}")
    try:
        hidden.mkdir()
        for one, name in zip(discovery.directions, file_names(discovery), strict=True):
            save_direction(one.direction, hidden / name)
        title = f"{facts['record']['picture']['name'] or 'picture'}: {len(discovery.directions)} directions"
        save_image(draw_discovery(discovery, title=title), hidden / SHEET)
        write_text(hidden / FACTS, json.dumps(facts, ensure_ascii=False, indent=1))
        _replace(hidden, target)
    except OSError as error:
        reason = str(error).replace(str(hidden), str(folder))
        text = reason if isinstance(error, OutputError) else f"The folder {folder} could not be written: {reason}"
        raise OutputError(text) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return facts


def draw_discovery(discovery: Discovery, *, title: str) -> Image.Image:
    """One direction a row: its name and measurements, then the picture moved by -2, -1, 0, 1 and 2 steps."""
    basis, scales = discovery.basis, sorted((0.0, *SCALES))
    images: list[Image.Image] = []
    for found in discovery.directions:
        pictures = dict(zip(SCALES, found.probe.pictures, strict=True))
        pictures[0.0] = basis.latent.frames[0].pixels.to(found.probe.pictures)
        images += to_images(torch.stack([pictures[scale] for scale in scales]))
    labels = [f"{scale:+g}" if scale else "the picture" for scale in scales] * len(discovery.directions)
    return draw_grid(
        images,
        labels,
        columns=len(scales),
        title=title,
        lines=(
            f"site {basis.site}, level {basis.level:.2f}, under {basis.prompt or 'no text'}",
            f"+1 and -1 change the clean latent by {EFFECT:g} (root mean square; latents have variance 1)",
        ),
        beside=[_description(discovery, index) for index in range(len(discovery.directions))],
        panel_px=_PANEL_PX,
    )


def _description(discovery: Discovery, index: int) -> str:
    """The attribute, its values in each sign, and the numbers, one a line."""
    meaning = discovery.directions[index].probe.meaning
    attribute, _, values = meaning.name.partition(": ")
    purity = "" if math.isnan(meaning.purity) else f"purity {meaning.purity:.2f}, "
    singular_value = f"singular value {float(discovery.basis.singular_values[index]):.3g}"
    lines = (f"{index + 1}  {attribute}", values, f"{purity}{meaning.place}", singular_value)
    return "\n".join(line for line in lines if line)


def file_names(discovery: Discovery) -> list[str]:
    """One a direction: its number and its name."""
    names: list[str] = []
    for index, one in enumerate(discovery.directions, start=1):
        words = re.sub(r"[^a-z0-9]+", "-", one.probe.meaning.name.lower()).strip("-")
        names.append(f"{index:02d}-{words[:_NAME_LETTERS].strip('-')}.safetensors")
    return names


def _listed(folder: Path) -> set[str]:
    """The files of an earlier discovery by its JSON file; none without one."""
    try:
        facts = read_json(folder / FACTS)
    except FileFormatError:
        return set()
    match facts:
        case {"record": {"versions": {"latentedit": str()}}, "directions": [*rows]}:
            return {
                FACTS,
                SHEET,
                *(file for row in rows if isinstance(row, dict) and isinstance(file := row.get("file"), str)),
            }
        case _:
            return set()


def _replace(hidden: Path, target: Path) -> None:
    """Rename a folder; what had its new name is deleted once that succeeded."""
    before = target.with_name(f".{secrets.token_hex(8)}")
    if target.exists():
        target.rename(before)
    try:
        hidden.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _facts(discovery: Discovery) -> dict[str, Any]:
    basis = discovery.basis
    frame = basis.latent.frames[0]
    return {
        "record": {
            "versions": versions(),
            "model": ModelRecord.of(basis.latent.backbone),
            "picture": PictureRecord.of(frame.picture, frame.allowed),
            "caption": basis.latent.captions[0],
            "rank": len(basis),
            **{name: getattr(basis, name) for name in ("prompt", "site", "level", "steps", "seed")},
        },
        "effect": EFFECT,
        "scales": SCALES,
        "directions": [_direction_facts(discovery, *row) for row in enumerate(file_names(discovery))],
        "random": {
            "equal length": [_probe_facts(probe) for probe in discovery.equal_length],
            "equal effect": [_probe_facts(probe) for probe in discovery.equal_effect],
        },
        "basis": {
            name: getattr(basis, name) for name in ("iterations", "products", "converged", "evaluations", "notes")
        },
        "cost": discovery.cost,
    }


def _direction_facts(discovery: Discovery, index: int, file: str) -> dict[str, Any]:
    found = discovery.directions[index]
    calibration = found.direction.calibration
    return {
        "file": file,
        "fingerprint": found.direction.fingerprint,
        **_probe_facts(found.probe),
        "singular_value": float(discovery.basis.singular_values[index]),
        "residual": float(discovery.basis.residuals[index]),
        "sound": None if calibration is None else (calibration.lowest, calibration.highest),
    }


def _probe_facts(probe: DirectionProbe) -> dict[str, Any]:
    return {**plain(probe.meaning), "length": probe.length, "effect": probe.effect}

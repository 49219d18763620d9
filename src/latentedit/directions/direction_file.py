"""A direction as one safetensors file: its tensors, what it is for, how it was found, and in which model."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import pydantic
import torch
from pydantic import Field, JsonValue
from torch import Tensor

from latentedit._version import __version__
from latentedit.core.condition import Condition
from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.reading import read_object
from latentedit.core.files.tensors import pack, read_tensor_file
from latentedit.directions.base import Calibration, Direction
from latentedit.models.base import Backbone
from latentedit_keep.files import check_place, written_beside

FORMAT = 1
"""Version of the file format; a higher one comes from a newer latentedit."""

ENDING = ".safetensors"
MAX_PREVIEW_BYTES = 1_000_000
MAX_FEATURE_NUMBERS = 16_000_000
"""Above the widest block of a U-Net, at the size of its input."""

_KEY = "latentedit.direction"
_PARTS = ("z", "tokens", "pooled")
_PREVIEW = "preview"
_FEATURE = "feature"
_MASK = "mask"
_PNG = b"\x89PNG\r\n\x1a\n"
_SHOWN_LETTERS = 80  # of a field's name from a file, in an error
_UNIT = 0.01  # how far a stored feature's length may be from 1: networks in half precision round that much

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Names = Annotated[tuple[_Name, ...], Field(strict=False, max_length=10_000)]
_Text = Annotated[str, Field(max_length=10_000)]
_Texts = Annotated[tuple[_Text, ...], Field(strict=False, max_length=10_000)]
_Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=2, max_length=1_000)]
_Level = Annotated[float, Field(ge=0, le=1)]


class _Stored(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class _StoredCalibration(_Stored):
    """A `Calibration`; None stands for an end that the range does not have, for JSON has no word for infinity."""

    arm: _Name
    level: _Level
    steps: Annotated[int, Field(ge=1, le=100_000)]
    scales: _Numbers
    effects: _Numbers
    lowest: float | None
    highest: float | None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "_StoredCalibration":
        if len(self.scales) != len(self.effects):
            raise ValueError("one effect a scale is needed")
        if not all(a < b for a, b in zip(self.scales, self.scales[1:], strict=False)):
            raise ValueError("scales have to rise")
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise ValueError("lowest has to be at most highest")
        return self


class _StoredDirection(_Stored):
    """What a file says beside the tensors, by the names of `Direction`."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    latentedit: _Name
    level: _Level
    method: _Name
    settings: dict[str, JsonValue]
    model_name: _Name
    model_fingerprint: _Name
    source_captions: _Texts
    target_captions: _Texts
    pictures: _Names
    calibration: _StoredCalibration | None
    licence: _Text
    instructed: bool = False
    notes: _Texts


_AS_IT_IS = _StoredDirection.model_fields.keys() - {"format", "latentedit", "settings", "calibration"}


def save_direction(direction: Direction, path: str | Path) -> None:
    """Write a direction to one file, whole or not at all; the same direction gives the same bytes.

    Tensors are stored in float32. All else is kept as it is, but that tuples among the settings become lists, and that
    the measured curvature is left out (what there is to know of it is among the notes).

    Args:
        direction: however it was found; the strengths of its calibration may be infinite, no other number.
        path: ends in ".safetensors".

    Raises:
        OutputError: another ending, or a place that cannot be written to.
        FileFormatError: what `load_direction` would refuse, such as captions of more than 10,000 letters.
    """
    check_direction_output(path)
    data = _packed(direction, "what is to be saved")
    with written_beside(path) as file:
        file.write(data)


def check_direction_output(path: str | Path) -> None:
    """Find out whether `save_direction` could write to a place, before any work is spent on it.

    Raises:
        OutputError: another ending, or a place that cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() != ENDING:
        raise OutputError(f"the file of a direction ends in {ENDING}; {path.name!r} does not. Rename it")
    check_place(path)


def load_direction(path: str | Path, *, model: Backbone | None = None) -> Direction:
    """Read a direction that may come from anyone.

    Args:
        path: a file that `save_direction` wrote.
        model: what the direction is for; its tensors go to the device of this model. Without one, any model's direction
            is read, and stays on the CPU.

    Raises:
        FileFormatError: no such file, no direction, a damaged or hostile file, or one of a newer format.
        ConfigError: a direction of another model.
    """
    tensors, metadata = read_tensor_file(path, allowed=(*_PARTS, _MASK, _PREVIEW, _FEATURE))
    if _KEY not in metadata:
        raise FileFormatError(f"{path} is no direction: it says nothing under {_KEY!r}. Check the path")
    stored = _read(metadata[_KEY], path)
    _check_tensors(tensors, path)
    device = torch.device("cpu") if model is None else model.device
    z, tokens, pooled = (tensors[name].to(device) for name in _PARTS)
    direction = Direction(
        z=z,
        condition=Condition(
            tokens=tokens, pooled=pooled, mask=tensors[_MASK].to(device, torch.bool) if _MASK in tensors else None
        ),
        settings=stored.settings,
        calibration=None if stored.calibration is None else _calibration(stored.calibration),
        preview=tensors[_PREVIEW].numpy().tobytes() if _PREVIEW in tensors else b"",
        feature=tensors[_FEATURE].to(device) if _FEATURE in tensors else None,
        **{name: getattr(stored, name) for name in _AS_IT_IS},
    )
    if model is not None:
        direction.check_model(model.name, model.fingerprint)
    return direction


def _packed(direction: Direction, name: str) -> bytes:
    """The content of the file, checked as it will be when it is read."""
    tensors = _tensors(direction)
    _check_tensors(tensors, name)
    text = json.dumps(_validated(_fields(direction), name).model_dump())
    _read(text, name)
    return pack(tensors, {_KEY: text})


def _tensors(direction: Direction) -> dict[str, Tensor]:
    parts = (direction.z, direction.condition.tokens, direction.condition.pooled)
    tensors = {name: part.detach().to("cpu", torch.float32) for name, part in zip(_PARTS, parts, strict=True)}
    if direction.condition.mask is not None:
        tensors[_MASK] = direction.condition.mask.to(torch.uint8)
    if direction.preview:
        tensors[_PREVIEW] = torch.frombuffer(bytearray(direction.preview), dtype=torch.uint8)
    if direction.feature is not None:
        tensors[_FEATURE] = direction.feature.detach().to("cpu", torch.float32)
    return tensors


def _fields(direction: Direction) -> dict[str, Any]:
    """What of a direction is stored as text, unchecked."""
    calibration = None
    if (known := direction.calibration) is not None:
        calibration = {name: getattr(known, name) for name in _StoredCalibration.model_fields} | {
            "lowest": None if known.lowest == -math.inf else known.lowest,
            "highest": None if known.highest == math.inf else known.highest,
        }
    return {name: getattr(direction, name) for name in _AS_IT_IS} | {
        "format": FORMAT,
        "latentedit": __version__,
        "settings": _plain(direction.settings),
        "calibration": calibration,
    }


def _calibration(stored: _StoredCalibration) -> Calibration:
    return Calibration(
        **stored.model_dump(exclude={"lowest", "highest"}),
        lowest=-math.inf if stored.lowest is None else stored.lowest,
        highest=math.inf if stored.highest is None else stored.highest,
    )


def _plain(value: Any) -> Any:
    """Settings with lists for tuples, and plain dictionaries."""
    match value:
        case Mapping():
            return {key: _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple():
            return [_plain(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _read(text: str, name: str | Path) -> _StoredDirection:
    """The text that lies beside the tensors, if it can be true."""
    try:
        told = read_object(text)
    except ValueError as error:
        raise _unsound(name, f"under {_KEY!r}, {error}") from error
    written = told.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise FileFormatError(
            f"{name} is a direction of format {written}, which a newer latentedit wrote; this one reads {FORMAT}. "
            "Update latentedit"
        )
    return _validated(told, name)


def _validated(told: Mapping[str, Any], name: str | Path) -> _StoredDirection:
    try:
        return _StoredDirection.model_validate(told)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = repr(".".join(map(str, first["loc"]))[:_SHOWN_LETTERS])
        raise _unsound(name, f"{where}: {first['msg'].removeprefix('Value error, ').lower()}") from None


def _check_tensors(tensors: Mapping[str, Tensor], name: str | Path) -> None:
    """Refuse tensors of which no direction can be made."""
    missing = [part for part in _PARTS if part not in tensors]
    if missing:
        raise _unsound(name, f"it lacks {', '.join(missing)}")
    parts = z, tokens, pooled = [tensors[part] for part in _PARTS]
    axes = z.ndim >= 2 and tokens.ndim == 3 and pooled.ndim == 2
    if not (axes and len(tokens) == len(pooled) and len({len(z), len(tokens)} - {1}) <= 1 and len(z) * len(tokens)):
        shapes = ", ".join(f"{part} {list(tensor.shape)}" for part, tensor in zip(_PARTS, parts, strict=True))
        raise _unsound(name, f"{shapes} are no z [b, ...], tokens [b, n, d] and pooled [b, p] of one batch")
    if not all(part.dtype == torch.float32 for part in parts):
        raise _unsound(name, f"{', '.join(_PARTS)} are not in float32")
    mask = tensors.get(_MASK)
    if mask is not None and (mask.dtype != torch.uint8 or mask.shape != tokens.shape[:2] or bool((mask > 1).any())):
        raise _unsound(name, "its mask is not one number 0 or 1 a token")
    feature = tensors.get(_FEATURE)
    if feature is not None and not (
        feature.dtype == torch.float32
        and feature.ndim >= 1
        and 1 <= feature.numel() <= MAX_FEATURE_NUMBERS
        and abs(float(torch.linalg.vector_norm(feature.double())) - 1) <= _UNIT
    ):
        raise _unsound(name, f"its feature is no float32 of length 1 with at most {MAX_FEATURE_NUMBERS} numbers")
    preview = tensors.get(_PREVIEW, torch.tensor(list(_PNG), dtype=torch.uint8))
    sound = preview.dtype == torch.uint8 and preview.ndim == 1 and len(preview) <= MAX_PREVIEW_BYTES
    if not sound or bytes(preview[: len(_PNG)].tolist()) != _PNG:
        raise _unsound(name, f"its preview is no PNG file of at most {MAX_PREVIEW_BYTES} bytes")


def _unsound(name: str | Path, problem: str) -> FileFormatError:
    return FileFormatError(f"{name} is no sound direction: {problem}. Make the direction again")

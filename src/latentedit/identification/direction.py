"""A direction: a displacement of the joint latent, which *Identify* finds and *Manipulate* applies, and its file.

A file is one safetensors file: the tensors of `Direction`, and its other fields as JSON among the metadata.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, cast

import pydantic
import torch
from jaxtyping import Float
from pydantic import AfterValidator, Field, JsonValue
from torch import Tensor

from latentedit._version import __version__
from latentedit.core.errors import ConfigError, FileFormatError, Hinted
from latentedit.core.files import atomic_file, check_format, check_place, read_object
from latentedit.core.setting import Share
from latentedit.encoding.captions.base import shortened
from latentedit.encoding.captions.change import change_words
from latentedit.encoding.record import first_fault
from latentedit.models.registry import ModelLike, as_backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.tensor_files import pack_tensors, read_tensor_file

Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Name, ...], Field(max_length=10_000)]
Text = Annotated[str, Field(max_length=10_000)]
Texts = Annotated[tuple[Text, ...], Field(max_length=10_000)]
Numbers = Annotated[tuple[float, ...], Field(min_length=2, max_length=1_000)]

FORMAT = 1  # version of the file format
ENDING = ".safetensors"
MAX_PREVIEW_BYTES = 1_000_000
# Least share of the clean latent in a latent at a level. At level 1 there is none, and a displacement would not act.
_LEAST_SHARE = 0.01
_KEY = "latentedit.direction"
_PARTS = ("z", "tokens", "pooled")
_PREVIEW, _FEATURE, _MASK = "preview", "feature", "mask"
_UNIT = 0.01  # tolerance of a stored feature's length of 1: networks in half precision round that much
# A file may come from anyone: unknown fields, other types, nan and infinity are errors.
_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EffectCalibration:
    """Strength against effect on the images on which a direction was found, and the range without damage.

    Args:
        arm: which part of the joint latent was moved.
        level: noise level to which the text and joint arms went.
        steps: of the model's full grid.
        scales: multiples of the direction.
        effects: share of the full change that each scale made, mean over the images.
        lowest: strength below which the first of the images is damaged.
        highest: strength above which the first of the images is damaged.
    """

    __pydantic_config__: ClassVar = _STRICT

    arm: Name
    level: Share
    steps: Annotated[int, Field(ge=1, le=100_000)]
    scales: Numbers
    effects: Numbers
    lowest: float
    highest: float


def _ordered(calibration: EffectCalibration) -> EffectCalibration:
    rising = all(a < b for a, b in itertools.pairwise(calibration.scales))
    ordered = calibration.lowest <= calibration.highest
    if len(calibration.scales) != len(calibration.effects) or not rising or not ordered:
        raise ValueError("it needs one effect per scale, rising scales, and lowest at most highest")
    return calibration


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction(Hinted):
    """A displacement of clean latent and text, at strength 1.

    The annotations say what a file may hold; they are checked when one is saved or loaded.

    Args:
        z: displacement of the clean latent (a displacement of x, not a velocity and not a score).
        condition: displacement of the text, target minus source.
        level: the highest noise level of the search.
        method: name of the search.
        settings: settings of the method, plain values.
        model_name: name of its model.
        model_fingerprint: fingerprint of the model's weights.
        source_captions: captions of the images on which it was found, one per image; may be empty.
        target_captions: target captions, one per image; may be empty.
        images: fingerprints of those images, see `JointLatent.images`.
        calibration: strength against effect, if measured.
        license: license of the direction; may be empty.
        preview: a small PNG file of its effect; may be empty.
        feature: change of the feature at ``settings["site"]``, of unit length, that it makes where it was found; None
            if unknown. With it a direction can be transported to another image.
        instructed: whether its texts are instructions instead of captions.
        notes: what the user should know about the search, as sentences.
    """

    z: Float[Tensor, "b *latent"]
    condition: Condition
    level: Share
    method: Name
    settings: Mapping[str, Any]
    model_name: Name
    model_fingerprint: Name
    source_captions: Texts = ()
    target_captions: Texts = ()
    images: Names = ()
    calibration: Annotated[EffectCalibration, AfterValidator(_ordered)] | None = None
    license: Text = ""
    preview: bytes = b""
    feature: Float[Tensor, "*feature"] | None = None
    instructed: bool = False
    notes: Texts = ()

    def __len__(self) -> int:
        return len(self.z)

    def __repr__(self) -> str:
        worded = self.source_captions and self.target_captions
        change = f' "{change_words(self.source_captions[0], self.target_captions[0])}"' if worded else ""
        return f"<Direction {shortened(f'{self.method} of {self.model_name}{change}', 100)}>"

    def __call__(self, *_: object) -> NoReturn:
        raise ConfigError("a direction is applied by an edit. Give direction=[a, b], strength=0.5 to latentedit.edit")

    __mul__ = __rmul__ = __matmul__ = __add__ = __radd__ = __sub__ = __truediv__ = __call__

    def __neg__(self) -> "Direction":
        """The opposite change: from the target text to the source text."""
        return dataclasses.replace(
            self,
            z=-self.z,
            condition=self.condition * -1.0,
            source_captions=self.target_captions,
            target_captions=self.source_captions,
            # Measurements and previews hold for the other sense only: not every change has an opposite.
            calibration=None,
            preview=b"",
            feature=None if self.feature is None else -self.feature,
        )

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the direction's tensors and its model."""
        digest = hashlib.sha256(self.model_fingerprint.encode())
        for part in (self.z, self.condition.tokens, self.condition.pooled):
            values = part.detach().to("cpu", torch.float32).contiguous()
            digest.update(f"{list(values.shape)}".encode() + values.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def moves_nothing(self) -> bool:
        """Whether image part and text part are both zero."""
        return not bool(self.length.any()) and not self.moves_text

    @property
    def length(self) -> Float[Tensor, " b"]:
        """The norm of each image's displacement; 0 where the target text is the source text."""
        return torch.linalg.vector_norm(self.z.flatten(1), dim=1)

    @property
    def moves_text(self) -> bool:
        """Whether the text part is not zero."""
        return bool(self.condition.tokens.any() or self.condition.pooled.any())

    def to(self, device: torch.device) -> "Direction":
        """The same direction with displacement, text and feature on another device."""
        if self.z.device == device:
            return self
        return dataclasses.replace(
            self,
            z=self.z.to(device),
            condition=self.condition.to(device),
            feature=None if self.feature is None else self.feature.to(device),
        )

    def row(self, index: int) -> "Direction":
        """The direction of one image; if one is for all, itself."""
        if len(self) == 1:
            return self
        row = slice(index, index + 1)
        return dataclasses.replace(
            self,
            z=self.z[row],
            condition=self.condition.expand(len(self))[row],
            source_captions=self.source_captions[row],
            target_captions=self.target_captions[row],
            images=self.images[row],
        )

    def mean(self) -> "Direction":
        """One direction for any image: the mean over the images on which this one was found."""
        if len(self) == 1:
            return self
        mask = self.condition.mask
        condition = Condition(
            tokens=self.condition.tokens.mean(0, keepdim=True),
            pooled=self.condition.pooled.mean(0, keepdim=True),
            mask=None if mask is None else mask.any(0, keepdim=True),
        )
        # A feature belongs to the image where it was found, and the mean of unit vectors is not one.
        return dataclasses.replace(self, z=self.z.mean(0, keepdim=True), condition=condition, feature=None)

    def save(self, path: str | Path) -> Path:
        """Write the direction to FILE.safetensors, atomically; the same direction gives the same bytes.

        The ending is appended to a path without it; the path of the file is returned.
        Tensors are stored in float32. Values that `load` would refuse, such as captions of more than 10,000 letters,
        are a `FileFormatError`; a direction of a model without a fingerprint is a `ConfigError`.
        """
        if not self.model_fingerprint:
            raise ConfigError(
                f"the model {self.model_name!r} has no fingerprint, so no file can say to which model the direction "
                "belongs. Give the model a `fingerprint`, and find the direction again"
            )
        path = check_direction_output(path)
        tensors, name = _tensors(self), "the direction"
        if (fault := _fault(tensors)) is not None:
            raise _invalid(name, fault)
        stated = {"format": FORMAT, "latentedit": __version__} | {field: getattr(self, field) for field in _STATED}
        text = json.dumps(stated, default=_plain)
        _read(text, name)
        data = pack_tensors(tensors, {_KEY: text})
        with atomic_file(path) as file:
            file.write(data)
        return path

    @classmethod
    def load(cls, path: str | Path, *, model: ModelLike | None = None) -> "Direction":
        """Read a direction from a file, which may come from anyone.

        Without a model, any model's direction is read, and stays on the CPU. One of another model is a `ConfigError`, a
        file that is missing, damaged, not a direction or of another format a `FileFormatError`.
        """
        tensors, metadata = read_tensor_file(path, allowed=(*_PARTS, _MASK, _PREVIEW, _FEATURE))
        if _KEY not in metadata:
            raise FileFormatError(f"{path} is not a direction: its metadata lack {_KEY!r}. Check the path")
        stored = _read(metadata[_KEY], path)
        if (fault := _fault(tensors)) is not None:
            raise _invalid(path, fault)
        model = None if model is None else as_backbone(model)
        device = torch.device("cpu") if model is None else model.device
        z, tokens, pooled = (tensors[name].to(device) for name in _PARTS)
        mask, preview, feature = (tensors.get(name) for name in (_MASK, _PREVIEW, _FEATURE))
        direction = cls(
            z=z,
            condition=Condition(
                tokens=tokens, pooled=pooled, mask=None if mask is None else mask.to(device, torch.bool)
            ),
            preview=b"" if preview is None else preview.numpy().tobytes(),
            feature=None if feature is None else feature.to(device),
            **{name: getattr(stored, name) for name in _STATED},
        )
        if model is not None:
            direction.check_model(model.name, model.fingerprint)
        return direction

    def check_model(self, name: str, fingerprint: str) -> None:
        """Raise a `ConfigError` if the direction was found in another model."""
        if fingerprint != self.model_fingerprint or (not fingerprint and name != self.model_name):
            raise ConfigError(
                f"the direction was found in another model, {self.model_name!r} ({self.model_fingerprint}), than "
                f"{name!r} ({fingerprint}). Identify it again with this model"
            )


def clean_share(level: float) -> float:
    """The share of the clean latent in a latent at a level, ``1 - level``, but at least 0.01; see `local_basis`."""
    return max(1 - level, _LEAST_SHARE)


def lives_at_level(direction: Direction) -> bool:
    """Whether a direction moves images at its own level: it moves no text, and stores the steps of the inversion."""
    return "steps" in direction.settings and not direction.moves_text


def is_unconditional(directions: Sequence[Direction]) -> bool:
    """Whether all directions were found at a level under no text, so that no caption of the images matters."""
    return bool(directions) and all(
        lives_at_level(direction) and direction.source_captions and not any(direction.source_captions)
        for direction in directions
    )


def _plain(value: Any) -> dict[str, Any]:
    """Plain JSON values for a calibration and for read-only settings."""
    if isinstance(value, EffectCalibration):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise FileFormatError(f"settings of a direction are numbers, text, lists and mappings; got {value!r:.60}")


_TYPES = {field.name: field.type for field in dataclasses.fields(Direction)}
# Fields that are stored as text; the others are tensors.
_STATED = tuple(name for name in _TYPES if name not in ("z", "condition", _PREVIEW, _FEATURE))
_required: dict[str, Any] = {
    "format": Annotated[int, Field(ge=FORMAT, le=FORMAT)],
    "latentedit": Name,
    **{name: _TYPES[name] for name in _STATED},
    "settings": dict[str, JsonValue],
}
_stored: dict[str, Any] = {name: (kind, ...) for name, kind in _required.items()}
_Stored = pydantic.create_model("_Stored", __config__=_STRICT, **_stored)


def check_direction_output(path: str | Path) -> Path:
    """The file that `Direction.save` writes for a path; checks that it can, before any work is spent on it."""
    path = Path(path)
    path = path if path.suffix.lower() == ENDING else path.with_name(path.name + ENDING)
    check_place(path)
    return path


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


def _read(text: str, name: str | Path) -> pydantic.BaseModel:
    """The fields of a file besides the tensors, named as in `Direction`."""
    try:
        fields = read_object(text)
    except ValueError as error:
        raise _invalid(name, f"under {_KEY!r}, {error}") from error
    check_format(fields, f"the direction {name}", FORMAT)
    try:
        return _Stored.model_validate_json(json.dumps(fields))  # strict types take lists for tuples only from JSON
    except pydantic.ValidationError as error:
        raise _invalid(name, first_fault(error)) from None


def _fault(tensors: Mapping[str, Tensor]) -> str | None:
    """The fault of a file's tensors, if there is one."""
    missing = [part for part in _PARTS if part not in tensors]
    if missing:
        return f"it lacks {', '.join(missing)}"
    parts = z, tokens, pooled = [tensors[part] for part in _PARTS]
    axes = z.ndim >= 2 and tokens.ndim == 3 and pooled.ndim == 2
    # One text may be that of all images, and one displacement for all texts.
    if not (axes and len(tokens) == len(pooled) and len({len(z), len(tokens)} - {1}) <= 1 and len(z) * len(tokens)):
        shapes = ", ".join(f"{part} {list(tensor.shape)}" for part, tensor in zip(_PARTS, parts, strict=True))
        return f"{shapes} are not z [b, ...], tokens [b, n, d] and pooled [b, p] of one batch"
    mask, feature, preview = (tensors.get(part) for part in (_MASK, _FEATURE, _PREVIEW))
    if mask is not None and (mask.dtype != torch.uint8 or mask.shape != tokens.shape[:2] or bool((mask > 1).any())):
        return "its mask is not one number 0 or 1 per token"
    vectors = [*parts, *([] if feature is None else [feature])]
    unit = feature is None or (feature.ndim >= 1 and abs(float(feature.double().norm()) - 1) <= _UNIT)
    if not (unit and all(part.dtype == torch.float32 for part in vectors)):
        return "its tensors are not float32, with a feature of length 1"
    if preview is not None and (preview.dtype != torch.uint8 or not 1 <= preview.numel() <= MAX_PREVIEW_BYTES):
        return f"its preview is not a file of at most {MAX_PREVIEW_BYTES} bytes"
    return None


def _invalid(name: str | Path, problem: str) -> FileFormatError:
    return FileFormatError(f"{name} is not a valid direction: {problem}. Save the direction again")

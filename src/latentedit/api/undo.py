"""The way back from an edited picture to the picture before.

An edit is ``y = x + F(x)`` with ``F(x) = D(E(x) + d) - D(E(x))``, E and D the codec, d the displacement. Two ways back:

- the joint latent that a written PNG carries has ``z = E(x)`` and ``z + d``, so ``x = y - (D(z + d) - D(z))``. What
  this misses (half precision, pixels that were clipped, and changes that were carried on beyond the region that the
  model saw, see `latents.crop`) is little, and lies beside it, compressed: on the same machine x is exact;
- without it, x is the fixed point of ``x -> y - F(x)``. It is looked for in a few rounds, each a look through the codec
  and no evaluation of the network, from where -d leads from y, ``y + D(E(y) - d) - D(E(y))``.

Derived here.
"""

import dataclasses
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentedit.api.outputs import beside_file, write_together
from latentedit.core.errors import ConfigError, FileFormatError, ShapeError
from latentedit.core.files.pictures import save_image, strips
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.base import Direction
from latentedit.editors.base import check_strength
from latentedit.editors.eim import EIM
from latentedit.editors.local_change import local_change
from latentedit.editors.registry import localizes
from latentedit.latents.crop import Box
from latentedit.latents.encode import fit_all
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Frame, Picture
from latentedit.latents.record import DirectionRecord, ModelRecord, PictureRecord, RunRecord, versions
from latentedit.models.base import Backbone

ROUNDS = 5
"""Of the fixed point; on the calibration portraits more did not come closer."""

METHOD = "undo"
"""What records of undone pictures call it."""

_PARTS = ("start", "moved", "allowed", "missed")
_SHOWN_LETTERS = 80
_REGION = re.compile(r"(-?\d{1,6}) (-?\d{1,6}) ([1-9]\d{0,5}) ([1-9]\d{0,5})", re.ASCII)
_MOST_TIMES = 4
"""How much longer than the picture a region may be."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Undone:
    """A picture as it was before an edit.

    Args:
        image: the picture.
        how: from the joint latent that the file carries, or from a direction.
        record: enough to do it again.
    """

    image: Image.Image
    how: Literal["stored latent", "direction"]
    record: RunRecord

    def save(self, path: str | Path) -> None:
        """Write the picture with the record of the undoing, and the JSON beside it; both or neither.

        Raises:
            OutputError: a place that cannot be written to, or where the JSON of something else lies.
        """
        text = self.record.to_json()
        picture = (Path(path), lambda place: save_image(self.image, place, record=text))
        write_together([picture, beside_file(path, self.record, [])])


@torch.no_grad()
def stored_latent(latent: JointLatent, edited: Image.Image, *, local: bool) -> bytes:
    """All that undoing an edit needs: the latent before and after, in half precision, and what it misses.

    Args:
        latent: of the edited picture, with the latent that it was moved from.
        edited: the picture as it is written.
        local: the change was kept to where it is strong.
    """
    (frame,), start = latent.frames, latent.z if latent.start is None else latent.start
    tensors = {"start": start.to(torch.float16), "moved": latent.z.to(torch.float16)}
    picture = Picture(image=edited)
    undone = _less(dataclasses.replace(frame, picture=picture), _change(latent.backbone, tensors), local=local)
    if (missed := _missed(frame.picture.image, undone)) is not None:
        tensors["missed"] = missed
    region = {} if frame.region is None else {"region": " ".join(map(str, frame.region))}
    if frame.allowed is not None:
        tensors["allowed"] = _compressed(frame.allowed)
    about = {"model": latent.backbone.fingerprint, "picture": picture.fingerprint, "local": str(int(local))}
    return pack(tensors, about | region)


@torch.no_grad()
def undo_stored(model: Backbone, picture: Picture, payload: bytes) -> Undone:
    """The picture before, from the joint latent that its file carries.

    Raises:
        FileFormatError: a damaged payload, or one of other pixels.
        ConfigError: a payload of another model.
    """
    name = str(picture.path or "the picture")
    tensors, about = unpack(payload, name, allowed=_PARTS)
    if about.get("picture") != picture.fingerprint:
        raise FileFormatError(
            f"the pixels of {name} were changed since its joint latent was stored with them. Undo with the direction's "
            "file"
        )
    if about.get("model") != model.fingerprint:
        raise ConfigError(
            f"{model.name!r} ({model.fingerprint}) is not the model that edited the picture, "
            f"{str(about.get('model'))[:_SHOWN_LETTERS]!r}. Give that one with `model`"
        )
    frame = picture.fit(model.capabilities, region=_region(about.get("region"), picture, name))
    shape = (1, *model.latent_shape(*frame.pixels.shape[-2:]))
    if any(name not in tensors or tuple(tensors[name].shape) != shape for name in ("start", "moved")):
        raise FileFormatError(
            f"the latents in {name} are missing, or not of shape {list(shape)}. Undo with the direction's file"
        )
    if "allowed" in tensors:
        allowed = _levels(tensors["allowed"], picture.size[::-1], f"the mask in {name}")
        frame = dataclasses.replace(frame, allowed=allowed)
    local = about.get("local") == "1"
    image = _less(frame, _change(model, tensors), local=local)
    if "missed" in tensors:
        pixels = np.asarray(image)
        whole = Image.fromarray(pixels + _levels(tensors["missed"], pixels.shape, f"what is missed in {name}"))
        whole.info.update(image.info)
        image = whole
    return Undone(image=image, how="stored latent", record=_record(model, picture, (), local=local))


@torch.no_grad()
def undo_direction(
    model: Backbone, picture: Picture, direction: Direction, *, strength: float = 1.0, local: bool | None = None
) -> Undone:
    """The picture before an edit by a direction, from nothing but the edited pixels.

    Args:
        model: in which the edit was made.
        direction: by which it was moved; one, for one picture.
        strength: at which.
        local: the edit kept its change to where it is strong; what suits the model by default, as in edits.

    Raises:
        ConfigError: a direction of another model, or a strength that is no finite number.
        ShapeError: a direction of several pictures, or of another shape.

    Cost:
        No evaluation of the network; ``ROUNDS + 1`` encodings and twice as many decodings.
    """
    check_strength(strength)
    local = localizes(EIM, model) if local is None else local
    direction.check_model(model.name, model.fingerprint)
    edited, guess = fit_all(model, [picture])[0], picture
    for back in (True, *[False] * ROUNDS):
        seen = guess.fit(model.capabilities, region=edited.region)
        z = model.encode(seen.pixels[None].to(model.device, model.dtype))
        if direction.z.shape != z.shape:
            raise ShapeError(
                f"the direction does not fit latents of shape {list(z.shape)}; got one of {list(direction.z.shape)}"
            )
        far = model.decode(z + (-strength if back else strength) * direction.z.to(z))
        change = model.decode(z) - far if back else far - model.decode(z)
        guess = Picture.from_image(_less(edited, change, local=local))
    applied = DirectionRecord(
        fingerprint=direction.fingerprint,
        method=direction.method,
        settings=dict(direction.settings),
        strength=strength,
        target_caption="",
        given=True,
    )
    record = _record(model, picture, (applied,), local=local)
    return Undone(image=guess.image, how="direction", record=record)


def undo_again(
    record: RunRecord, model: Backbone, picture: Picture, payload: bytes | None, directions: Sequence[Direction]
) -> Undone:
    """Do again what the record of an undone picture says.

    Args:
        model: of the edit.
        payload: that its file carries.
        directions: those that came from files.

    Raises:
        ConfigError: another picture than the record's, or a direction or latent that is missing.
    """
    record.check_picture(picture)
    if not record.directions:
        if payload is None:
            raise ConfigError(f"{record.picture.name!r} does not carry the latent of its edit")
        return undo_stored(model, picture, payload)
    (applied,) = record.directions[:1]
    for direction in directions:
        if direction.fingerprint == applied.fingerprint:
            return undo_direction(model, picture, direction, strength=applied.strength, local=record.local)
    raise ConfigError(
        f"the direction {applied.fingerprint} that was applied is missing. Give its file with `directions`"
    )


def _record(model: Backbone, picture: Picture, directions: tuple[DirectionRecord, ...], *, local: bool) -> RunRecord:
    return RunRecord(
        method=METHOD,
        settings={},
        seed=0,
        model=ModelRecord.of(model),
        versions=versions(),
        picture=PictureRecord.of(picture),
        caption="",
        target_caption="",
        strengths=(1.0,),
        directions=directions,
        local=local,
        evaluations=0,
    )


def _less(frame: Frame, change: Float[Tensor, "1 3 h w"], *, local: bool) -> Image.Image:
    return frame.restore(-(local_change(change) if local else change)[0])


def _region(stored: str | None, picture: Picture, name: str) -> Box | None:
    """Where in the picture the edit took place, as four numbers between spaces; some of it lies inside."""
    if stored is None:
        return None
    found = _REGION.fullmatch(stored)
    box = (0, 0, 0, 0) if found is None else (int(found[1]), int(found[2]), int(found[3]), int(found[4]))
    (left, top, width, height), (picture_width, picture_height) = box, picture.size
    overlaps = -width < left < picture_width and -height < top < picture_height
    if not (overlaps and max(width, height) <= _MOST_TIMES * max(picture.size)):
        raise FileFormatError(
            f"the region in {name} is not four numbers within the picture. Undo with the direction's file"
        )
    return box


def _change(model: Backbone, tensors: Mapping[str, Tensor]) -> Float[Tensor, "1 3 h w"]:
    """What the edit changed, from the stored latents."""
    start, moved = (tensors[part].to(model.device, model.dtype) for part in ("start", "moved"))
    return model.decode(moved) - model.decode(start)


def _missed(wanted: Image.Image, got: Image.Image) -> Tensor | None:
    """What one picture differs from another, modulo 256, as `_compressed` packs it; None where they are the same."""
    packer, packed, differs = zlib.compressobj(), bytearray(), False
    for strip in strips(wanted.size):
        rows = np.asarray(wanted.crop(strip)) - np.asarray(got.crop(strip))
        differs = differs or bool(rows.any())
        packed += packer.compress(rows.tobytes())
    packed += packer.flush()
    return torch.frombuffer(packed, dtype=torch.uint8) if differs else None


def _compressed(levels: NDArray[np.uint8]) -> Tensor:
    """Levels of all pixels; most masks are two flat regions, and what is missed is mostly zero."""
    return torch.frombuffer(bytearray(zlib.compress(levels.tobytes())), dtype=torch.uint8)


def _levels(stored: Tensor, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    """What `_compressed` made, of this shape."""
    count = math.prod(shape)
    packed = stored.numpy().tobytes() if stored.dtype == torch.uint8 else b""
    try:
        levels = zlib.decompressobj().decompress(packed, count + 1)
    except zlib.error:
        levels = b""
    if len(levels) != count:
        raise FileFormatError(f"{what} does not have the picture's size. Undo with the direction's file")
    return np.frombuffer(levels, dtype=np.uint8).reshape(shape)

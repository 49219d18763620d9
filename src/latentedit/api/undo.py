"""The way back from an edited picture to the picture before.

A PNG that `EditResult.save` wrote carries the difference between its source and its own pixels, modulo 256. Adding the
two gives the source, bit for bit and without a model.

Without that, an edit by a direction is ``y = x + F(x)`` with ``F(x) = D(E(x) + d) - D(E(x))``, E and D the codec, d the
displacement, and x is the fixed point of ``x -> y - F(x)``. It is looked for in a few rounds, each a look through the
codec and no evaluation of the network, from where -d leads from y, ``y + D(E(y) - d) - D(E(y))``. Derived here.

Earlier versions stored ``z = E(x)`` and ``z + d`` in half precision, and what ``y - (D(z + d) - D(z))`` misses of x.
Their files are still undone, in the model that made the edit.
"""

import dataclasses
import io
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageChops
from torch import Tensor

from latentedit.core.errors import ConfigError, FileFormatError, ImageError, ShapeError
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.direction import Direction
from latentedit.editors.base import check_strength
from latentedit.editors.eim import EIM
from latentedit.editors.local_change import local_change
from latentedit.editors.registry import localizes
from latentedit.latents.crop import Box
from latentedit.latents.encode import fit_all
from latentedit.latents.pictures import Frame, Picture
from latentedit.models.base import Backbone
from latentedit_keep.pictures import read_chunks, read_image

ROUNDS = 5
"""Of the fixed point; on the calibration portraits more did not come closer."""

_PARTS = ("difference", "start", "moved", "allowed", "missed")  # the last four only in files of earlier versions
_SHOWN_LETTERS = 80
_REGION = re.compile(r"(-?\d{1,6}) (-?\d{1,6}) ([1-9]\d{0,5}) ([1-9]\d{0,5})", re.ASCII)
_MOST_TIMES = 4
"""How much longer than the picture a region may be."""


def undo(path: str | Path, *, model: Backbone | None = None) -> Image.Image:
    """The picture before an edit, bit for bit, from the PNG that `EditResult.save` wrote.

    The pixels come back as the source was read: at its size, upright, in 8-bit RGB or RGBA, with what it says of
    colours, size and rights. Palettes and further bits are not read, and so do not come back.

    Args:
        path: of the edited picture.
        model: that made the edit; only files of earlier versions need it.

    Raises:
        ImageError: no picture.
        FileFormatError: a file that carries nothing of ours, or is damaged, or pixels that were changed since.
        ConfigError: a file of an earlier version, and no model or another one.
    """
    payload = read_chunks(path)[1]
    if payload is None:
        raise FileFormatError(
            f"{path} does not carry the picture before; only an edited PNG as latentedit wrote it does. Undo with the "
            "direction that was applied (`direction`)"
        )
    return undo_stored(Picture.open(path), payload, model=model)


def difference(source: Image.Image, edited: Image.Image) -> bytes:
    """What turns an edited picture back into its source, for `undo_stored`.

    Args:
        source: RGB or RGBA.
        edited: of the same size and mode.
    """
    missing, packed = ImageChops.subtract_modulo(source, edited), io.BytesIO()
    missing.info.clear()  # no second copy of the colour profile
    missing.save(packed, format="PNG")
    about = {"picture": Picture(image=edited).fingerprint, "source": Picture(image=source).fingerprint}
    return pack({"difference": torch.frombuffer(bytearray(packed.getvalue()), dtype=torch.uint8)}, about)


def undo_stored(picture: Picture, payload: bytes, *, model: Backbone | None = None) -> Image.Image:
    """The picture before, from an edited picture and the payload of its PNG; see `undo`.

    Raises:
        FileFormatError: a damaged payload, or one of other pixels.
        ConfigError: a payload of an earlier version, and no model or another one.
    """
    name = str(picture.path or "the picture")
    tensors, about = unpack(payload, name, allowed=_PARTS)
    if about.get("picture") != picture.fingerprint:
        raise FileFormatError(
            f"the pixels of {name} were changed since latentedit wrote it. Take the file as it was, or undo with the "
            "direction's file"
        )
    if "difference" not in tensors:
        return _from_latents(model, picture, tensors, about, name)
    try:
        missing = read_image(f"the difference in {name}", content=tensors["difference"].numpy().tobytes())
        image = ImageChops.add_modulo(picture.image, missing)
    except (ImageError, ValueError) as error:  # Pillow's, of other modes
        raise _damaged(name) from error
    image.info = {key: value for key, value in picture.image.info.items() if key != "notes"}
    if Picture(image=image).fingerprint != about.get("source"):
        raise _damaged(name)
    return image


def _damaged(name: str) -> FileFormatError:
    return FileFormatError(f"the difference to the picture before is damaged in {name}. Undo with the direction's file")


@torch.no_grad()
def undo_direction(
    model: Backbone, picture: Picture, direction: Direction, *, strength: float = 1.0, local: bool | None = None
) -> Image.Image:
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
    return guess.image


@torch.no_grad()
def _from_latents(
    model: Backbone | None, picture: Picture, tensors: Mapping[str, Tensor], about: Mapping[str, str], name: str
) -> Image.Image:
    """The picture before, as earlier versions stored it."""
    if model is None:
        raise ConfigError(
            f"{name} was written by an earlier latentedit, so that undoing it takes the model that made the edit. Give "
            "it with `model`"
        )
    if about.get("model") != model.fingerprint:
        raise ConfigError(
            f"{model.name!r} ({model.fingerprint}) is not the model that edited the picture, "
            f"{str(about.get('model'))[:_SHOWN_LETTERS]!r}. Give that one with `model`"
        )
    frame = picture.fit(model.capabilities, region=_region(about.get("region"), picture, name))
    shape = (1, *model.latent_shape(*frame.pixels.shape[-2:]))
    if any(part not in tensors or tuple(tensors[part].shape) != shape for part in ("start", "moved")):
        raise FileFormatError(
            f"the latents in {name} are missing, or not of shape {list(shape)}. Undo with the direction's file"
        )
    if "allowed" in tensors:
        allowed = _levels(tensors["allowed"], picture.size[::-1], f"the mask in {name}")
        frame = dataclasses.replace(frame, allowed=allowed)
    start, moved = (model.decode(tensors[part].to(model.device, model.dtype)) for part in ("start", "moved"))
    image = _less(frame, moved - start, local=about.get("local") == "1")
    if "missed" not in tensors:
        return image
    pixels = np.asarray(image)
    whole = Image.fromarray(pixels + _levels(tensors["missed"], pixels.shape, f"what is missed in {name}"))
    whole.info.update(image.info)
    return whole


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


def _levels(stored: Tensor, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    """Compressed levels of all pixels, in this shape."""
    count = math.prod(shape)
    packed = stored.numpy().tobytes() if stored.dtype == torch.uint8 else b""
    try:
        levels = zlib.decompressobj().decompress(packed, count + 1)
    except zlib.error:
        levels = b""
    if len(levels) != count:
        raise FileFormatError(f"{what} does not have the picture's size. Undo with the direction's file")
    return np.frombuffer(levels, dtype=np.uint8).reshape(shape)

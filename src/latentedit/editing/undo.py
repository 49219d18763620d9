"""The way back from an edited image to the image before.

A PNG that `EditResult.save` wrote carries the difference between its source and its own pixels, modulo 256. The sum of
the two is the source, bit for bit and without a model.

Without that, an edit by a direction is ``y = x + F(x)`` with ``F(x) = D(E(x) + d) - D(E(x))``, E and D the codec and d
the displacement, and x is the fixed point of ``x -> y - F(x)``. A few rounds look for it, each through the codec and
without the network, from where -d leads from y, ``y + D(E(y) - d) - D(E(y))``. Derived here.
"""

import io
from pathlib import Path

import torch
from PIL import Image, ImageChops

from latentedit.core.errors import FileFormatError, ImageError, ShapeError
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.direction import Direction
from latentedit.directions.preserve import local_change
from latentedit.editors.base import check_strength
from latentedit.editors.eim import EIM
from latentedit.editors.registry import localizes
from latentedit.latents.encode import fit_all
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone
from latentedit_keep.pictures import read_chunks, read_image

ROUNDS = 5  # rounds of the fixed point; on the calibration portraits more did not come closer


def undo(path: str | Path) -> Image.Image:
    """The image before an edit, bit for bit, from the PNG that `EditResult.save` wrote.

    The pixels come back as the source was read: at its size, upright, in 8-bit RGB or RGBA, with its colour profile,
    resolution and copyright. Palettes and deeper colours are not read, and so do not come back.

    Raises:
        ImageError: no image.
        FileFormatError: a file that does not carry the difference, or a damaged one, or pixels that were changed since.
    """
    payload = read_chunks(path)[1]
    if payload is None:
        raise FileFormatError(
            f"{path} does not carry the picture before; only an edited PNG as latentedit wrote it does. Undo with the "
            "direction that was applied (`direction`)"
        )
    return undo_stored(Picture.open(path), payload)


def difference(source: Image.Image, edited: Image.Image) -> bytes:
    """What turns an edited image back into its source, for `undo_stored`; both RGB or RGBA, of one size."""
    missing, packed = ImageChops.subtract_modulo(source, edited), io.BytesIO()
    missing.info.clear()  # no second copy of the colour profile
    missing.save(packed, format="PNG")
    about = {"picture": Picture(image=edited).fingerprint, "source": Picture(image=source).fingerprint}
    return pack({"difference": torch.frombuffer(bytearray(packed.getvalue()), dtype=torch.uint8)}, about)


def undo_stored(picture: Picture, payload: bytes) -> Image.Image:
    """The image before, from an edited image and the payload of its PNG; errors as `undo`."""
    name = str(picture.path or "the picture")
    tensors, about = unpack(payload, name, allowed=("difference",))
    if about.get("picture") != picture.fingerprint:
        raise FileFormatError(
            f"the pixels of {name} were changed since latentedit wrote it. Take the file as it was, or undo with the "
            "direction's file"
        )
    damaged = FileFormatError(
        f"the difference to the picture before is damaged in {name}. Undo with the direction's file"
    )
    try:
        missing = read_image(f"the difference in {name}", content=tensors["difference"].numpy().tobytes())
        image = ImageChops.add_modulo(picture.image, missing)
    except (ImageError, KeyError, ValueError) as error:  # ValueError: Pillow's, of other modes
        raise damaged from error
    image.info = {key: value for key, value in picture.image.info.items() if key != "notes"}
    if Picture(image=image).fingerprint != about.get("source"):
        raise damaged
    return image


@torch.no_grad()
def undo_direction(
    model: Backbone, picture: Picture, direction: Direction, *, strength: float = 1.0, local: bool | None = None
) -> Image.Image:
    """The image before an edit by a direction, from nothing but the edited pixels.

    Args:
        model: that made the edit.
        picture: the edited image.
        direction: of the edit; one, for one image.
        strength: of the edit.
        local: the edit kept its change to where it is strong; by default what suits the model, as in edits.

    Raises:
        ConfigError: a direction of another model, or a strength that is no finite number.
        ShapeError: a direction of several images, or of another shape.

    Cost:
        No network evaluation; ``ROUNDS + 1`` encodings and twice as many decodings.
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
        guess = Picture.from_image(edited.restore(-(local_change(change) if local else change)[0]))
    return guess.image

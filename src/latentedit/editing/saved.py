"""Images as they are saved: the changes of an edit, decoded and put into the images, and what of them is left there."""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.editors.moving import Moved
from latentedit.encoding.images import Box, Frame, SourceImage
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import RunRecord
from latentedit.identification.locality import composed_change, dropped_residual
from latentedit.numerics.flow import per_element

_TOO_FINE = "too weak or too fine for the image's pixels", "more strength"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedImages:
    """Images as they are saved, and the share of the change that was made which each still has."""

    images: list[Image.Image]
    pixels: Float[Tensor, "b 3 h w"]  # pixels of the images as the model sees them
    z: Float[Tensor, "b *latent"]  # the clean latents of those, where they are judged; else of the images before
    kept: Sequence[float] = ()


def saved_images(latent: JointLatent, moved: Moved, record: RunRecord, *, judged: bool) -> list[SavedImages]:
    """The images before the edit, then those of each strength; encoded again where they are ``judged``."""
    frames, backbone = latent.frames, latent.backbone
    first, *changes = _changes(latent, moved, record)
    start = SavedImages(images=[frame.image.image for frame in frames], pixels=latent.pixels, z=latent.z)
    found = [start]
    for change in changes if latent.start is None else [first, *changes]:
        images = [frame.restore(row) for frame, row in zip(frames, change, strict=True)]
        framed = [
            SourceImage(image=image).fit(backbone.capabilities, region=frame.region).pixels
            for image, frame in zip(images, frames, strict=True)
        ]
        pixels, z = torch.stack(framed), start.z
        same = (pixels == start.pixels).flatten(1).all(1)
        if judged and not bool(same.all()):
            z = backbone.encode(pixels.to(backbone.device, backbone.dtype))
            z = torch.where(per_element(same.to(z.device), z), start.z, z)
        made = (start.pixels + (change - first).to(start.pixels)).clamp(-1, 1) - start.pixels
        kept = [_share_kept(pixels[row] - start.pixels[row], made[row], frame.box) for row, frame in enumerate(frames)]
        found.append(SavedImages(images=images, pixels=pixels, z=z, kept=kept))
        if change is first:
            start, found = found[-1], found[1:]
    return found


def _changes(latent: JointLatent, moved: Moved, record: RunRecord) -> list[Float[Tensor, "b 3 h w"]]:
    """The change of the frames' pixels before the edit, and by each strength; exactly nothing by the frames' own."""
    backbone, recipe = latent.backbone, moved.recipe
    local = bool(recipe.auto_mask)
    start = latent.z if latent.start is None else latent.start
    decoded = backbone.decode(start) if latent.decoded is None else latent.decoded
    pixels, before, earlier = latent.pixels.to(decoded), 0.0, record.before  # a share that was dropped stays dropped
    while earlier is not None:
        before = max(before, dropped_residual(earlier.strengths[0], earlier.recipe.subtract_residual))
        earlier = earlier.before
    # In the latent of an earlier edit, its change is in all of them, and one mask is for the whole.
    several = moved.parts if latent.start is None and local else ()
    parts = [backbone.decode(start + part) - decoded for part in several]
    changes: list[Tensor] = []
    strengths = [0.0, *(step.strength for step in moved.steps)]
    for z, far in zip([latent.z, *(step.z for step in moved.steps)], strengths, strict=True):
        if z is start:
            changes.append(torch.zeros_like(decoded))
            continue
        dropped = max(before, dropped_residual(far, recipe.subtract_residual))
        change = backbone.decode(z) - decoded
        changes.append(composed_change(change, pixels, decoded, dropped, local=local, parts=parts))
    return changes


def _share_kept(shown: Float[Tensor, "3 h w"], made: Float[Tensor, "3 h w"], box: Box) -> float:
    """The share of the energy of a change that is where it is shown: ``<shown, made>^2 / |shown|^2 |made|^2``.

    1 where none was made. What fades evenly, under gray masks or in translucent images, has no loss here: the verdict
    sees how far it went.
    """
    left, top, width, height = box
    shown, made = (part[:, top : top + height, left : left + width].double() for part in (shown, made))
    both, energies = float((shown * made).sum()), float(shown.square().sum() * made.square().sum())
    return max(both, 0.0) ** 2 / energies if energies else float(not made.any())


def lost_in(frame: Frame) -> tuple[str, str]:
    """Where the part of a change lies that an image does not show, and what to do."""
    image = frame.image.image
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    places = {"outside the mask": frame.allowed is not None, "under transparent pixels": clear}
    where = " or ".join(place for place, there in places.items() if there)
    return (where, "a larger mask" if frame.allowed is not None else "an opaque image") if where else _TOO_FINE

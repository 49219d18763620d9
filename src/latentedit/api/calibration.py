"""A direction made fit to be kept: its strength calibrated, a small picture of what it does, a licence."""

import dataclasses
import io
from collections.abc import Sequence

import torch
from PIL import Image

from latentedit.api.session import Session
from latentedit.api.sheets import on_white
from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction
from latentedit.editors.slider import Arm
from latentedit.latents.joint import JointLatent

PREVIEW_STRENGTHS = (0.0, 0.5, 1.0)

_PREVIEW_PX = 128


@torch.no_grad()
def calibrate_direction(
    latent: JointLatent,
    direction: Direction,
    *,
    arm: Arm | None = None,
    licence: str = "",
    progress: Progress | None = None,
) -> Direction:
    """The direction for any picture, calibrated on these ones.

    Args:
        latent: the pictures on which it was found.
        direction: one for all, or one a picture, of which the mean is taken.
        arm: which part of the joint latent is to be moved; what suits the model by default.
        licence: under which the direction is shared, such as "CC0-1.0".

    Returns:
        One direction with calibration, licence, and a preview on the first picture at strengths 0, .5 and 1.
    """
    mean = direction.mean()
    session = Session(latent)
    first = session.sweep(mean, strengths=PREVIEW_STRENGTHS, arm=arm, progress=progress)[0]
    calibration = session.slider(mean, arm=arm).calibration()
    preview = preview_of([result.image for result in first])
    return dataclasses.replace(mean, calibration=calibration, licence=licence, preview=preview)


def preview_of(images: Sequence[Image.Image]) -> bytes:
    """Small pictures side by side, as a PNG file."""
    small = [on_white(image).copy() for image in images]
    for image in small:
        image.thumbnail((_PREVIEW_PX, _PREVIEW_PX), Image.Resampling.LANCZOS)
    width, height = small[0].size
    strip = Image.new("RGB", (width * len(small), height))
    for index, image in enumerate(small):
        strip.paste(image, (index * width, 0))
    file = io.BytesIO()
    strip.save(file, format="PNG", optimize=True)
    return file.getvalue()

"""One sheet of what a basis does: a row a direction, in both signs, with what it is called."""

import math

import torch
from PIL import Image

from latentedit.api.discovery import SCALES, Discovery
from latentedit.api.sheets.drawing import draw_grid
from latentedit.editors.walks.step_length import EFFECT
from latentedit.latents.captions.base import to_images

_PANEL_PX = 160  # width of a picture


def draw_discovery(discovery: Discovery, *, title: str) -> Image.Image:
    """The directions of a basis, one a row: its name and facts, then the picture moved by -2, -1, 0, 1 and 2 steps.

    Args:
        title: one line.

    Returns:
        See `draw_grid`.
    """
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

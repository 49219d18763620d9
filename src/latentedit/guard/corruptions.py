"""Corruptions of images: mild ones leave them of their kind, severe ones do not."""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.latents.familiarity import Reason

Pixels = Float[Tensor, "b 3 h w"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """A corruption of images in [-1, 1] that keeps their size, and the reason that it stands for."""

    reason: Reason
    severe: bool
    apply: Callable[[Pixels], Pixels]


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def _blurred(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    return _resized(_resized(pixels, (height // 4, width // 4)), (height, width))


def _shrunk(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    small = _resized(pixels, (height // 2, width // 2))
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    margins = (left, width - width // 2 - left, top, height - height // 2 - top)
    return functional.pad(small, margins, mode="replicate")


def _zoomed(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    return _resized(pixels[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4], (height, width))


def _shuffled(pixels: Pixels, cells: int) -> Pixels:
    """The squares of a grid in another order, the same for all images; none stays where it was."""
    rows = [row.chunk(cells, dim=3) for row in pixels.chunk(cells, dim=2)]
    moved = [[rows[(y + 1 + x) % cells][(x + 1) % cells] for x in range(cells)] for y in range(cells)]
    return torch.cat([torch.cat(row, dim=3) for row in moved], dim=2)


CORRUPTIONS: Mapping[str, Corruption] = {
    "grey": Corruption(reason="colours", severe=False, apply=lambda x: x.mean(1, keepdim=True).expand_as(x)),
    "hue": Corruption(reason="colours", severe=False, apply=lambda x: x.roll(1, dims=1)),
    "blurred": Corruption(reason="size", severe=False, apply=_blurred),
    "shrunk": Corruption(reason="framing", severe=False, apply=_shrunk),
    "zoomed": Corruption(reason="framing", severe=False, apply=_zoomed),
    "upside down": Corruption(reason="style", severe=True, apply=lambda x: x.flip(2)),
    "quarters exchanged": Corruption(reason="style", severe=True, apply=lambda x: _shuffled(x, 2)),
    "shuffled": Corruption(reason="style", severe=True, apply=lambda x: _shuffled(x, 4)),
}
"""By name; a guard is calibrated with all of them, and its file names them."""

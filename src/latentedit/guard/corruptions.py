"""Pictures made wrong on purpose: mildly, so that they are still of their kind, and severely, so that they are not."""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.latents.familiarity import Reason

Pixels = Float[Tensor, "b 3 h w"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """One way to make pictures wrong.

    Args:
        reason: what is wrong with them then.
        severe: whether they are no longer of their kind.
        make: from pictures in [-1, 1] to wrong ones of the same size.
    """

    reason: Reason
    severe: bool
    make: Callable[[Pixels], Pixels]


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def _grey(pixels: Pixels) -> Pixels:
    return pixels.mean(1, keepdim=True).expand_as(pixels)


def _hue(pixels: Pixels) -> Pixels:
    return pixels.roll(1, dims=1)


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


def _upside_down(pixels: Pixels) -> Pixels:
    return pixels.flip(2)


def _shuffled(cells: int) -> Callable[[Pixels], Pixels]:
    """Squares of a grid in another order, the same for all pictures; none stays where it was."""

    def make(pixels: Pixels) -> Pixels:
        rows = [row.chunk(cells, dim=3) for row in pixels.chunk(cells, dim=2)]
        moved = [[rows[(y + 1 + x) % cells][(x + 1) % cells] for x in range(cells)] for y in range(cells)]
        return torch.cat([torch.cat(row, dim=3) for row in moved], dim=2)

    return make


HARMS: Mapping[str, Harm] = {
    "grey": Harm(reason="colours", severe=False, make=_grey),
    "hue": Harm(reason="colours", severe=False, make=_hue),
    "blurred": Harm(reason="size", severe=False, make=_blurred),
    "shrunk": Harm(reason="framing", severe=False, make=_shrunk),
    "zoomed": Harm(reason="framing", severe=False, make=_zoomed),
    "upside down": Harm(reason="style", severe=True, make=_upside_down),
    "quarters exchanged": Harm(reason="style", severe=True, make=_shuffled(2)),
    "shuffled": Harm(reason="style", severe=True, make=_shuffled(4)),
}
"""By name; what a guard is calibrated with."""

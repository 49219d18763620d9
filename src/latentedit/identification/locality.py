"""Locality: how much each position takes part in a change, from its local energy, and masks made of that; derived here.

What a change hardly touches is a soft share of each position of a latent, from the displacement so far,

    share = p / (p + floor * max p)        p = local energy of the displacement

near 1 where the displacement is strong, one half where its energy is ``floor`` times the strongest, and 0 where there
is none.

`local_change`, the automatic soft mask of an edit, takes the share of the decoded change, pixel by pixel, for the codec
spreads what it decodes and a direction is never quite clean. Pixels have a scale, so ``max p`` counts up to 1 there, 74
levels in each channel: above it every change is a strong one, and does not dim another.
"""

import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.numerics.flow import per_element

# Local energy of a change, as a share of the strongest, at which about half of it is left; from the calibration split.
FLOOR = 0.03
_STRONGEST = 1.0  # local energy that counts as strong, whatever the strongest is: 74 of 255 levels in each channel
_CORE = 0.1  # like `FLOOR`, for the codec's loss: with `FLOOR`, recolored photographs keep too little of their texture
# Changes of most of the image: above both were 9 of 56 calibration changes, those of camera, light, time and floor.
_COVERED, _LOST = 0.3, 0.05  # share of pixels whose share is above one half; share of the energy that a mask would take
_LINES_PER_SIDE = 7 / 128  # width of the window in which lines are compared, as a share of the image's shorter side
_FLAT = 1e-3  # mean squared gradient, in [-1, 1], below which lines hardly count: steps of four levels
_PER_SIDE = 3 / 128  # width of the local average as a share of the image's shorter side
_WIDE = 9  # width from which a window is averaged by rows and columns; below, that saves nothing but changes last bits


def change_share(
    delta: Float[Tensor, "b *latent"], floor: float, *, width: int = 3, strongest: float = math.inf
) -> Float[Tensor, "b *share"]:
    """The share of each position in a displacement, in [0, 1]; it multiplies latents, and is 0 if nothing moved.

    The local energy of latents ``[channels, height, width]`` is the sum of squares over the channels, averaged over
    ``width`` x ``width`` positions, an odd number; that of other latents is the square of each number. The largest of
    an image counts up to ``strongest``.
    """
    return _share(_local_energy(delta, width), floor, strongest)


def _local_energy(delta: Float[Tensor, "b *latent"], width: int) -> Float[Tensor, "b *share"]:
    energy = delta.square()
    return _local_mean(energy.sum(1, keepdim=True), width) if delta.ndim == 4 else energy


def _share(energy: Float[Tensor, "b *share"], floor: float, strongest: float) -> Float[Tensor, "b *share"]:
    most = per_element(energy.flatten(1).amax(1).clamp(max=strongest), energy)
    return energy / (energy + floor * most).clamp_min(torch.finfo(energy.dtype).tiny)


def local_change(
    change: Float[Tensor, "b 3 h w"], *, parts: Sequence[Float[Tensor, "b 3 h w"]] = (), floor: float = FLOOR
) -> Float[Tensor, "b 3 h w"]:
    """A change of pixels, edited minus source as the model decodes them, times ``(1 + floor) share``, at most 1.

    So all of the change stays where it is strong, pixels that it hardly touches stay as they are, and there is no
    seam. Where several changes were made, ``parts`` are those of each: the largest of their shares counts, so that a
    weak one is not dimmed next to a strong one. A change of another light or camera is everywhere, weak parts of it
    belong to it, and it stays whole: one that covers much of the image and would lose much of its energy.
    """
    return _kept(change, _pixel_energies(parts or (change,)), floor)


def _kept(
    change: Float[Tensor, "b 3 h w"], energies: Sequence[Float[Tensor, "b 1 h w"]], floor: float
) -> Float[Tensor, "b 3 h w"]:
    """`local_change` by the local energies of its parts."""
    share, energy = _largest_share(energies, floor), change.square().sum(1, keepdim=True)
    covered, mask = (share > 0.5).flatten(1).float().mean(1), ((1 + floor) * share).clamp(max=1)
    lost = ((1 - mask) * energy).flatten(1).sum(1)
    whole = (covered > _COVERED) & (lost > _LOST * energy.flatten(1).sum(1))
    return torch.where(per_element(whole, change), change, mask * change)


def composed_change(
    change: Float[Tensor, "b 3 h w"],
    pixels: Float[Tensor, "b 3 h w"],
    decoded: Float[Tensor, "b 3 h w"],
    dropped: float,
    *,
    local: bool,
    parts: Sequence[Float[Tensor, "b 3 h w"]] = (),
) -> Float[Tensor, "b 3 h w"]:
    """The addition to the source's pixels: a decoded change, `local` or whole, less the codec's loss of the source.

    What the codec cannot represent, ``pixels - decoded``, is outlines above all, and under a new part the ghost of the
    old one. So a share of it is dropped where the change is strong and draws other lines than the source has,

        dropped share(change, .1) (1 - likeness),   likeness = 2 <g, h> / (<g, g> + <h, h>), from 0 up

    g and h being the gradients of the gray images before and after the change, around each pixel: a recolored cloth
    keeps its texture, and a change that nobody sees, such as an edit there and back, drops nothing.
    """
    energies = _pixel_energies(parts or (change,)) if local or dropped else ()
    made = _kept(change, energies, FLOOR) if local else change
    if not dropped:
        return made
    other_lines = dropped * (1 - _likeness(decoded, decoded + change))
    return made - _largest_share(energies, _CORE) * other_lines * (pixels - decoded)


def dropped_residual(strength: float, weight: float) -> float:
    """The share of what the codec lost that `composed_change` drops at a strength of either sign: none at 0."""
    return weight * min(abs(strength), 1.0)


def pixel_share(change: Float[Tensor, "b 3 h w"], floor: float) -> Float[Tensor, "b 1 h w"]:
    """`change_share` of pixels, whose local energy is an average over as much of an image of any size."""
    return _largest_share(_pixel_energies((change,)), floor)


def _pixel_energies(changes: Sequence[Float[Tensor, "b 3 h w"]]) -> list[Float[Tensor, "b 1 h w"]]:
    return [_local_energy(change, _window(_PER_SIDE, change)) for change in changes]


def _largest_share(energies: Sequence[Float[Tensor, "b 1 h w"]], floor: float) -> Float[Tensor, "b 1 h w"]:
    return functools.reduce(torch.maximum, [_share(energy, floor, _STRONGEST) for energy in energies])


def _likeness(before: Float[Tensor, "b 3 h w"], after: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """How alike the lines of two images are around each pixel, in [0, 1]; 1 where neither has any."""
    gray = functional.pad(torch.cat([before, after]).mean(1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    gradients = torch.cat([gray[..., 1:, :-1], gray[..., :-1, 1:]], 1) - gray[..., :-1, :-1]
    g, h = gradients.chunk(2)
    products = torch.cat([(a * b).sum(1, keepdim=True) for a, b in ((g, h), (g, g), (h, h))])
    both, own, other = _local_mean(products, _window(_LINES_PER_SIDE, before)).chunk(3)
    return ((2 * both + _FLAT) / (own + other + _FLAT)).clamp(min=0)


def _local_mean(values: Float[Tensor, "b c h w"], width: int) -> Float[Tensor, "b c h w"]:
    """The average over ``width`` x ``width`` positions around each, an odd number; the border is repeated."""
    around = functional.pad(values, (width // 2,) * 4, mode="replicate")
    if width < _WIDE:
        return functional.avg_pool2d(around, width, stride=1)
    # Rows, then columns: 2 width terms instead of width^2; the mean of a view takes a seventh of what pooling does.
    return around.unfold(3, width, 1).mean(-1).unfold(2, width, 1).mean(-1)


def _window(per_side: float, image: Tensor) -> int:
    """The width of a local average: odd, so that it is centered; at 128 px 3 for a change's energy, as for latents."""
    return max(3, 2 * round((per_side * min(image.shape[-2:]) - 1) / 2) + 1)


def along(part: Float[Tensor, "m b *latent"], delta: Float[Tensor, "b *latent"]) -> Float[Tensor, "m b *latent"]:
    """``(part . delta / |delta|^2) delta`` at each position: the part of a latent along a displacement.

    A position of latents ``[channels, height, width]`` is a vector of channels; that of other latents is a number,
    which is along any displacement.
    """
    product, square = part * delta, delta.square()
    if delta.ndim == 4:
        product, square = product.sum(-3, keepdim=True), square.sum(-3, keepdim=True)
    return product / square.clamp_min(torch.finfo(square.dtype).tiny) * delta

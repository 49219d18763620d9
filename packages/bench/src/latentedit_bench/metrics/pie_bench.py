"""PIE-Bench's numbers outside and inside the mask, in two modes: with the evaluator's quirks, and without.

"legacy" does as the public evaluator does, so that numbers can stand beside published ones:

1. The first and last row and column count as inside the mask.
2. The inside is made black in both pictures and all pixels are counted: PSNR and MSE of a large mask are flattered.
3. A picture that is not square loses all but its last 512 x 512 pixels; see `last_square`.

"corrected" takes the mask as drawn, divides by the background's pixels, and lays the source into the inside, so that
neither a black edge nor the edit itself reaches into the background's windows. In both modes a mask that leaves no
background gives nan; the evaluator drops such rows, `latentedit_bench.ranking.unranked` counts them.

Source:
    Ju et al. 2024, "PnP Inversion", and its public evaluator; the corrected forms are ours.
"""

from typing import Literal, cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from latentedit.core.errors import ShapeError
from latentedit.core.settings import check
from latentedit_bench.metrics.pictures import Mask, Pictures, check_mask, in_double, psnr_db

Mode = Literal["legacy", "corrected"]
MODES: tuple[Mode, ...] = ("legacy", "corrected")


SCALE = {"background_psnr_db": 1, "background_mse": 1e4, "background_ssim": 1e2}
"""The numbers that need no network, and what PIE-Bench's tables multiply each by."""

NOT_MEASURED = {
    "structure_distance": "needs DINO ViT-B/8",
    "background_lpips": "needs LPIPS over SqueezeNet",
    "clip_whole": "needs CLIP ViT-L/14",
    "clip_edited": "needs CLIP ViT-L/14",
}
"""PIE-Bench's other numbers, and the network of each; latentedit loads none of these to measure with."""

LEGACY_SIDE = 512
"""Side of PIE-Bench's pictures, px."""

_LEAST_SIDE = 6
"""Shortest side, px: half of SSIM's window of 11 pixels is mirrored at the border."""


def inside(mask: Mask, *, mode: Mode) -> Mask:
    """Where the picture may change: the mask, in legacy mode with the whole border."""
    check(Mode, mode=mode)
    if mode == "corrected":
        return mask
    bordered = torch.ones_like(mask)
    bordered[..., 1:-1, 1:-1] = mask[..., 1:-1, 1:-1]
    return bordered


def last_square(pictures: Pictures) -> Float[Tensor, "b 3 side side"]:
    """The last 512 x 512 pixels of pictures that are not square, as the evaluator cuts rows of several pictures."""
    height, width = pictures.shape[2:]
    if height == width:
        return pictures
    if min(height, width) < LEGACY_SIDE:
        raise ShapeError(f"pictures of {height}x{width} pixels cannot be cut to 512x512. Give square or larger ones")
    return pictures[..., -LEGACY_SIDE:, -LEGACY_SIDE:]


def background_mse(edited: Pictures, source: Pictures, mask: Mask, *, mode: Mode) -> Float64[Tensor, " b"]:
    """Mean square difference outside the mask, of pictures in [0, 1].

    ``sum outside (edited - source)^2 / (3 n)``, n all pixels in legacy mode, those outside in corrected mode.
    In [0, 1], lower is better; nan where the mask leaves nothing outside.

    Traps: no edit scores best. In legacy mode a large mask scores well whatever is outside it.
    """
    edited, source, outside = _checked(edited, source, mask, mode)
    change = (((edited - source) / 2).square() * outside).flatten(1).sum(1)
    pixels = outside.flatten(1).sum(1)
    counted = pixels if mode == "corrected" else torch.full_like(pixels, mask.shape[2] * mask.shape[3])
    return _undefined(change / (3 * counted), outside)


def background_psnr_db(edited: Pictures, source: Pictures, mask: Mask, *, mode: Mode) -> Float64[Tensor, " b"]:
    """``10 log10(1 / background_mse)``, in decibels; higher is better. See `background_mse` for arguments and traps.

    At most 100, in both modes: where the background is untouched the evaluator gives infinity, and no mean.
    """
    return psnr_db(4 * background_mse(edited, source, mask, mode=mode))


def background_ssim(edited: Pictures, source: Pictures, mask: Mask, *, mode: Mode) -> Float64[Tensor, " b"]:
    """Structural similarity outside the mask, Gaussian windows of 11 pixels, of pictures in [0, 1].

    Legacy: the mean over all windows of the two pictures with a black inside. Corrected: the mean over windows whose
    middle is outside, of the source and the edited picture with the source's inside. In [-1, 1], higher is better.
    See `background_mse` for arguments and traps.
    """
    edited, source, outside = _checked(edited, source, mask, mode)
    if min(edited.shape[2:]) < _LEAST_SIDE:
        raise ShapeError(f"pictures of {list(edited.shape[2:])} pixels are smaller than 6x6. Enlarge them")
    a, b = (_unit(picture) for picture in _prepared(edited, source, outside, mode))
    _, windows = cast(
        "tuple[Tensor, Tensor]",
        structural_similarity_index_measure(a, b, data_range=1.0, reduction="none", return_full_image=True),
    )
    counted = outside.expand_as(windows) if mode == "corrected" else torch.ones_like(windows, dtype=torch.bool)
    return _undefined((windows * counted).flatten(1).sum(1) / counted.flatten(1).sum(1), outside)


def scores(edited: Pictures, source: Pictures, mask: Mask, *, mode: Mode) -> dict[str, Float64[Tensor, " b"]]:
    """PIE-Bench's numbers of each picture by name, in the units of its tables (`SCALE`); nan without background.

    In legacy mode an edited picture that is not square is cut by `last_square` first.
    """
    if mode == "legacy":
        edited = last_square(edited)
    measures = {
        "background_psnr_db": background_psnr_db,
        "background_mse": background_mse,
        "background_ssim": background_ssim,
    }
    return {name: SCALE[name] * measure(edited, source, mask, mode=mode) for name, measure in measures.items()}


def _checked(edited: Tensor, source: Tensor, mask: Tensor, mode: Mode) -> tuple[Tensor, Tensor, Tensor]:
    """Both pictures in float64, and what is outside."""
    edited, source = in_double(edited, source)
    check_mask(mask, edited)
    return edited, source, ~inside(mask, mode=mode)


def _prepared(edited: Tensor, source: Tensor, outside: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """The pictures whose inside says nothing: black in both, or the source's in both."""
    if mode == "corrected":
        return torch.where(outside, edited, source), source
    black = edited.new_full((), -1)
    return torch.where(outside, edited, black), torch.where(outside, source, black)


def _unit(pictures: Tensor) -> Tensor:
    return (pictures + 1) / 2


def _undefined(values: Tensor, area: Tensor) -> Tensor:
    """Nan where an area has no pixel."""
    return values.masked_fill(~area.flatten(1).any(1), torch.nan)

"""PIE-Bench's numbers outside and inside the mask, in two modes: with the evaluator's quirks, and without.

"legacy" reproduces the public evaluator, so that numbers can be compared with published ones:

1. The first and last row and column count as inside the mask.
2. The inside is made black in both images and all pixels are counted, which flatters PSNR and MSE for large masks.
3. An image that is not square is cropped to its last 512 x 512 pixels; see `last_square`.

"corrected" uses the mask as drawn, divides by the number of background pixels, and copies the source into the inside,
so that neither a black edge nor the edit itself reaches into the background's windows. In both modes a mask that leaves
no background gives nan.

Source:
    Ju et al. 2024, "PnP Inversion", and its public evaluator; the corrected forms are ours.
"""

from typing import Literal, cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core import ShapeError
from latentedit_bench.metrics.images import Images, Mask, check_mask, in_double, psnr_db

Mode = Literal["legacy", "corrected"]
MODES: tuple[Mode, ...] = ("legacy", "corrected")

SCALE = {"background_psnr_db": 1, "background_mse": 1e4, "background_ssim": 1e2}
"""The numbers that need no network, and what PIE-Bench's tables multiply each by."""

NOT_MEASURED = {  # PIE-Bench's other numbers, and the network that each needs; latentedit loads none of them
    "structure_distance": "needs DINO ViT-B/8",
    "background_lpips": "needs LPIPS over SqueezeNet",
    "clip_whole": "needs CLIP ViT-L/14",
    "clip_edited": "needs CLIP ViT-L/14",
}

LEGACY_SIDE = 512  # side of PIE-Bench's images, px
_LEAST_SIDE = 6  # shortest side, px: half of SSIM's window of 11 pixels is mirrored at the border


def inside_mask(mask: Mask, *, mode: Mode) -> Mask:
    """Where the image may change: the mask, in legacy mode with the whole border."""
    if mode == "corrected":
        return mask
    bordered = torch.ones_like(mask)
    bordered[..., 1:-1, 1:-1] = mask[..., 1:-1, 1:-1]
    return bordered


def last_square(images: Images) -> Float[Tensor, "b 3 side side"]:
    """The last 512 x 512 pixels of images that are not square, as the evaluator cuts rows of several images."""
    height, width = images.shape[2:]
    if height == width:
        return images
    if min(height, width) < LEGACY_SIDE:
        raise ShapeError(f"images of {height}x{width} pixels cannot be cut to 512x512. Give square or larger ones")
    return images[..., -LEGACY_SIDE:, -LEGACY_SIDE:]


def scores(
    edited: Float[Tensor, "b 3 h wide"], source: Images, mask: Mask, *, mode: Mode
) -> dict[str, Float64[Tensor, " b"]]:
    """PIE-Bench's numbers of each image by name, in the units of its tables (`SCALE`); nan without background.

    - background_mse: ``sum outside (edited - source)^2 / (3 n)`` of images in [0, 1], n all pixels in legacy mode,
      those outside in corrected mode.
    - background_psnr_db: ``10 log10(1 / background_mse)``, at most 100: for an untouched background the evaluator
      gives infinity, which spoils the mean.
    - background_ssim: structural similarity with Gaussian windows of 11 pixels. Legacy: the mean over all windows of
      the two images with a black inside. Corrected: the mean over windows whose middle is outside, of the source and
      the edited image with the source's inside.

    Traps: no edit scores best. In legacy mode a large mask scores well regardless of the outside.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # noqa: PLC0415  # heavy

    edited, source = in_double(last_square(edited) if mode == "legacy" else edited, source)
    check_mask(mask, edited)
    if min(edited.shape[2:]) < _LEAST_SIDE:
        raise ShapeError(f"images of {list(edited.shape[2:])} pixels are smaller than 6x6. Enlarge them")
    outside = ~inside_mask(mask, mode=mode)
    counted = outside if mode == "corrected" else torch.ones_like(outside)
    instead = source if mode == "corrected" else torch.full_like(source, -1)
    a, b = ((torch.where(outside, one, instead) + 1) / 2 for one in (edited, source))
    mse = (a - b).square().flatten(1).sum(1) / (3 * counted.flatten(1).sum(1))
    _, windows = cast(
        "tuple[Tensor, Tensor]",
        structural_similarity_index_measure(a, b, data_range=1.0, reduction="none", return_full_image=True),
    )
    found = {
        "background_psnr_db": psnr_db(4 * mse),
        "background_mse": mse,
        "background_ssim": (windows * counted).flatten(1).sum(1) / (3 * counted.flatten(1).sum(1)),
    }
    nothing = ~outside.flatten(1).any(1)
    return {name: SCALE[name] * values.masked_fill(nothing, torch.nan) for name, values in found.items()}

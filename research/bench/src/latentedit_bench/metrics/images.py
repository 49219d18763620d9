"""Validation of images for metrics, in [-1, 1] and float64; when two images differ.

Every metric that takes images and masks raises what `in_double` and `check_mask` raise.
"""

from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit.core import ImageError, ShapeError

Images = Float[Tensor, "b 3 h w"]
Mask = Bool[Tensor, "b 1 h w"]

SAME = 1e-6
"""Root mean square difference up to which two images are the same one: above what single precision rounds (6e-8),
below one step of 8 bits, 2/255, in one channel of one pixel of 1024 x 1024 (4e-6)."""

HIGHEST_DB = 100.0  # signal-to-noise ratio to which it is limited; see `psnr_db`


def in_double(*images: Float[Tensor, "..."]) -> tuple[Float64[Tensor, "b 3 h w"], ...]:
    """The images in float64."""
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
        raise ShapeError(f"images must have one shape [b, 3, h, w]; got {[list(shape) for shape in shapes]}")
    for image in images:
        broken = (~image.isfinite()).flatten(1).any(1)
        if broken.any():
            which = broken.nonzero().flatten().tolist()
            raise ImageError(f"images {which} have values that are not finite. Count them as failed")
    return tuple(image.double() for image in images)


def check_mask(mask: Tensor, images: Images) -> None:
    """Reject a mask that does not fit the images."""
    expected = (len(images), 1, *images.shape[2:])
    if tuple(mask.shape) != expected:
        raise ShapeError(f"the mask must have the shape {list(expected)}; got {list(mask.shape)}. Resize it")


def mean_square(a: Images, b: Images) -> Float64[Tensor, " b"]:
    """``mean (a - b)^2`` of each image, in float64: the default distance."""
    return (a.double() - b.double()).flatten(1).square().mean(1)


def differ(a: Images, b: Images) -> Bool[Tensor, " b"]:
    """Whether the two are different images; see `SAME`."""
    return mean_square(a, b) > SAME**2


def psnr_db(mean_squared: Float[Tensor, " b"]) -> Float64[Tensor, " b"]:
    """``10 log10(4 / mean square difference)``: decibels at a peak of 2, that of images in [-1, 1].

    At most `HIGHEST_DB`, so that means over images stay finite: what is nearer than that (root mean square 2e-5) is
    less than one step of 8 bits in one channel of one pixel of 128 x 128 (3.5e-5). nan stays nan.
    """
    return (10 * (4 / mean_squared.double()).log10()).clamp(max=HIGHEST_DB)

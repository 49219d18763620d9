"""Images as metrics take them: in [-1, 1], checked, in float64; and what counts as a difference between two.

Every metric that takes images and masks raises what `in_double` and `check_mask` raise.
"""

from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit.core.errors import DeviceError, ImageError, ShapeError

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
        raise ShapeError(f"the images are {[list(shape) for shape in shapes]}. Give all as [b, 3, h, w] of one shape")
    devices = sorted({str(image.device) for image in images})
    if len(devices) != 1:
        raise DeviceError(f"the images are on several devices, {', '.join(devices)}. Move them to one with .to()")
    for image in images:
        if not image.is_floating_point():
            raise ImageError(f"the images are {image.dtype}, not floats in [-1, 1]. Divide by 127.5, less 1")
        broken = (~image.isfinite()).flatten(1).any(1)
        if broken.any():
            which = broken.nonzero().flatten().tolist()
            raise ImageError(f"images {which} hold values that are not finite. Count them as failed")
    return tuple(image.double() for image in images)


def check_mask(mask: Tensor, images: Images) -> None:
    """Refuse a mask or weights that do not belong to the images."""
    expected = (len(images), 1, *images.shape[2:])
    if tuple(mask.shape) != expected:
        raise ShapeError(f"the mask is {list(mask.shape)}, not {list(expected)} as the images. Resize it")
    if mask.device != images.device:
        raise DeviceError(f"the mask is on {mask.device}, the images on {images.device}. Move it with .to()")


def mean_square(a: Images, b: Images) -> Float64[Tensor, " b"]:
    """``mean (a - b)^2`` of each image, in float64: the distance where no other is given."""
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

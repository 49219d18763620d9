"""Pictures as metrics take them: in [-1, 1], checked, in float64; and what counts as a difference between two.

Every metric that takes pictures and masks raises what `in_double` and `check_mask` raise.
"""

from jaxtyping import Bool, Float, Float64
from torch import Tensor

from latentedit.core.errors import DeviceError, ImageError, ShapeError

Pictures = Float[Tensor, "b 3 h w"]
Mask = Bool[Tensor, "b 1 h w"]

SAME = 1e-6
"""Root mean square difference up to which two pictures are the same one: above what single precision rounds (6e-8),
below one step of 8 bits, 2/255, in one channel of one pixel of 1024 x 1024 (4e-6)."""

HIGHEST_DB = 100.0  # signal-to-noise ratio above which none is told; see `psnr_db`


def in_double(*pictures: Float[Tensor, "..."]) -> tuple[Float64[Tensor, "b 3 h w"], ...]:
    """The pictures in float64."""
    shapes = sorted({tuple(picture.shape) for picture in pictures})
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
        raise ShapeError(f"the pictures are {[list(shape) for shape in shapes]}. Give all as [b, 3, h, w] of one shape")
    devices = sorted({str(picture.device) for picture in pictures})
    if len(devices) != 1:
        raise DeviceError(f"the pictures are on several devices, {', '.join(devices)}. Move them to one with .to()")
    for picture in pictures:
        if not picture.is_floating_point():
            raise ImageError(f"the pictures are {picture.dtype}, not floats in [-1, 1]. Divide by 127.5, less 1")
        broken = (~picture.isfinite()).flatten(1).any(1)
        if broken.any():
            which = broken.nonzero().flatten().tolist()
            raise ImageError(f"pictures {which} hold values that are not finite. Count them as failed")
    return tuple(picture.double() for picture in pictures)


def check_mask(mask: Tensor, pictures: Pictures) -> None:
    """Refuse a mask or weights that do not belong to the pictures."""
    expected = (len(pictures), 1, *pictures.shape[2:])
    if tuple(mask.shape) != expected:
        raise ShapeError(f"the mask is {list(mask.shape)}, not {list(expected)} as the pictures. Resize it")
    if mask.device != pictures.device:
        raise DeviceError(f"the mask is on {mask.device}, the pictures on {pictures.device}. Move it with .to()")


def mean_square(a: Pictures, b: Pictures) -> Float64[Tensor, " b"]:
    """``mean (a - b)^2`` of each picture, in float64: the distance where no other is given."""
    return (a.double() - b.double()).flatten(1).square().mean(1)


def differ(a: Pictures, b: Pictures) -> Bool[Tensor, " b"]:
    """Whether the two are different pictures; see `SAME`."""
    return mean_square(a, b) > SAME**2


def psnr_db(mean_squared: Float[Tensor, " b"]) -> Float64[Tensor, " b"]:
    """``10 log10(4 / mean square difference)``: decibels at a peak of 2, that of pictures in [-1, 1].

    At most `HIGHEST_DB`, so that means over pictures stay finite: what is nearer than that (root mean square 2e-5) is
    less than one step of 8 bits in one channel of one pixel of 128 x 128 (3.5e-5). nan stays nan.
    """
    return (10 * (4 / mean_squared.double()).log10()).clamp(max=HIGHEST_DB)

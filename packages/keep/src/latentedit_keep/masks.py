"""Masks of every convention: the image may change where they are white, transparent or of the second color."""

import numpy as np

from latentedit_keep.base.color import levels, opacity_of
from latentedit_keep.base.errors import ImageError
from latentedit_keep.base.images import PixelImage
from latentedit_keep.base.warp import Array, Mask, Size, cv2, gray, smoothed

SEEN = 1 / 255  # smallest mask value that changes an 8-bit pixel
_FEATHER = 1 / 100  # half the width of a mask's soft edge, as a share of the shorter side
_EXTREME = 16 / 255  # brightness up to which a pixel counts as black or, from the other end, as white
_MOST_BETWEEN = 0.1  # share of pixels between black and white, above which a mask must be smooth, as blur makes it
_LEAST_EXTREME = 0.3  # share of black and white pixels in a blurred mask
_ROUGH = 1.5 / 255  # mean deviation from a slight blur, above which there is an image and not a blurred mask
_COLORED = 12 / 255  # chroma above which a pixel is no gray
_TWO_LEVELS = 0.98  # share of pixels that have one of the two most frequent levels in a mask of two levels


def mask_plane(mask: PixelImage, size: Size) -> tuple[Array, str]:
    """Where an image may change, in [0, 1], and which convention that is if it is not "white".

    Recognized are white paint, also on a clear layer; a transparent hole in an opaque layer or in the image itself, as
    OpenAI has it; and two levels other than black and white, of which the brighter one counts as white.
    """
    name = f"the mask {mask.path}" if mask.path is not None else "the mask"
    if mask.size != size:
        has, wanted = (f"{width}x{height}" for width, height in (mask.size, size))
        raise ImageError(f"{name} has {has} pixels, the original {wanted}. Save it at the original's size")
    colors, opacity = levels(mask.pixels[..., :3]), opacity_of(mask.pixels)
    if opacity is not None and opacity.min() < SEEN and _has_hole(colors, opacity):
        return 1 - opacity, f"{name} has a transparent hole: where it is transparent, the image may change"
    plane = gray(colors) / 255
    if opacity is not None:
        plane *= opacity
    black, white = plane <= _EXTREME, plane >= 1 - _EXTREME
    if white.any() or not plane.any():
        if not _is_mask(colors, plane, black | white):
            remedy = "Give a mask that is white where the image may change and black elsewhere"
            raise ImageError(f"{name} is an image, not black and white. {remedy}")
        return plane, ""
    counts = np.bincount(np.rint(255 * plane).astype(np.intp).ravel(), minlength=256)
    low, high = sorted(np.argsort(counts)[-2:].tolist())
    if not counts[low] or counts[[low, high]].sum() < _TWO_LEVELS * plane.size:
        remedy = "Paint white where the image may change"
        raise ImageError(
            f"{name} is an image, not black and white: its brightest level is {255 * plane.max():.0f}. {remedy}"
        )
    note = f"{name} has two levels, {low} and {high}, instead of black and white: {high} was taken for white"
    return (plane * 255 > (low + high) / 2).astype(np.float32), note


def bounds_of(mask: PixelImage, size: Size) -> tuple[Array, str]:
    """Upper bound of the opacity by a mask, and its convention. Its edges fade inwards: black stays black."""
    name, (plane, convention) = f"the mask {mask.path}" if mask.path is not None else "the mask", mask_plane(mask, size)
    width = 2 * round(_FEATHER * min(size)) + 1
    darkest = cv2.erode(plane, np.ones((width, width), dtype=np.uint8))
    soft = np.minimum(plane, cv2.blur(darkest, (width, width), borderType=cv2.BORDER_REPLICATE))
    if soft.max() < SEEN:
        what = "the white parts of {} are only a few pixels wide" if plane.any() else "{} is black everywhere"
        raise ImageError(f"{what.format(name)}, so nothing may be kept. Paint more of it white")
    return np.where(plane >= SEEN, soft, 0).astype(np.float32), convention


def looks_inverted(changed: Mask, allowed: Mask) -> bool:
    """Whether the mask may mean the opposite: everything changed outside of it and nothing inside."""
    return bool(changed.any() and not (changed & allowed).any())


def _has_hole(colors: Array, opacity: Array) -> bool:
    """Whether transparency marks the place: a hole in an image, or in a layer that covers the border."""
    opaque: Mask = opacity > 0.5
    border = np.concatenate([opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]])
    luma = gray(colors)[opaque] / 255
    between = (luma > _EXTREME) & (luma < 1 - _EXTREME)
    return bool(between.size and (between.mean() > _MOST_BETWEEN or border.mean() > 0.5))


def _is_mask(colors: Array, plane: Array, extreme: Mask) -> bool:
    """Whether nearly all pixels are black or white, or a blur of both."""
    between = ~extreme
    if between.mean() <= _MOST_BETWEEN:
        return True
    colored = (colors.max(axis=2) - colors.min(axis=2))[between].mean() > 255 * _COLORED
    rough = float(np.abs(plane - smoothed(plane, 1.0))[between].mean()) > _ROUGH
    return not colored and not rough and float(extreme.mean()) >= _LEAST_EXTREME

"""Masks of every convention: the image may change where they are white, painted, transparent or of the second level."""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.core.errors import ConfigError, ImageError
from latentedit.photo.color import levels, opacity_of
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import Array, Box, Mask, Size, cv2, gray, resized, smoothed, spread
from latentedit.pixels.detection import disc

SEEN = 1 / 255  # smallest mask value that changes an 8-bit pixel
_FEATHER = 1 / 100  # half the width of a mask's soft edge, as a share of the shorter side
_RIM_PX = 2  # width of the edge at which a step is measured
_AS_STRONG = 1 / 3  # share of the strongest step within a fade from which on the edge belongs to the same thing
_EXTREME = 16 / 255  # brightness up to which a pixel counts as black or, from the other end, as white
_MOST_BETWEEN = 0.1  # share of pixels between black and white above which a mask must be smooth, as blur or a ramp is
_ROUGH = 1.5 / 255  # mean deviation from a slight blur, above which there is an image and not a blurred mask
_PAINTED = 48  # difference of the channels in levels, from which on a pixel is painted in a color
_ALIKE = 0.9  # cosine between shades of one paint
_TWO_LEVELS = 0.98  # share of pixels that have one of the two most frequent levels in a mask of two levels
_FLAT = 0.95  # share of pixels with one of three colors in a drawing
_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
_REMEDY = "Paint white where the image may change and black elsewhere, or one color on a plain ground"


def mask_plane(mask: PixelImage, size: Size) -> tuple[Array, str]:
    """Where an image may change, in [0, 1], and which convention that is if it is not "white"."""
    # Recognized are white paint, also on a clear layer; paint of any one color on white, black, gray or a clear layer;
    # a transparent hole in an opaque layer or in the image itself, as OpenAI has it; and two levels other than black
    # and white, of which the brighter one counts as white. A mask of the image's shape is scaled.
    name = f"the mask {mask.path}" if mask.path is not None else "the mask"
    (width, height), (wide, high), scaled = mask.size, size, ""
    if mask.size != size:
        if not _same_shape(mask.size, size):
            has = f"{name} has {width}x{height} pixels, which is another shape than the original's {wide}x{high}"
            turned = _same_shape(mask.size[::-1], size)
            remedy = "Turn the mask as the image is displayed" if turned else "Save it at the original's size"
            raise ImageError(f"{has}. {remedy}")
        scaled = f"{name} has {width}x{height} pixels, and was scaled to the original's {wide}x{high}"
    plane, convention = _read(mask, name)
    return resized(plane, size).clip(0, 1), "; ".join(filter(None, (convention, scaled)))


def _same_shape(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one size is the other one scaled, but for rounding by less than a pixel of the smaller one."""
    return abs(size[0] * other[1] - size[1] * other[0]) <= max(*size, *other)


def _read(mask: PixelImage, name: str) -> tuple[Array, str]:
    """`mask_plane` at the mask's own size."""
    colors, opacity = levels(mask.pixels[..., :3]), opacity_of(mask.pixels)
    if opacity is not None and opacity.min() < SEEN and _has_hole(colors, opacity):
        return 1 - opacity, f"{name} has a transparent hole: where it is transparent, the image may change"
    shown = np.ones(colors.shape[:2], dtype=bool) if opacity is None else opacity > 0.5
    plane, convention = gray(colors) / 255, ""
    if opacity is not None and opacity.min() < SEEN and shown.any() and (plane[shown] <= _EXTREME).all():
        return opacity, f"{name} is painted in black: where it is black, the image may change"
    if (shown & (spread(colors) > _PAINTED)).any():
        plane, convention = _painted(colors, shown, name)
    if opacity is not None:
        plane *= opacity
    black, white = plane <= _EXTREME, plane >= 1 - _EXTREME
    if white.any() or convention or not plane.any():
        if not _is_mask(plane, black, white):
            raise ImageError(f"{name} is an image, not black and white. {_REMEDY}")
        return plane, convention
    counts = _counts(plane)
    low, high = sorted(np.argsort(counts)[-2:].tolist())
    if not counts[[low, high]].all() or counts[[low, high]].sum() < _TWO_LEVELS * plane.size:
        brightest = f"its brightest level is {255 * plane.max():.0f}"
        raise ImageError(f"{name} is an image, not black and white: {brightest}. {_REMEDY}")
    note = f"{name} has two levels, {low} and {high}, instead of black and white: {high} was taken for white"
    return (plane * 255 > (low + high) / 2).astype(np.float32), note


def _painted(colors: Array, shown: Mask, name: str) -> tuple[Array, str]:
    """How much of its one paint each pixel has; the brightness of neither paint nor ground counts."""
    chroma = colors - colors.mean(axis=2, keepdims=True)  # proportional to the paint where that is mixed with a gray
    strong = chroma[shown & (spread(colors) > _PAINTED)]
    shade = np.median(strong, axis=0)
    amount = chroma @ shade
    is_one = (strong @ shade > _ALIKE * np.linalg.norm(strong, axis=1) * np.linalg.norm(shade)).mean() > _TWO_LEVELS
    plane = (amount / np.quantile(amount[shown & (amount > 0)], 0.98)).clip(0, 1) if is_one else amount
    plane[plane <= _EXTREME] = 0
    ground = gray(colors)[shown & (plane <= 2 * _EXTREME)] / 255
    uneven = ground.size and (np.abs(ground - np.median(ground)) > 2 * _EXTREME).mean() > 1 - _TWO_LEVELS
    if uneven or not is_one:
        found, share = _most_frequent(colors[shown])
        what = f"has several colors, such as {' and '.join(found)}" if share >= _FLAT else "is an image"
        raise ImageError(f"{name} {what}, so what may change is unclear. {_REMEDY}")
    color = _word(np.median(colors[shown & (plane > 0.5)], axis=0))
    return plane.astype(np.float32), f"{name} is painted in {color}: where it is {color}, the image may change"


def read_boxes(given: Any) -> tuple[Box, ...]:
    """One box or several, each x, y, width and height in the original's pixels, as numbers or as a text."""
    is_one = isinstance(given, str) or not any(isinstance(one, (str, Sequence)) for one in given)
    rows = [given] if is_one else given
    rows = [one.split(",") if isinstance(one, str) else one for one in rows]
    try:
        boxes = tuple((int(x), int(y), int(width), int(height)) for x, y, width, height in rows)
        if not boxes or min(min(one[2:]) for one in boxes) < 1:
            raise ValueError("empty")
    except (TypeError, ValueError) as error:
        what = f"a box is x, y, width and height in the original's pixels; got {given!r:.80}"
        raise ConfigError(f"{what}. Give whole numbers such as 40,60,200,150") from error
    return boxes


def mask_of(boxes: Sequence[Box], size: Size) -> PixelImage:
    """The mask that is white in boxes of `read_boxes`; raises a `ConfigError` for one that leaves the image."""
    plane = np.zeros(size[::-1], dtype=np.uint8)
    for x, y, width, height in boxes:
        if min(x, y) < 0 or x + width > size[0] or y + height > size[1]:  # its corners, perhaps
            inside = f"the original, which has {size[0]}x{size[1]} pixels"
            where = "leaves" if x < size[0] and y < size[1] else "is outside"
            how = "Give x, y, width and height: not the right and lower edges"
            raise ConfigError(f"the box {x},{y},{width},{height} {where} {inside}. {how}")
        plane[y : y + height, x : x + width] = 255
    return PixelImage(pixels=np.dstack([plane] * 3))


def bounds_of(mask: PixelImage, size: Size) -> tuple[Array, str]:
    """Upper bound of the opacity by a mask, and its convention. Its edges fade inwards: black stays black."""
    opaque, convention = opaque_bounds(mask, size)
    faded = _faded(opaque)
    if faded.max() < SEEN:
        what = f"the white parts of {_named(mask)} are only a few pixels wide, so nothing may be kept"
        raise ImageError(f"{what}. Paint more of it white")
    return faded, convention


def opaque_bounds(mask: PixelImage, size: Size) -> tuple[Array, str]:
    """`bounds_of` without a fade; an `ImageError` for a mask that is black everywhere."""
    plane, convention = mask_plane(mask, size)
    opaque = np.where(plane >= SEEN, plane, 0).astype(np.float32)
    if not opaque.any():
        raise ImageError(f"{_named(mask)} is black everywhere, so nothing may be kept. Paint more of it white")
    return opaque, convention


def faded_at_cuts(opaque: Array, step: Array, ring: Mask) -> Array:
    """Bounds that fade only where the edge of a mask cuts through a change.

    A fade hides the step at the edge, and with it what lies in the fade. A thing that ends at the edge or beside it
    has no step there on both sides, and stays whole.

    Args:
        opaque: of `opaque_bounds`, ``[height, width]``.
        step: levels by which a result without a fade differs from the original inside, and the edited image from it
            just outside, ``[height, width]``.
        ring: what is just outside, as `around` has it.
    """
    faded = _faded(opaque)
    if faded.max() < SEEN:  # too narrow for a fade
        return opaque
    width = _fade_px(opaque)
    inside = (opaque > 0).astype(np.uint8)
    rim, fade = (inside & ~cv2.erode(inside, disc(radius)) for radius in (_RIM_PX, width))
    both = np.minimum(_mean_of(step, rim), _mean_of(step, ring.astype(np.uint8)))
    cut = (rim > 0) & (both > _AS_STRONG * cv2.dilate(smoothed(step * fade, 1), disc(width)))
    weight = smoothed(cv2.dilate(cut.astype(np.uint8), disc(width)).astype(np.float32), width / 2)
    return opaque + (faded - opaque) * weight


def _named(mask: PixelImage) -> str:
    return f"the mask {mask.path}" if mask.path is not None else "the mask"


def _faded(opaque: Array) -> Array:
    width = _fade_px(opaque)
    darkest = cv2.erode(opaque, np.ones((width, width), dtype=np.uint8))
    return np.minimum(opaque, cv2.blur(darkest, (width, width), borderType=cv2.BORDER_REPLICATE))


def _fade_px(plane: Array) -> int:
    return 2 * round(_FEATHER * min(plane.shape)) + 1


def around(opaque: Array) -> Mask:
    """The pixels just outside a mask."""
    inside = (opaque > 0).astype(np.uint8)
    return (cv2.dilate(inside, disc(_RIM_PX)) & ~inside) > 0


def _mean_of(plane: Array, part: NDArray[np.uint8]) -> Array:
    """Local mean of a plane over a narrow part of it, some pixels around that."""
    return smoothed(plane * part, _RIM_PX) / np.maximum(smoothed(part.astype(np.float32), _RIM_PX), SEEN)


def looks_inverted(changed: Mask, allowed: Mask) -> bool:
    """Whether the mask may mean the opposite: everything changed outside of it and nothing inside."""
    return bool(changed.any() and not (changed & allowed).any())


def _has_hole(colors: Array, opacity: Array) -> bool:
    """Whether transparency marks the place: a hole in an image, or in a layer that covers the border."""
    opaque: Mask = opacity > 0.5
    if not opaque.any():
        return False
    border = np.concatenate([opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]])
    luma = gray(colors)[opaque] / 255
    between = (luma > _EXTREME) & (luma < 1 - _EXTREME)
    names, share = _most_frequent(colors[opaque])
    if share < _FLAT:
        return bool(between.mean() > _MOST_BETWEEN or border.mean() > 0.5)
    return bool(border.mean() > 0.5) and (len(names) > 1 or names[0] not in _HUES)  # in color, it is paint


def _most_frequent(colors: Array) -> tuple[list[str], float]:
    """The three most frequent of colors ``[n, 3]``: their names, each once, and the share that has one of them."""
    counts = np.bincount(np.rint(colors / 17).astype(np.intp) @ np.array([256, 16, 1]), minlength=4096)
    most = [int(cell) for cell in np.argsort(-counts, kind="stable")[:3] if counts[cell]]
    words = [_word(np.array([cell // 256, cell // 16 % 16, cell % 16]) * 17.0) for cell in most]
    return list(dict.fromkeys(words)), float(counts[most].sum() / len(colors))


def _word(color: Array) -> str:
    """A color in a word."""
    if np.ptp(color) <= _PAINTED:
        return ("black", "gray", "white")[int(color.mean() > 64) + int(color.mean() > 191)]
    return _HUES[round(6 * colorsys.rgb_to_hsv(*color.tolist())[0]) % 6]


def _is_mask(plane: Array, black: Mask, white: Mask) -> bool:
    """Whether nearly all pixels are black or white, or of a few levels, or the mask is smooth as blur and gradients."""
    between = ~(black | white)
    if between.mean() <= _MOST_BETWEEN or np.sort(_counts(plane))[-3:].sum() >= _FLAT * plane.size:
        return True
    rough = float(np.abs(plane - smoothed(plane, 1.0))[between].mean()) > _ROUGH
    return not rough and bool(black.any())


def _counts(plane: Array) -> NDArray[np.intp]:
    """How many pixels have each of the 256 levels."""
    return np.bincount(np.rint(255 * plane).astype(np.intp).ravel(), minlength=256)

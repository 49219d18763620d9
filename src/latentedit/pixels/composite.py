"""Compositing the change onto the original, at its size and bit depth; no other pixel is touched."""

import numpy as np

from latentedit.core.console import Tick, nothing
from latentedit.photo.color import Pixels, Space, levels, opacity_of, put_on
from latentedit.photo.warp import UNMOVED, Array, Matrix, Size, scaling, translation, warped
from latentedit.pixels.light import Light
from latentedit.pixels.tones import Tones, sharpened

_STRIP_ROWS = 512  # composited together, which bounds the memory
_LEAST = 1 / 255  # mask values below leave a pixel unchanged, bit for bit
_SHOWN = (-128.0, 383.0)  # domain of the tone curves, in levels
_REACH_PX = 4  # margin of a strip, for the cubic kernel and the sharpening


def composited(
    original: Pixels,
    edited: Pixels,
    mask: Array,
    *,
    matrix: Matrix,
    tones: Tones,
    mismatch: tuple[Array, Size] | None = None,
    light: tuple[Light, Size] | None = None,
    offset: Matrix = UNMOVED,
    sharpening: float = 0.0,
    strength: float = 1.0,
    space: Space | None = None,
    edited_space: Space | None = None,
    tick: Tick = nothing,
) -> Pixels:
    """Blend the edited image into the original; pixels outside the mask stay identical, bit for bit.

    Args:
        original: ``[height, width, 3 or 4]``.
        edited: In its own frame, of any size, with its alpha if it has one.
        mask: Opacity of the change ``[height, width]`` in [0, 1].
        matrix: From the original's pixels to those of the edited image.
        tones: The correction of the edited image's colors.
        mismatch: Colors to subtract, in levels, at any resolution, and the size that they cover.
        light: Other light that is undone, and the size that it covers.
        offset: From the original's pixels to those of the mismatch and the light.
        sharpening: Amount for `tones.sharpened`; 0 for none.
        strength: In [0, 1], multiplies the mask.
        space: The original's color space; None for sRGB.
        edited_space: The edited image's.
        tick: Called once a strip.

    Returns:
        The result, with an alpha channel if one of the two has one.
    """
    if edited.shape[2] > original.shape[2]:
        original = np.dstack([original, np.full_like(original[..., 0], np.iinfo(original.dtype).max)])
    seen = mask * np.float32(strength) > _LEAST
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return original
    result = original.copy()
    left, right = int(columns[0]), int(columns[-1]) + 1
    for top in range(int(rows[0]), int(rows[-1]) + 1, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, int(rows[-1]) + 1)
        tick()
        around = np.s_[top - _REACH_PX : bottom + _REACH_PX, left - _REACH_PX : right + _REACH_PX]
        shown, opacity = cut(edited, matrix, around, edited_space)
        corner = offset @ translation(left - _REACH_PX, top - _REACH_PX)

        def there(plane: Array, size: Size, corner: Matrix = corner, like: Size = shown.shape[1::-1]) -> Array:
            return warped(plane, scaling(size, plane.shape[1::-1]) @ corner, like)

        if light is not None:
            shown = light[0].undone(shown, there(light[0].field, light[1]))
        beyond = shown - shown.clip(*_SHOWN)  # colors outside sRGB, where the curves are not defined
        moved = sharpened(tones.corrected(shown - beyond) + beyond, sharpening)
        if mismatch is not None:
            moved -= there(*mismatch)
        inner, place = np.s_[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX], np.s_[top:bottom, left:right]
        new = None if opacity is None else opacity[inner]
        _put(result[place], moved[inner], new, mask[place] * np.float32(strength), space)
    return result


def _put(pixels: Pixels, moved: Array, opacity: Array | None, weight: Array, space: Space | None) -> None:
    top, touched = np.iinfo(pixels.dtype).max, weight > _LEAST
    if space is None:  # other spaces are clipped to their own gamut
        moved = moved.clip(0, 255)
    own, old = pixels[..., :3], opacity_of(pixels)
    if old is not None:
        new = np.float32(1) if opacity is None else opacity
        total = old * (1 - weight) + new * weight
        np.copyto(pixels[..., 3], np.rint(top * total).astype(pixels.dtype), where=touched)
        weight = np.where((old > 0) & (total > 0), weight * new / np.maximum(total, 1e-6), 1)
    change = put_on(own, moved, space) * (weight * np.float32(top / 255))[..., None]
    np.copyto(own, np.rint(own + change).clip(0, top).astype(own.dtype), where=touched[..., None])


def cut(edited: Pixels, matrix: Matrix, place: tuple[slice, slice], space: Space | None) -> tuple[Array, Array | None]:
    """A part of the edited image in the original's frame, and its alpha; only the pixels needed are converted."""
    rows, columns = place
    corners = np.array([[x, y, 1] for x in (columns.start, columns.stop) for y in (rows.start, rows.stop)]).T
    ends, size = (matrix @ corners)[:2], np.array(edited.shape[1::-1])
    reach = _REACH_PX * max(1, round(float(np.abs(matrix[:2, :2]).max())))
    left, top = (ends.min(axis=1).astype(int) - reach - 1).clip(0, size - 1)
    right, bottom = (ends.max(axis=1).astype(int) + reach + 2).clip((left + 1, top + 1), size)
    part = edited[top:bottom, left:right]
    alpha, shown = opacity_of(part), levels(part, space, 0)
    inner, outer = translation(-left, -top), translation(columns.start, rows.start)
    local, size = inner @ matrix @ outer, (columns.stop - columns.start, rows.stop - rows.start)
    colors = warped(shown, local, size)
    if alpha is None:
        return colors, None
    opacity = warped(alpha, local, size).clip(0, 1)
    return colors / np.maximum(opacity, _LEAST)[..., None], opacity

"""Differences of two images in one frame: to the eye, in decibels, and in their alpha."""

import math

import numpy as np

from latentedit.photo.color import Pixels, levels, opacity_of
from latentedit.photo.images import PixelImage
from latentedit.photo.warp import Array, Mask, cv2, largest, resized

_MEASURED_PIXELS = 500_000  # agreement is measured on a regular grid of about this many pixels


def at_depth(edited: Pixels, original: Pixels) -> Pixels:
    """The edited pixels at the original's bit depth: what an equal value was rounded from, or cut from, is equal."""
    if edited.dtype == original.dtype:
        return edited
    channels = min(edited.shape[2], original.shape[2])
    shared, shared_edited = original[..., :channels], edited[..., :channels]
    deep, flat = (shared, shared_edited) if original.dtype == np.uint16 else (shared_edited, shared)
    same = (flat == deep >> 8) | (flat == _eight_bits(deep))
    converted = edited.astype(np.uint16) * 257 if original.dtype == np.uint16 else _eight_bits(edited)
    np.copyto(converted[..., :channels], shared, where=same)
    return converted


def _eight_bits(pixels: Pixels) -> Pixels:
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def difference(original: Pixels, edited: Pixels) -> Array:
    """Difference to the eye of two images of one size and depth, in levels of 255, ``[height, width]``."""
    amount = largest(cv2.absdiff(original[..., :3], edited[..., :3]))
    top = np.iinfo(original.dtype).max
    if max(original.shape[2], edited.shape[2]) == 4:
        images = (original, edited)
        alphas = [image[..., 3] if image.shape[2] == 4 else np.full_like(image[..., 0], top) for image in images]
        amount = np.where(np.maximum(*alphas) > 0, np.maximum(amount, cv2.absdiff(*alphas)), 0)
    return amount * np.float32(255 / top)


def differing(original: Pixels, kept: Pixels, opacity: Array) -> Mask:
    """The pixels of a result that are others than the original's; where the change has no opacity, it is a copy."""
    differs = np.zeros(opacity.shape, dtype=bool)
    left, top, width, height = cv2.boundingRect((opacity > 0).view(np.uint8))
    if width:
        place = np.s_[top : top + height, left : left + width]
        differs[place] = difference(original[place], kept[place]) > 0
    return differs


def agreement_db(image: PixelImage, original: PixelImage, outside: Mask) -> float:
    """PSNR against the original, as displayed and at its size, where nothing is kept; infinite if no pixel differs."""
    pixels = resized(image.pixels, original.size)
    step = math.ceil(math.sqrt(outside.size / _MEASURED_PIXELS))
    grid = np.s_[::step, ::step]
    apart = levels(pixels[grid], image.space)
    apart -= levels(original.pixels[grid], original.space)
    apart = apart[outside[grid]]
    error = float(np.mean(np.square(apart, out=apart), dtype=np.float64)) if apart.size else 0.0
    if error == 0 and step > 1 and difference(original.pixels, at_depth(pixels, original.pixels))[outside].any():
        error = 1 / outside.size  # the grid misses no more
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def transparency_changed(before: PixelImage, after: PixelImage) -> tuple[float, float]:
    """Shares of the pixels that became more transparent, and less, by a tenth or more."""
    opacities = (opacity_of(image.pixels) for image in (before, after))
    first, second = (np.float32(1) if opacity is None else opacity for opacity in opacities)
    return float((second - first <= -0.1).mean()), float((second - first >= 0.1).mean())

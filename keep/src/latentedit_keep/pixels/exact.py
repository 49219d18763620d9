"""Pairs that are the same bit for bit but for the change, as after retouching: it is every pixel that differs."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit_keep.photo.color import Levels, Pixels
from latentedit_keep.photo.warp import Array, Mask, cv2, gray, largest, smoothed
from latentedit_keep.pixels.differing import difference

_CORNER = 16.0  # least eigenvalue of the structure tensor, as OpenCV scales it: gradients of 2 levels in two directions
_FEW = 8  # corners below which an image has no structure, so that all of its pixels are compared
_SMALL_PX = 12  # a corner counts as equal if all of a window is: 7 px wide, and less for sides below three times this
_LEAST_EQUAL = 0.05  # share of the corners: a new ground under text leaves few equal; chance and codecs leave none
_FLAT = 0.6  # share of equal neighbors from which on there are flat parts and no texture
_GRAINY = 0.95  # share of equal neighbors up to which a place has grain
_LEAST_GRAIN = 0.1  # share of the image with equal grain
_SPREAD = 0.5  # share of the image's width or height over which equal corners lie: a watermark alone is equal too
_NOISE_LEVELS = 8  # differences below, in specks, are what saving a JPEG twice leaves
# A wide change whose luma is the same was made by another decoder.
_ROUNDED_LEVELS = 2.0  # levels by which decoders round luma
_SAME_LUMA = 0.95  # share of what differs; of eleven real edits, at most .70 had the same luma
_WIDE = 0.05  # share of the image
_SOLID = 0.5  # share of a region that is left after erosion, from which on it is no speck
# Specks above all three are noise.
_SPECKS_OF_CHANGE = 0.02  # share of what differs
_SPECKS_OF_IMAGE = 1e-3  # share of the image
_SPECKS = 4  # pixels
_TINY_PX = 32  # longest side up to which nothing can be aligned
_TINY_FEW = 4  # pixels
_TINY_SAME = 0.5  # share of the pixels of a tiny image that must be the same, if it has more than few
_QUALITIES = range(50, 100)  # qualities of JPEG that are tried on a tiny image
_UNEXPLAINED = 12.0  # levels of a difference that JPEG does not explain
_ENCODERS = 2.0  # multiple of JPEG's error that other encoders may add to it
_CHROMA = 2.0  # multiple of both for colors, of which JPEG keeps less
# Two images that were dithered to one palette: below a change, the dots of both lie elsewhere.
_PALETTE = 64  # colors; the dots of larger palettes are faint, and photographs and gray images have more
_COUNTED_PIXELS = 100_000  # pixels of each image whose colors are counted
_DOTS_PX = 2.0  # sigma of the averages in which dots are gone, unlike lines and letters
_DOTS_AROUND_PX = 4.0  # sigma of wider averages, from which they do not differ
_DOTS = 0.1  # least share of what differs
_DOTS_OF_IMAGE = 0.01  # likewise of the image
_WINDOW = np.ones((3, 3), dtype=np.uint8)  # joins the pixels of a speck, and erodes it
# Resampling is suspected if few corners are equal, and certain if many tiles are a mixture. 211 images that were moved
# by .02 to .3 px, sharpened, or resized and back had up to .13 equal, no steep one, and all but three more than .08
# mixed; kept results had .08 of the steep ones and more, or grain.
_STEEP = 256.0  # like `_CORNER`, for gradients of 8 levels, which moving by .02 px changes
_EQUAL = 0.2  # share of equal corners up to which resampling is suspected
_EQUAL_STEEP = 0.02  # share of equal steep corners likewise
_MIXED = 0.08  # share of the tiles with a mixture
_TILE_PX = 24
# Changes by a codec far from a change. Of 338 pairs in WebP, AVIF, HEIC and JPEG XL, 9 were outside these bounds.
_FAR_PX = 24  # beyond what a block of JPEG carries
_CODED_FAR = 0.12  # share of what differs that lies so far; of JPEG, nothing did
_BOTH_SIGNS = 0.35  # share of the tiles with both signs
_FILTERED = 0.16  # share of the energy that a filter of 3 x 3 explains; filters explained .2 or more
_EVEN = 0.15  # spread of the tiles' amounts over their mean, up to which it is grain
_CORE_QUANTILE = 0.995  # quantile of the amounts
_CORE = 0.25  # share of that quantile from which on a place belongs to the change itself
_TELLING = 12  # tiles, fewer of which do not tell that grain is even
_PLACES = 20_000  # on which a filter is fitted
_SMOOTH = 0.8  # share of what differs in a tile that is left after erosion, from which on it is a brush's


def exact_change(original: Pixels, edited: Pixels) -> Mask | None:
    """Every pixel that differs to the eye, or None if two images of one size and depth are not the same elsewhere."""
    # They are if structure that is the same bit for bit is spread over the image. What is transparent in both is equal.
    amount = difference(original, edited)
    differs = amount > 0
    if not differs.any():
        return differs
    equal, resampled = ~differs, True
    rounded = differs.size <= _TINY_FEW and amount.max() <= 1
    if rounded or equal.mean() < _LEAST_EQUAL:
        return differs if differs.size == 1 and amount.max() >= _NOISE_LEVELS else None
    side = 1 + 2 * min(3, min(differs.shape) // _SMALL_PX)
    around, least = np.ones((side, side), dtype=np.uint8), _LEAST_EQUAL * 7 / side
    points, colors = _shown(original, around), original[..., :3]
    colors = colors if original.dtype == np.uint8 else colors >> 8
    steep = cv2.cornerMinEigenVal(gray(colors.astype(np.float32)), 5)
    if (points & (steep > _CORNER)).sum() >= _FEW:  # and texture, which move as well
        strong, unmoved = points & (steep > _STEEP), cv2.erode(equal.astype(np.uint8), around) > 0
        points &= steep > _CORNER
        both = (points, _EQUAL), (strong, _EQUAL_STEEP)
        resampled = all((chosen & unmoved).sum() <= least_left * chosen.sum() for chosen, least_left in both)
        # flat parts with the same outlines bit for bit, whatever their colors: boxes and letters that were recolored
        same_shapes = (_equals_next(original) == _equals_next(edited)).all(axis=0)
        equal |= same_shapes & (_flatness(original) > _FLAT)
    equal_window = cv2.erode(equal.astype(np.uint8), around) > 0
    same = points & equal_window
    if same.sum() < least * points.sum() or not same.any():
        # The corners may all belong to what changed; then the grain around it tells, which no chance repeats.
        points = _shown(original, around) & (_flatness(original) < _GRAINY)
        same = points & equal_window
        if same.sum() < max(_LEAST_GRAIN, least) * points.size:
            return None
    spread = any(_span(same, axis) >= _SPREAD * _span(points, axis) for axis in (0, 1))
    if not spread or _is_noisy(differs, amount) or (resampled and _is_mixed(original, edited, differs, amount)):
        return None
    return None if _is_coded(original, edited, differs, amount) else differs


def dithered_change(original: Pixels, edited: Pixels) -> Mask | None:
    """The change beside the dots of two images that were dithered to the same few colors; None for all others."""
    if original.dtype != np.uint8 or min(original.shape[:2]) < 2 * _TINY_PX:
        return None
    step = math.ceil(math.sqrt(original[..., 0].size / _COUNTED_PIXELS))
    sample = np.concatenate([image[::step, ::step, :3].reshape(-1, 1, 3) for image in (original, edited)])
    if Image.fromarray(sample).getcolors(_PALETTE) is None:  # there are more
        return None
    amount = difference(original, edited)
    differs, strong = amount > 0, amount >= _NOISE_LEVELS
    planes = [image[..., :3].astype(np.float32) for image in (original, edited)]
    near, wide = ([smoothed(plane, sigma) for plane in planes] for sigma in (_DOTS_PX, _DOTS_AROUND_PX))
    pairs = (near, (near[0], wide[0]), (near[1], wide[1]))
    dots = np.all([largest(np.abs(first - second)) < _NOISE_LEVELS for first, second in pairs], axis=0) & strong
    if dots.sum() < max(_DOTS * differs.sum(), _DOTS_OF_IMAGE * dots.size) or (dots == differs).all():
        return None
    # Near an outline, averages differ, but not between the two images.
    near_dots = cv2.dilate(dots.astype(np.uint8), np.ones([4 * round(_DOTS_AROUND_PX) + 1] * 2, dtype=np.uint8)) > 0
    dots |= near_dots & differs & (largest(np.abs(near[1] - near[0])) < _NOISE_LEVELS)
    return cv2.morphologyEx((differs & ~dots).astype(np.uint8), cv2.MORPH_CLOSE, _WINDOW) > 0


def _span(mask: Mask, axis: int) -> int:
    """Length along an axis over which a mask has points."""
    return int(np.ptp(np.flatnonzero(mask.any(axis=axis))))


def _shown(original: Pixels, around: NDArray[np.uint8]) -> Mask:
    """The pixels that are opaque all around, or else all that are seen; all edits of a cut-out have equal outlines."""
    if original.shape[2] == 3:
        return np.ones(original.shape[:2], dtype=bool)
    opaque = cv2.erode(original[..., 3], around) == np.iinfo(original.dtype).max
    return opaque if len(around) > 1 and opaque.any() else original[..., 3] > 0


def _flatness(pixels: Pixels) -> Array:
    """Share of the neighbors that are equal, in a window around each pixel."""
    return cv2.blur(_equals_next(pixels).mean(axis=0, dtype=np.float32), (7, 7))


def _equals_next(pixels: Pixels) -> Mask:
    """Whether each pixel equals the one to its right, and the one below; ``[2, height, width]``."""
    equal = np.ones((2, *pixels.shape[:2]), dtype=bool)
    equal[0, :, :-1] = largest(cv2.absdiff(pixels[:, 1:], pixels[:, :-1])) == 0
    equal[1, :-1] = largest(cv2.absdiff(pixels[1:], pixels[:-1])) == 0
    return equal


def _is_noisy(differs: Mask, amount: Array) -> bool:
    """Whether too much of what differs is faint specks."""
    count, labels = cv2.connectedComponents(cv2.dilate(differs.astype(np.uint8), _WINDOW))
    masks = differs, amount >= _NOISE_LEVELS, cv2.erode(differs.astype(np.uint8), _WINDOW) > 0
    sizes, strong, solid = (np.bincount(labels[mask], minlength=count) for mask in masks)
    specks = sizes[(strong == 0) & (solid < _SOLID * sizes)].sum()
    return bool(specks > max(_SPECKS_OF_CHANGE * sizes.sum(), _SPECKS_OF_IMAGE * differs.size, _SPECKS))


def _is_mixed(original: Pixels, edited: Pixels, differs: Mask, amount: Array) -> bool:
    """Whether faint differences have both signs and gaps in many tiles: no brush leaves that, but moving by .1 px."""
    signs = np.sign(edited[..., :3].sum(axis=2, dtype=np.int32) - original[..., :3].sum(axis=2, dtype=np.int32))
    signs[amount >= _NOISE_LEVELS] = 0
    tiles = [max(1, side // _TILE_PX) for side in differs.shape[::-1]]
    masks = differs, signs > 0, signs < 0, cv2.erode(differs.astype(np.uint8), _WINDOW)
    every, up, down, solid = (cv2.resize(np.float32(mask), tiles, interpolation=cv2.INTER_AREA) for mask in masks)
    return bool(((np.minimum(up, down) > 0) & (solid < _SMOOTH * every)).mean() > _MIXED)


def _is_coded(original: Pixels, edited: Pixels, differs: Mask, amount: Array) -> bool:
    """Whether much of what differs lies far from the change, as codecs leave it that predict blocks from others."""
    left, top, across, down = cv2.boundingRect(differs.astype(np.uint8))
    window = np.s_[top : top + down, left : left + across]
    original, edited, differs, amount = original[window], edited[window], differs[window], amount[window]
    core_levels = max(_NOISE_LEVELS, _CORE * float(np.quantile(amount[differs], _CORE_QUANTILE)))
    core = cv2.morphologyEx((amount >= core_levels).astype(np.uint8), cv2.MORPH_OPEN, _WINDOW)
    far = differs & (cv2.dilate(core, np.ones([2 * _FAR_PX + 1] * 2, dtype=np.uint8)) == 0)
    if far.sum() <= _CODED_FAR * differs.sum():
        return False
    before, after = (image[..., :3].sum(axis=2, dtype=np.int32) for image in (original, edited))
    tiles = [max(1, side // _TILE_PX) for side in differs.shape[::-1]]
    masks = far, far & (after > before), far & (after < before), far * amount
    every, up, down, amounts = (cv2.resize(np.float32(mask), tiles, interpolation=cv2.INTER_AREA) for mask in masks)
    has_far = every > 0
    inner = amounts[cv2.erode(has_far.astype(np.uint8), _WINDOW) > 0]
    even = inner.size >= _TELLING and inner.std() <= _EVEN * inner.mean()
    if even or (np.minimum(up, down) > every / 4)[has_far].mean() <= _BOTH_SIGNS:
        return False
    places = np.flatnonzero(far)
    places = places[:: max(1, len(places) // _PLACES)]
    rows, columns = np.divmod(places, differs.shape[1])
    padded = np.pad(before, 1, mode="edge").astype(np.float64)
    around = [padded[rows + down, columns + across] for down in range(3) for across in range(3)]
    around = np.stack([*around, np.ones(len(places))], axis=1)
    apart = (after - before).ravel()[places].astype(np.float64)
    unexplained = apart - around @ np.linalg.lstsq(around, apart, rcond=None)[0]
    return float(unexplained @ unexplained) > (1 - _FILTERED) * float(apart @ apart)


def only_colors(original: Pixels, edited: Pixels, differs: Mask) -> bool:
    """Whether what differs does so in color alone, as two decodings of one JPEG do, which enlarge color differently."""
    if differs.mean() < _WIDE:
        return False
    scale = 255 / np.iinfo(original.dtype).max
    first, second = (image[differs][None, :, :3].astype(np.float32) * np.float32(scale) for image in (original, edited))
    strong = float(np.abs(first - second).max()) >= _NOISE_LEVELS
    return strong and float((np.abs(gray(first - second)) <= _ROUNDED_LEVELS).mean()) > _SAME_LUMA


def tiny_change(original: Levels, edited: Levels) -> tuple[Mask, bool] | None:
    """Differences of two tiny images that JPEG does not explain, and whether for certain; None if it explains few."""
    if max(original.shape) > _TINY_PX:
        return None
    pixels = Image.fromarray(np.rint(original).clip(0, 255).astype(np.uint8))
    versions = [original]
    for quality in _QUALITIES:
        file = io.BytesIO()
        pixels.save(file, format="JPEG", quality=quality)
        versions.append(np.asarray(Image.open(file)).astype(np.float32))
    coded = min(versions, key=lambda version: float(np.minimum(np.abs(gray(edited - version)), _UNEXPLAINED).mean()))
    limit = _UNEXPLAINED + _ENCODERS * float(np.sqrt((gray(coded - original) ** 2).mean()))
    apart = np.maximum(np.abs(gray(edited - coded)), largest(np.abs(edited - coded)) / _CHROMA)
    if apart.size > _TINY_FEW and (apart > limit).mean() > 1 - _TINY_SAME:
        return None
    certain = bool((apart > limit).any())
    return apart > (limit if certain else _UNEXPLAINED), certain

"""Geometry and filters on images, by OpenCV."""

import functools
import math
from typing import Any

import cv2 as _cv2
import numpy as np
from numpy.typing import NDArray

cv2: Any = _cv2  # its type stubs are imprecise

Size = tuple[int, int]  # width and height in pixels
Array = NDArray[np.floating[Any]]  # ``[height, width, 3]`` in [0, 255], or one plane ``[height, width]``
Box = tuple[int, int, int, int]  # left, top, right and bottom in pixels
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]  # 3 x 3, from centers of the original's pixels to those of the edited image
Alphas = tuple[
    NDArray[np.uint8] | None, NDArray[np.uint8] | None
]  # planes of original and edited image; None if opaque
UNMOVED: Matrix = np.eye(3)
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
OPAQUE = 250  # 8-bit alpha from which on a pixel counts as opaque
_ROW = 1000  # points
_WIDE_PX = 4.5  # sigma above which a Gaussian is applied at a smaller size
_MANY = 50_000  # values from which on a sample says first where a quantile lies
_SAMPLE = 4000  # values of it
_NEAR_RANKS = 150  # ranks of the sample on either side of the quantile
_SHRINKS_BY_AREA = 1.5  # from this factor on an image is area-averaged first; below, it is smoothed a little


def scaling(size: Size, to: Size) -> Matrix:
    """Matrix from an image's pixels to those of the same image at another size, corners aligned."""
    x, y = to[0] / size[0], to[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def translation(x: float, y: float) -> Matrix:
    """Matrix of a shift to the right and down."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def in_rows(values: Array) -> Array:
    """Values, one per point, as rows of a plane that OpenCV resamples: it takes at most 32,767 columns; padded."""
    return np.resize(values, (-(-len(values) // _ROW), _ROW, *values.shape[1:]))


def fitted(size: Size, side: int, least: int = 2) -> Size:
    """The size scaled down so that the longer side is at most ``side``; no side is shorter than ``least``."""
    shrink = min(1.0, side / max(size))
    return max(least, round(size[0] * shrink)), max(least, round(size[1] * shrink))


def resized(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize by area averages when shrinking and by cubic interpolation when enlarging."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] * size[1] < width * height
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def turned(image: NDArray[Any], quarters: int, mirrored: bool) -> NDArray[Any]:
    """The image turned counter-clockwise, then mirrored left to right."""
    return np.ascontiguousarray(np.rot90(image, quarters)[:, :: -1 if mirrored else 1])


def warped(image: Array, matrix: Matrix, size: Size) -> Array:
    """Resample an image by a matrix from the new frame's pixels, cubic; beyond its edges it is mirrored."""
    height, width = image.shape[:2]
    factor = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if factor >= _SHRINKS_BY_AREA:
        smaller = (max(1, round(width / factor)), max(1, round(height / factor)))
        matrix = scaling((width, height), smaller) @ matrix
        image = resized(image, smaller)
    elif factor > 1.05:
        image = smoothed(image, 0.5 * math.sqrt(factor**2 - 1))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE if 1 in image.shape else cv2.BORDER_REFLECT_101  # which hangs on a single row
    return cv2.warpAffine(image, matrix[:2], size, flags=flags, borderMode=border)


def places(size: Size, matrix: Matrix | None = None, flow: Array | None = None) -> tuple[Array, Array]:
    """Coordinates x and y of each pixel of a frame after a flow and then a matrix."""
    x, y = np.arange(size[0], dtype=np.float32)[None], np.arange(size[1], dtype=np.float32)[:, None]
    if flow is not None:
        x, y = x + flow[..., 0], y + flow[..., 1]
    if matrix is None:
        return x, y
    planes = [a * x + b * y for a, b in matrix[:2, :2].astype(np.float32)]
    for plane, shift in zip(planes, matrix[:2, 2].astype(np.float32), strict=True):
        np.add(plane, shift, out=plane)
    return planes[0], planes[1]


def depth_inside(matrix: Matrix, size: Size, edited: Size) -> Array:
    """Distance in pixels of each original pixel from the border of the edited image; negative outside."""
    depths = places(size, matrix)
    for plane, side in zip(depths, edited, strict=True):
        np.minimum(plane, side - 1 - plane, out=plane)
    return np.minimum(*depths, out=depths[0])


def smoothed(image: Array, sigma: float) -> Array:
    """Gaussian blur; wide ones are computed at a smaller size."""
    if sigma < 0.05:
        return image
    if sigma > _WIDE_PX:
        height, width = image.shape[:2]
        step = sigma / 3
        small = resized(image, (max(1, round(width / step)), max(1, round(height / step))))
        return cv2.resize(smoothed(small, 3.0), (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def median(values: Array) -> float:
    """`numpy.median` of a list of values; see `quantile`."""
    first, second = _ranked(values, (values.size - 1) // 2)
    return float(first if values.size % 2 else (first + second) / 2)


def quantile(values: Array, share: float) -> float:
    """`numpy.quantile` of a list of values, in a third of the time."""
    place = share * (values.size - 1)
    first, second = _ranked(values, int(place))
    rest = place % 1
    return float(first + (second - first) * rest if rest < 0.5 else second - (second - first) * (1 - rest))


def _ranked(values: Array, at: int) -> NDArray[Any]:
    """The values of this rank and the next one."""
    if values.size > _MANY:
        sample = np.sort(values[:: values.size // _SAMPLE])
        ends = at * len(sample) // values.size + np.array([-_NEAR_RANKS, _NEAR_RANKS])
        low, high = sample[ends.clip(0, len(sample) - 1)]
        below, near = int(np.count_nonzero(values < low)), values[(values >= low) & (values <= high)]
        if below <= at and at + 1 < below + near.size:
            values, at = near, at - below
    both = at, min(at + 1, values.size - 1)
    return np.partition(values, both)[[*both]]


def ordered(values: Array) -> NDArray[np.int64]:
    """Stable `numpy.argsort` of a list of 32-bit floats: they are sorted as integers together with their places."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32
    return np.sort(keys | np.arange(len(keys))) & 0xFFFFFFFF


def cut_out(image: Array, mask: Mask) -> Array:
    """The image, and 0 outside the mask."""
    return cv2.copyTo(image, mask.view(np.uint8))


def largest(image: Array) -> Array:
    """Maximum over the channels; along so short an axis, NumPy's takes fifteen times as long."""
    return functools.reduce(np.maximum, np.moveaxis(image, -1, 0))


def spread(image: Array) -> Array:
    """Largest minus least of the channels; as fast as `largest`."""
    return largest(image) - functools.reduce(np.minimum, np.moveaxis(image, -1, 0))


def moments(first: Array, second: Array, sigma: float, among: Mask | None = None) -> tuple[Array, Array, Array]:
    """Local variances of two planes and their covariance, under a Gaussian window; of the pixels of a mask alone."""
    if among is not None:
        first, second = first * among, second * among
    planes = [smoothed(plane, sigma) for plane in (first, second, first * first, second * second, first * second)]
    if among is not None:
        weight = np.maximum(smoothed(among.astype(np.float32), sigma), np.float32(0.05))
        for plane in planes:
            np.divide(plane, weight, out=plane)
    here, there, variance, other_variance, covariance = planes
    variance -= here * here
    other_variance -= there * there
    covariance -= here * there
    return variance, other_variance, covariance


def box_around(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of the least box with all of a mask, and of a margin around it; one pixel of an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    bottom, right = top + max(1, height), left + max(1, width)
    return slice(max(0, top - margin), bottom + margin), slice(max(0, left - margin), right + margin)


def touched(mask: Mask, seeds: Mask) -> Mask:
    """The connected parts of a mask that seeds in it belong to."""
    parts, place = np.zeros_like(mask), box_around(mask)
    count, labels = cv2.connectedComponents(mask[place].astype(np.uint8))
    seeded = np.zeros(count, dtype=bool)
    seeded[labels[seeds[place] & mask[place]]] = True
    parts[place] = np.take(seeded, labels)
    return parts


def gray(image: Array) -> Array:
    """Luma."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

"""Drift: some editors move parts of the picture by a few pixels each, which no affine map undoes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.opencv import cv2
from latentedit_keep.registration import Registration, normalised, tile_agreement, working_size
from latentedit_keep.warp import Picture, grey, resized, scaling, smoothed, warped

_MOST_PX = 8.0
"""At the working size; farther apart is another object and no drift."""

_SMOOTH = 1 / 30
"""Of the side: what drifts together."""

_FITS = 1.0
"""Difference of the normalised grey at which a pixel has half a say."""

_GAIN = 0.25
"""Of the tiles that do not agree: so many must agree behind it, or nothing drifted."""

_LITTLE_PX = 0.3
_LEAST_PX = 64
"""Of the side: smaller pictures hold too little texture."""

Flow = NDArray[np.floating[Any]]
"""``[height, width, 2]`` at the working size: how far each of its pixels lies to the right and down."""


def find_drift(original: Picture, edited: Picture, registration: Registration) -> Flow | None:
    """What is left of the movement behind the affine map, smooth; None where the map explains as much.

    Dense inverse search (Kroeger et al. 2016) on locally normalised grey, averaged over what it made alike.

    Args:
        original: at any size, in [0, 255].
        edited: the same.

    Cost:
        About a third of a second.
    """
    size = working_size(registration.size)
    if registration.outside_share > 0.02 or min(size) < _LEAST_PX:
        return None
    matrix = registration.matrix @ scaling(size, registration.size)
    fixed = normalised(grey(resized(original, size)))
    moving = normalised(grey(warped(edited, matrix, size)))
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = search.calc(_bytes(fixed), _bytes(moving), None).clip(-_MOST_PX, _MOST_PX)
    miss = smoothed(np.abs(fixed - _moved(moving, found)), 2.0)
    weight = smoothed(np.abs(fixed), 2.0) / (1 + (miss / _FITS) ** 2) ** 2
    sigma = _SMOOTH * min(size)
    flow = smoothed(found * weight[..., None], sigma) / np.maximum(smoothed(weight, sigma), 1e-4)[..., None]
    if float(np.median(np.hypot(flow[..., 0], flow[..., 1]))) < _LITTLE_PX:
        return None
    before, after = tile_agreement(fixed, moving), tile_agreement(fixed, _moved(moving, flow))
    return flow if 1 - after < (1 - _GAIN) * (1 - before) else None


def without_drift(pixels: NDArray[np.generic], flow: Flow, registration: Registration) -> NDArray[np.generic]:
    """The edited picture in the original's frame, at its size; edges are repeated outwards."""
    width, height = registration.size
    step = flow.shape[1] / width, flow.shape[0] / height
    wide = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    x = np.arange(width, dtype=np.float32)[None] + wide[..., 0] / np.float32(step[0])
    y = np.arange(height, dtype=np.float32)[:, None] + wide[..., 1] / np.float32(step[1])
    a = registration.matrix.astype(np.float32)
    places = a[0, 0] * x + a[0, 1] * y + a[0, 2], a[1, 0] * x + a[1, 1] * y + a[1, 2]
    return cv2.remap(pixels, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _bytes(plane: Picture) -> NDArray[np.uint8]:
    return (128 + 40 * plane).clip(0, 255).astype(np.uint8)


def _moved(plane: Picture, flow: Flow) -> Picture:
    height, width = plane.shape
    x = np.arange(width, dtype=np.float32)[None] + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

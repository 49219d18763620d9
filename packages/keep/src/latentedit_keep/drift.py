"""Drift: some editors move parts of the picture by a few pixels each, which no affine map undoes."""

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.registration import Registration, normalised, tile_agreement
from latentedit_keep.warp import Picture, cv2, grey, places, resized, smoothed, warped

_MOST_PX = 8.0  # at the working size; farther apart is another object and no drift
_TOGETHER = 1 / 30  # of the side: what drifts together
_FITS = 1.0  # difference of the normalised grey at which a pixel has half a say
_GAIN = 0.25  # of the tiles that do not agree, so many must agree behind it, or nothing drifted
_LITTLE_PX = 0.3
_LEAST_SIDE_PX = 64  # smaller pictures hold too little texture


def find_drift(original: Picture, edited: Picture, registration: Registration) -> Picture | None:
    """How far to the right and down the affine map leaves each pixel, at the working size; None where that is as good.

    Dense inverse search (Kroeger et al. 2016) on locally normalised grey, averaged over what it made alike.
    """
    size, matrix = registration.scaled()
    if registration.outside_share > 0.02 or min(size) < _LEAST_SIDE_PX:
        return None
    fixed, moving = (normalised(grey(one)) for one in (resized(original, size), warped(edited, matrix, size)))
    eight_bits = [(128 + 40 * plane).clip(0, 255).astype(np.uint8) for plane in (fixed, moving)]
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = search.calc(*eight_bits, None).clip(-_MOST_PX, _MOST_PX)

    def moved(flow: Picture) -> Picture:
        return cv2.remap(moving, *places(size, flow=flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    miss = smoothed(np.abs(fixed - moved(found)), 2.0)
    weight = smoothed(np.abs(fixed), 2.0) / (1 + (miss / _FITS) ** 2) ** 2
    sigma = _TOGETHER * min(size)
    flow = smoothed(found * weight[..., None], sigma) / np.maximum(smoothed(weight, sigma), 1e-4)[..., None]
    if float(np.median(np.hypot(flow[..., 0], flow[..., 1]))) < _LITTLE_PX:
        return None
    before, after = tile_agreement(fixed, moving), tile_agreement(fixed, moved(flow))
    return flow if 1 - after < (1 - _GAIN) * (1 - before) else None


def without_drift(pixels: NDArray[np.generic], flow: Picture, registration: Registration) -> NDArray[np.generic]:
    """The edited picture in the original's frame, at its size; edges are repeated outwards."""
    width, height = registration.size
    wide = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    wide /= np.array([flow.shape[1] / width, flow.shape[0] / height], dtype=np.float32)
    found = places(registration.size, registration.matrix, wide)
    return cv2.remap(pixels, *found, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

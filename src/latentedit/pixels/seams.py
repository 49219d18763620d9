"""Seams: where a composite passes from the edited image to the original, so that nobody sees it."""

import numpy as np

from latentedit.photo.warp import Array, Mask, cv2, largest, quantile, smoothed, touched
from latentedit.pixels.detection import NEAR, grown

SEAM_PX = 0.7  # sigma of the differences that are seen along a seam
_DETAIL = 8.0  # levels a pixel of detail in both images that hide half of a difference
_FAR = 0.06  # distance from a change from which on differences are the usual ones, as a share of the side
_USUAL = 0.9  # quantile of these
LEAST_SEEN = 5.0  # levels below which no seam is seen; above, it is from the usual difference on
MOST_SEEN = 12.0  # levels from which on any seam is seen
_NEARER = 8.0  # how many times as much a seam costs that far away: what agrees stays the original's
_LENGTH = 0.5  # cost of a pixel of a seam that cannot be seen, in levels
_FIXED = 1e6  # cost of a pixel that must not change sides
_RING_PX = 4  # how far from a change its seam is looked at
_OFTEN = 1.5  # how many times as often as far away a visible difference lies along a seam that is seen
_LEAST_PX = 15  # beyond that number, for which a part of a seam is moved
_LEFT = 0.5  # share of what is seen along it that may be seen along the new one
_WIDE_PX = 1  # sigma over which a seam fades in between images that agree


def hidden(mask: Array, original: Array, edited: Array, inside: Mask, detail: Array) -> Array:
    """The soft mask, with its seam moved to where the two images agree wherever it would be seen: a change only grows.

    The new seam is a minimum cut (Kwatra et al. 2003, "Graphcut textures", with the square of equation 1 as the cost,
    which here falls with the ``detail`` that both images have and grows away from the change).
    """
    side, solid = min(mask.shape), mask > 0.5
    if not solid.any():
        return mask
    difference = edited - original
    fine = largest(np.abs(smoothed(difference, SEAM_PX)))
    away = cv2.distanceTransform((mask < 0.05).astype(np.uint8), cv2.DIST_L2, 3) / np.float32(NEAR * side)
    far = inside & (away > _FAR / NEAR)
    usual = quantile(fine[far], _USUAL) if far.any() else 0.0
    seen, cost = float(np.clip(usual, LEAST_SEEN, MOST_SEEN)), fine / (1 + detail / np.float32(_DETAIL))
    outside = (mask < 0.1) & grown(mask > 0.9, _RING_PX) & inside
    visible = outside & (cost > seen)
    if visible.sum() < _LEAST_PX:
        return mask
    price = (np.maximum(cost - usual / 2, 0) + np.float32(_LENGTH)) * (1 + np.float32(_NEARER) * away)
    damage = (fine > MOST_SEEN) & ~solid
    next_to_it, wider = (grown(solid, times * _RING_PX) for times in (1, 2))
    # Damage that goes on from the change, and ends, is its rest.
    damage &= ~touched(damage, next_to_it) | touched(damage, ~wider)
    wide = least_cut(price, solid, (away < 1) & inside & ~damage)
    # Moved are only those parts of the seam that were seen, and what is near.
    count, pieces = cv2.connectedComponents((wide & ~solid).astype(np.uint8), connectivity=4)
    near = cv2.dilate(pieces.astype(np.float32), np.ones([2 * _RING_PX + 1] * 2, dtype=np.uint8)).astype(np.intp)
    chance = np.float32(_OFTEN * (cost[far] > seen).mean() if far.any() else 0)
    before = np.bincount(near[outside], weights=visible[outside] - chance, minlength=count)
    rim = grown(wide, 1) & ~wide & inside
    after = _RING_PX * np.bincount(near[rim], weights=cost[rim] > seen, minlength=count)
    better = (before >= _LEAST_PX) & (after < _LEFT * before)
    better[0] = False
    added = better[pieces] & grown(visible, round(NEAR * side))
    soft = np.minimum(2 * smoothed(wide.astype(np.float32), 0.7), 1)  # opaque up to the edge
    faded = smoothed(grown(added | solid, _WIDE_PX).astype(np.float32), _WIDE_PX)
    faded *= grown(added, 2 * _WIDE_PX) & inside & (fine < seen)
    return np.maximum(np.where(grown(added, _WIDE_PX), np.maximum(mask, soft), mask), faded)


def least_cut(cost: Array, sure: Mask, free: Mask) -> Mask:
    """All that is sure and some of what is free, by the outline that costs least."""
    left, top, width, height = cv2.boundingRect(grown(free, 1).astype(np.uint8))  # includes the fixed pixels around
    place, changed = np.s_[top : top + height, left : left + width], sure.copy()
    nothing = np.zeros((height, width), dtype=np.float32)
    # OpenCV adds the squared differences of two images along the outline, and 1 for each pair of pixels it divides.
    images = [np.dstack([plane, nothing, nothing]) for plane in (cost[place], nothing)]
    masks = [(255 * allowed[place]).astype(np.uint8) for allowed in (~sure, sure | free)]
    second = cv2.detail_GraphCutSeamFinder("COST_COLOR", _FIXED, 0.0).find(images, [(0, 0), (0, 0)], masks)[1]
    changed[place] = (second.get() if isinstance(second, cv2.UMat) else second) > 0
    return changed

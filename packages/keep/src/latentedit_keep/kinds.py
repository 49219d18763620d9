"""What happened in each separate change: something was added, removed or recolored, or it is unknown.

Something that was added has edges along its outline that only the edited image has, where the original was no more
detailed than its surroundings; something that was removed, the reverse. What was recolored, or lit in another way, has
kept its structure.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.base.warp import Array, Mask, cv2, gray, moments
from latentedit_keep.detection import disc, edges

Kind = Literal["added", "removed", "recolored", "unknown"]
_STEP = 0.5  # logarithm of the ratio of both edges along the outline
_STRONGEST = 0.7  # share of the outline that is left out, since only its strongest edges are the thing's
_LEAST_EDGE = 0.5  # levels a pixel that are added to both
_STANDS_OUT = 1.5  # edges inside a change over those around it from which on there was something, not the background
_SAME, _OTHER = 0.7, 0.35  # local correlation from which on a structure is the same, and below which it is another
_DETAIL = 16.0  # variance of luma in a window from which on it has a structure
_FEWEST = 20  # pixels with structure
_SIDE_PX = 300  # side at which the structure's window and an outline are one pixel wide


def kinds(original: Array, edited: Array, mask: Array, numbers: NDArray[np.int32], count: int) -> tuple[Kind, ...]:
    """The kind of each change, by number, of two images that match in frame and colors."""
    unit = max(1.0, min(mask.shape) / _SIDE_PX)
    radius, found = max(2, round(1.2 * unit)), list[Kind]()
    for number in range(1, count + 1):
        region = (mask > 0.5) & (numbers == number)
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        if not len(rows):
            found.append("unknown")
            continue
        around = 4 * radius
        place = np.s_[
            max(0, rows[0] - around) : rows[-1] + around + 1, max(0, columns[0] - around) : columns[-1] + around + 1
        ]
        found.append(_kind(original[place], edited[place], region[place], radius, 1.5 * unit))
    return tuple(found)


def _kind(original: Array, edited: Array, region: Mask, radius: int, sigma: float) -> Kind:
    solid = region.astype(np.uint8)
    inner = cv2.erode(solid, disc(radius)) > 0
    outline = (cv2.dilate(solid, disc(radius)) > 0) & ~(cv2.erode(solid, disc(3 * radius)) > 0)
    inner = inner if inner.sum() > _FEWEST else region
    one, other, together = moments(gray(original), gray(edited), sigma)
    detailed = inner & (np.maximum(one, other) > _DETAIL)
    part = detailed if detailed.sum() > _FEWEST else inner
    correlation = float(np.median((together / np.sqrt(np.maximum(one * other, 1.0)))[part]))
    if correlation >= _SAME:
        return "recolored"
    both = [edges(image) for image in (original, edited)]
    old, new = (one[outline] for one in both)
    strongest = np.maximum(old, new)
    strong = strongest >= np.quantile(strongest, _STRONGEST)
    step = np.log((new[strong].mean() + _LEAST_EDGE) / (old[strong].mean() + _LEAST_EDGE))
    if correlation >= _OTHER or abs(step) < _STEP:
        return "unknown"
    without = both[0 if step > 0 else 1]
    around = (cv2.dilate(solid, disc(3 * radius)) > 0) & ~(cv2.dilate(solid, disc(radius)) > 0)
    if around.any() and without[inner].mean() > _STANDS_OUT * without[around].mean():
        return "unknown"  # something else took its place
    return "added" if step > 0 else "removed"

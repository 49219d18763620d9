"""Pages that were scrolled under a fixed header, or in one pane: a part whose content moved by whole pixels."""

import dataclasses
import math

import numpy as np

from latentedit_keep.photo.color import Pixels
from latentedit_keep.photo.warp import Array, Box, Mask, cv2, gray, smoothed
from latentedit_keep.pixels.differing import at_depth

_EXACT_LEVELS = 1.0  # difference up to which screens that were not coded are equal
_CODED_LEVELS = 8.0  # difference up to which they are after a codec
_SCROLLED = 0.01  # share of the image that must differ for a part of it to be sought elsewhere
_OPENS = np.ones((3, 3), dtype=np.uint8)  # what differs in fewer pixels is no content
_LINES = 1 / 16  # of the tolerance: how far the means of rows may differ
# Outlines that must appear again where the shift puts them.
_LEAST_AGAIN = 500  # pixels
_AGAIN = 0.15  # share of all
_AGAIN_IN_ROWS = 0.95  # share among the rows that moved: scrolled pages had .98, others with boxes of one size .86
_TRIED = 10  # shifts, the likeliest first by either score
_BETWEEN = 0.3  # share of the rows between both places of what moved that must differ
_RIM_PX = 4  # at both ends of what moved, where smoothing mixes it with what is beside it


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scroll:
    """A part of an image whose content moved by whole pixels, to the right or down, while all around it stayed."""

    box: Box
    right: int
    down: int
    rest: float  # share of the image that differs after that, without what came into view

    @property
    def line(self) -> str:
        """What happened, in words."""
        left, top, right, bottom = self.box
        after = f"{100 * self.rest:.2f} % of the image differs visibly" if self.rest else "nothing else differs visibly"
        return f"the part {left},{top} to {right},{bottom} moved by {self.right}, {self.down} px; after that, {after}"


def find_scroll(original: Pixels, edited: Pixels, box: Box, *, exact: bool) -> Scroll | None:
    """The part of a page that was scrolled, in a box of two images of one size that are ``exact`` or were coded."""
    tolerance, unit = _EXACT_LEVELS if exact else _CODED_LEVELS, np.float32(255 / np.iinfo(original.dtype).max)
    x, y, end, below = box
    parts = (one[y:below, x:end, :3] for one in (original, at_depth(edited, original)))
    planes = [smoothed(gray(one) * unit, 1.0) for one in parts]
    pixels = math.prod(original.shape[:2])
    if (cv2.absdiff(*planes) > tolerance).sum() < _SCROLLED * pixels:
        return None
    for across in (False, True):
        here, there = (np.ascontiguousarray(one.T) if across else one for one in planes)
        found = _scrolled(here, there, tolerance)
        if found is not None:
            box, by, rest = found
            left, top, right, bottom = (box[at ^ across] for at in range(4))
            place = x + left, y + top, x + right, y + bottom
            return Scroll(box=place, right=by * across, down=by * (not across), rest=rest / pixels)
    return None


def _opened(mask: Mask) -> Mask:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _OPENS) > 0


def _scrolled(here: Array, there: Array, tolerance: float) -> tuple[Box, int, int] | None:
    """The part that was scrolled, by how many rows, and how many pixels differ after that."""
    differs = _opened(cv2.absdiff(here, there) > tolerance)
    steep = np.hypot(*(cv2.Sobel(there, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1))))
    outlines, count = differs & (steep > tolerance), len(here)
    weights, means = outlines.sum(axis=1), (here.mean(axis=1), there.mean(axis=1))
    shifts, below = np.arange(1 - count, count), np.append(0, np.cumsum(weights))
    same = np.zeros(len(shifts))
    for row in np.flatnonzero(weights):  # from each place of the other image, by the least shift last
        same[row : row + count] += weights[row] * (np.abs(means[1][row] - means[0][::-1]) <= _LINES * tolerance)
    moved = below[np.minimum(count + shifts, count)] - below[np.maximum(shifts, 0)]
    scores = np.stack([same, same**2 / np.maximum(moved, 1)], axis=1)  # boxes of one size repeat, their text does not
    for by in (np.argsort(-scores, axis=0, kind="stable")[:_TRIED] + 1 - count).ravel().tolist():
        if by and (found := _moved(here, there, differs, outlines, by, tolerance)) is not None:
            return found[0], by, found[1]
    return None


def _rows(count: int, by: int) -> tuple[slice, slice]:
    """The rows that others moved to by so many places, and those others."""
    return np.s_[max(0, by) : count + min(0, by)], np.s_[max(0, -by) : count - max(0, by)]


def _moved(
    here: Array, there: Array, differs: Mask, outlines: Mask, by: int, tolerance: float
) -> tuple[Box, int] | None:
    """The part that moved down by so many rows, and how many pixels differ after that; None if none did."""
    count, weights = len(here), outlines.sum(axis=1)
    to, of = _rows(count, by)
    again = np.zeros(differs.shape, dtype=bool)
    again[to] = cv2.absdiff(there[to], here[of]) <= tolerance
    seen = (outlines & again).sum(axis=1)
    lines = np.flatnonzero(2 * seen > np.maximum(weights, 1))
    if not lines.size or seen.sum() < max(_LEAST_AGAIN, _AGAIN * weights.sum()):
        return None
    first, last = int(lines[0]), int(lines[-1]) + 1
    if seen[first:last].sum() < _AGAIN_IN_ROWS * weights[first:last].sum():
        return None
    gap = differs[slice(last, first - by) if by < 0 else slice(last - by, first)].any(axis=1)
    if gap.size and gap.mean() < _BETWEEN:  # a thing that moved, past what stayed
        return None
    left, _, width, _ = cv2.boundingRect((outlines & again)[first:last].astype(np.uint8))
    top, bottom = max(0, first - max(0, by)), min(count, last - min(0, by))
    across = slice(max(0, left - _RIM_PX), left + width + _RIM_PX)
    for came in (slice(max(0, top - _RIM_PX), first + _RIM_PX), slice(last - _RIM_PX, bottom + _RIM_PX)):
        again[came, across] = True  # what came into view, and what borders on it
    rest = int(np.count_nonzero(_opened(differs & ~again)))
    return (left, top, left + width, bottom), rest

"""Whether two images have the same layout, where their pixels do not agree well enough to be aligned."""

import numpy as np

from latentedit.photo import warp
from latentedit.photo.warp import Array, cv2, gray
from latentedit.pixels.finding import GUESS_SIDE_PX, opacities
from latentedit.pixels.registration import Registration
from latentedit.pixels.rest import structure

UNLIKE = 0.3  # structure below which an image must at least have the layout; images redrawn in place had .41 and more
# Images have nothing in common below both.
_STRANGERS_AGREE = 0.1  # agreement; different images had at most 0.01, equal ones at least 0.46
_STRANGERS_INLIERS = 16  # different images had at most 6, equal ones at least 26
# Below both, and below `UNLIKE` in structure, the alignment is a guess.
_UNSURE_AGREEMENT = 0.3
_UNSURE_INLIERS = 100


def is_unsure(original: Array, edited: Array, frame: Registration, alphas: warp.Alphas) -> bool:
    """Whether the alignment cannot be trusted: too little agrees after it. A negative agrees as well."""
    if frame.agreement < _STRANGERS_AGREE and frame.inliers < _STRANGERS_INLIERS:
        return True
    if frame.agreement >= _UNSURE_AGREEMENT or frame.inliers >= _UNSURE_INLIERS:
        return False
    size, matrix = frame.scaled(GUESS_SIDE_PX)
    inside = warp.depth_inside(matrix, size, frame.edited_size) >= 0
    inside &= np.minimum(*opacities(alphas, matrix, size)) >= warp.OPAQUE
    return abs(structure(warp.resized(original, size), warp.warped(edited, matrix, size), inside)) < UNLIKE


# Layout correlation of a redrawn image. Of 36 pairs, those redrawn in place had 0.59 to 0.88 (one 0.48), others up to
# 0.47 (two 0.56 and 0.60).
_LAYOUT = 0.5
# Cells by which all of a layout may be shifted: a scene that is redrawn at night and shown a
# quarter farther down.
_SHIFT_CELLS = 4
_SHIFTED = 0.6  # layout correlation of a shifted image; 8,000 strangers reached .53


def is_drawn_anew(original: Array, edited: Array) -> bool:
    """Whether edges lie at the same positions in the same directions, whatever the style."""
    layouts, far = (_layout(original), _layout(edited)), range(-_SHIFT_CELLS, _SHIFT_CELLS + 1)
    if _similarity(*layouts) >= _LAYOUT:
        return True
    return max(_similarity(*layouts, down, right) for down in far for right in far) >= _SHIFTED


_FRAMED_INLIERS = 8  # least inliers of a frame in which layouts are compared
_FRAMED_SHARE = 0.25  # least share of the original that such a frame shows


def is_drawn_anew_in(original: Array, edited: Array, frame: Registration) -> bool:
    """Whether edges lie alike in the part that both show by a frame that few features agree on: redrawn from nearer."""
    size, matrix = frame.scaled(GUESS_SIDE_PX)
    inside = warp.depth_inside(matrix, size, frame.edited_size) >= 0
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    if frame.inliers < _FRAMED_INLIERS or width * height < _FRAMED_SHARE * inside.size:
        return False
    images = warp.resized(original, size), warp.warped(edited, matrix, size)
    layouts = [_layout(image[top : top + height, left : left + width]) for image in images]
    return _similarity(layouts[0], layouts[1]) >= _SHIFTED


def _layout(image: Array) -> Array:
    """Histograms of oriented gradients in 16 x 16 cells."""
    plane = gray(warp.resized(image, (256, 256)))
    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    size, angle = cv2.cartToPolar(across, down)
    bins = (angle * np.float32(8 / np.pi)).astype(int) % 8
    counts = [cv2.resize(size * (bins == at), (16, 16), interpolation=cv2.INTER_AREA) for at in range(8)]
    return np.sqrt(np.stack(counts))


def _similarity(first: Array, second: Array, down: int = 0, right: int = 0) -> float:
    """Correlation of two layouts, the second shifted by so many cells, where they overlap."""
    shifts = list(zip((down, right), first.shape[1:], strict=True))
    parts = [(slice(max(0, -by), size - max(0, by)), slice(max(0, by), size + min(0, by))) for by, size in shifts]
    first, second = (plane[:, parts[0][at], parts[1][at]] for at, plane in enumerate((first, second)))
    first, second = first - first.mean(), second - second.mean()
    return float(np.sum(first * second) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-6))

"""The verdict on a detected change: whether it is certain, local, a background, all of the image, or nothing."""

import math

import numpy as np

from latentedit.photo.warp import Mask, cv2
from latentedit.pixels.change import CERTAIN, GLOBAL_CAST, OPAQUE, VISIBLE, DetectedChange, Found
from latentedit.pixels.detection import FADES

EXTENDED = 0.1  # share of the edited image beyond the original from which on that may be the request; drift has .05
_REFRAMED_ZOOM = 0.1  # deviation of the zoom from 1 above which the image was reframed
REFRAMED_OUTSIDE = 0.2  # share of the original outside the frame above which it was
# A change is the background if it has both shares.
_BACKGROUND = 0.4  # share of the image
_BACKGROUND_BORDER = 0.6  # share of its border


def judge(change: DetectedChange) -> Found:
    """Judge what happened to the content of a pair that is aligned, whatever happened to its colors."""
    frame, share = change.registration, float(change.mask.mean())
    if is_redrawn(change) or share == 1:
        return "redrawn"
    if share >= change.least_share:
        uneven = is_recolored(change) and not change.is_separated  # the rest may look as much like a change
        if uneven or not (change.exact or _is_certain(change)):
            return "faint change"
        rows, columns = change.mask.shape
        width = min(round(1.5 * FADES * max(rows, columns)), (min(rows, columns) - 1) // 2)  # changes may fade there
        inner = change.mask[width : rows - width, width : columns - width]
        border = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
        is_background = share >= _BACKGROUND and float((border > 0.5).mean()) >= _BACKGROUND_BORDER
        return "background replaced" if is_background else "local change"
    if change.light_alone is not None:
        return "faint change"
    if abs(frame.zoom - 1) > _REFRAMED_ZOOM or frame.outside_share > REFRAMED_OUTSIDE:
        return framed(change)
    return "identical" if change.exact else "nothing"


# Unchanged share below which a change is global. Of photographs of which 75 % were replaced by another one, .21 to .23
# was left.
_GLOBAL_UNCHANGED = 0.2
_GLOBAL_STRUCTURE = 0.6  # correlation of the unchanged part below which the image was redrawn
# A much sharper edited image was restored if the original has less than this share of its detail: restored images had
# .17 to .60, sharp local edits .80, noise .96.
_RESTORED_SHARED = 0.7
# Below all three it was restyled; a figure replaced in front of a plain ground also leaves little detail, and most of
# the image.
_RESTYLED_DETAIL = 0.2  # unchanged share of the detail
_RESTYLED_STRUCTURE = 0.97
_RESTYLED_UNCHANGED = 0.6  # share of the image


def is_redrawn(change: DetectedChange) -> bool:
    """Whether the whole image was changed, by more than a cast."""
    return not change.exact and (
        change.unchanged_share < _GLOBAL_UNCHANGED
        or (change.is_repainted and not (change.in_place or change.stands_out))
        or change.structure < _GLOBAL_STRUCTURE
        or (change.shared_detail < _RESTORED_SHARED and not change.is_replacement)
        or (
            change.unchanged_detail < _RESTYLED_DETAIL
            and change.structure < _RESTYLED_STRUCTURE
            and change.unchanged_share < _RESTYLED_UNCHANGED
        )
    )


def framed(change: DetectedChange) -> Found:
    """The verdict on an image in another frame without a change: the same, or redrawn if the rest disagrees."""
    return "reframed" if change.exact or (change.in_place and not change.is_repainted) else "redrawn"


# Where a large part was replaced for certain, another cast of a rest that agrees was not intended up to this multiple.
_BY_THE_WAY = 2.0


def is_recolored(change: DetectedChange) -> bool:
    """Whether all colors changed as if on request, an image without colors has some now, or only the light changed."""
    # The correction is a guess of colors that an image does not have: tinted gray photographs had 22 to 29. Where it
    # leaves a residual, each part was lit in another color.
    unsure = 0.0 if change.is_repainted else change.tones.cast_uncertainty
    cast = change.tones.cast - unsure
    is_lit = (light := change.light_alone) is not None and light.most > GLOBAL_CAST
    is_cast = cast > GLOBAL_CAST and not (cast < _BY_THE_WAY * GLOBAL_CAST and change.is_replacement)
    return change.colored or is_lit or is_cast


EDGE_PX = 1.5  # px at the working size; nine of ten outlines are no farther off
# Uncertainty of a fraction by its outline above which little is known of a change, as in icons.
# Without this rule a small change that is more than twice as strong as a certain one counts as
# faint.
_UNKNOWN = 0.25


def _is_certain(change: DetectedChange) -> bool:
    """Whether a change is more than noise; of one less than twice as strong, the share must be certain, too."""
    px = change.registration.uncertainty_px * max(change.mask.shape) / max(change.registration.size)
    if np.isinf(change.contrasts).any():  # found pixel by pixel
        return True
    for number in np.flatnonzero(change.contrasts >= CERTAIN):
        opacity = change.mask * (change.numbers == number)
        solid, faint = opacity > OPAQUE, (opacity > VISIBLE) & (opacity <= OPAQUE)
        off = share_uncertainty(solid, faint, EDGE_PX + px)
        # edges that lie elsewhere differ as much as any change
        known = px <= EDGE_PX and share_uncertainty(solid, faint, EDGE_PX) < _UNKNOWN
        if (known and change.contrasts[number] >= 2 * CERTAIN) or solid.mean() > off:
            return True
    return False


_OUTLINE_FACTOR = 2.0  # calibrated so that nineteen of twenty errors of a share are smaller: docs/results/check.md
_LEAST_SHARE = 4e-4  # uncertainty of every share: smaller changes are not detected


def share_uncertainty(solid: Mask, faint: Mask, edge_px: float) -> float:
    """Uncertainty of a change's share: that of its outline, and what is too faint to be counted."""
    width = 2 * math.ceil(edge_px) + 1
    band = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)).mean() / 2
    return max(_OUTLINE_FACTOR * float(band) + float(faint.mean()), _LEAST_SHARE)

"""What a pair of pictures is: one with a change, unchanged, reframed, changed as a whole, or no pair at all."""

from typing import Literal

import numpy as np

from latentedit_keep.change import Change
from latentedit_keep.registration import Registration
from latentedit_keep.warp import Picture, cv2, grey, resized

Verdict = Literal[
    "kept",
    "nothing changed",
    "reframed: nothing to keep",
    "global change: kept as a global change",
    "different pictures",
]

_STRANGERS = (0.1, 16)  # below both agreement and inliers, two pictures have nothing in common
_REFRAMED_ZOOM = 0.1  # away from 1, beyond which the frame is another
_REFRAMED_OUTSIDE = 0.3  # share of the original that is not shown, the same
_NOTHING = 3e-4  # share of the mask below which nothing was changed
_GLOBAL_UNCHANGED = 0.25  # share of what is shown that must be unchanged, or the change is of the whole picture
_GLOBAL_RESIDUAL = 6.0  # levels by which the rest differs at a coarse scale
_GLOBAL_STRUCTURE = 0.6  # correlation where nothing else was found, below which the picture was drawn anew
_GLOBAL_CAST = 22.0  # mean change of colours in levels, beyond which it was asked for; editors' casts are below 17
_IN_PLACE = (0.9, 0.5)  # structure and agreement from which on the picture is the same, whatever its colours
_UNSURE = (0.3, 0.3, 100)  # below this structure, agreement and number of inliers the frame is a guess
_LAYOUT = 0.5  # correlation of the layouts from which on one picture is the other, drawn anew in place


def is_unsure(found: Registration, structure: float) -> bool:
    """Nothing of the one picture is found in the other where the registration says, by the structure there either."""
    agreement, inliers = found.agreement, found.inliers
    nothing = agreement < _STRANGERS[0] and inliers < _STRANGERS[1]
    return nothing or (structure < _UNSURE[0] and agreement < _UNSURE[1] and inliers < _UNSURE[2])


def is_drawn_anew(original: Picture, edited: Picture) -> bool:
    """Edges lie at the same places in the same directions, whatever the style."""
    first, second = _layout(original), _layout(edited)
    return float(np.sum(first * second)) >= _LAYOUT


def _layout(picture: Picture) -> Picture:
    """Histograms of the directions of edges, of 16 x 16 places, centred; its length is 1."""
    plane = grey(resized(picture, (256, 256)))
    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    size, angle = cv2.cartToPolar(across, down)
    bins = (angle * np.float32(8 / np.pi)).astype(int) % 8
    counts = [cv2.resize(size * (bins == at), (16, 16), interpolation=cv2.INTER_AREA) for at in range(8)]
    found = np.sqrt(np.stack(counts))
    found -= found.mean()
    return found / max(float(np.linalg.norm(found)), 1e-6)


def judge(change: Change) -> Verdict:
    """The verdict on a pair that has something in common."""
    found = change.registration
    in_place = change.structure >= _IN_PLACE[0] and found.agreement >= _IN_PLACE[1]
    if (
        change.unchanged_share < _GLOBAL_UNCHANGED
        or (change.residual > _GLOBAL_RESIDUAL and not in_place)
        or change.structure < _GLOBAL_STRUCTURE
        or change.tones.cast > _GLOBAL_CAST
        or change.lost_colours
    ):
        return "global change: kept as a global change"
    if float(change.mask.mean()) >= _NOTHING:
        return "kept"
    if abs(found.zoom - 1) > _REFRAMED_ZOOM or found.outside_share > _REFRAMED_OUTSIDE:
        return "reframed: nothing to keep"
    return "nothing changed"

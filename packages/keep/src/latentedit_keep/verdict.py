"""What a pair of pictures is: one with a change, unchanged, reframed, changed as a whole, or no pair at all."""

from typing import Literal

from latentedit_keep.change import Change
from latentedit_keep.registration import Registration

Verdict = Literal[
    "kept",
    "nothing changed",
    "reframed: nothing to keep",
    "global change: kept as a global change",
    "different pictures",
]

_STRANGERS = (0.1, 16)
"""Below both agreement and inliers, two pictures have nothing in common."""

_REFRAMED_ZOOM = 0.1
_REFRAMED_OUTSIDE = 0.3
"""Zoom away from 1, or share of the original that is not shown, beyond which the frame is another."""

_NOTHING = 3e-4
"""Share of the mask below which nothing was changed."""

_GLOBAL_UNCHANGED = 0.25
"""Share of what is shown that must be unchanged, or the change is of the whole picture."""

_GLOBAL_RESIDUAL = 6.0
"""Levels of 255 by which the rest differs at a coarse scale."""

_GLOBAL_STRUCTURE = 0.6
"""Correlation with the original, where nothing else was found, below which the picture was drawn anew."""

_GLOBAL_CAST = 35.0
"""Levels of 255 by which colours changed on average, beyond which it was asked for; editors' casts are below 20."""


def are_strangers(registration: Registration) -> bool:
    """Nothing of the one picture is found in the other."""
    return registration.agreement < _STRANGERS[0] and registration.inliers < _STRANGERS[1]


def judge(change: Change) -> Verdict:
    """The verdict on a pair that has something in common."""
    found = change.registration
    if (
        change.unchanged_share < _GLOBAL_UNCHANGED
        or change.residual > _GLOBAL_RESIDUAL
        or change.structure < _GLOBAL_STRUCTURE
        or change.tones.cast > _GLOBAL_CAST
    ):
        return "global change: kept as a global change"
    if float(change.mask.mean()) >= _NOTHING:
        return "kept"
    if abs(found.zoom - 1) > _REFRAMED_ZOOM or found.outside_share > _REFRAMED_OUTSIDE:
        return "reframed: nothing to keep"
    return "nothing changed"

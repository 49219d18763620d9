"""What an editor changed: the loop between what did not change, what was done to everything, and what is left."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.detection import components, detect, rim
from latentedit_keep.opencv import cv2
from latentedit_keep.registration import Registration
from latentedit_keep.sharpness import fit_blur, fit_sharpening, matched
from latentedit_keep.tones import Tones, first_guess, fit_tones, lost_colours
from latentedit_keep.warp import Matrix, Picture, Size, depth_inside, grey, moments, resized, scaling, smoothed, warped

WORKING_SIDE_PX = 1400
"""Changes are looked for at this longer side at most; the mask of a larger picture is enlarged."""

_GUESS_SIDE_PX = 700
"""The first guess is made at this longer side at most."""

_ROUNDS = 3
_GUARD = 0.006
"""Around what changed so much of the side is not taken for unchanged."""

Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """What was changed, at the size at which it was looked for.

    Args:
        registration: where the original's pixels lie in the edited picture.
        tones: from the edited picture's colours to the original's.
        blur: of the edited picture against the original, in pixels of this size; negative where it is sharper.
        sharpening: that takes the change to the original's sharpness, at the original's size.
        mask: soft, ``[height, width]`` in [0, 1].
        numbers: of the separate changes, ``[height, width]``, the largest is 1; 0 around them.
        count: of separate changes.
        inside: what the edited picture shows.
        unchanged_share: of what it shows.
        residual: levels of 255 by which what did not change still differs, at a coarse scale, as a robust deviation.
        structure: correlation of what did not change with the original, the median over places with detail.
        lost_colours: the edited picture has shades of one colour, and the original more.
    """

    registration: Registration
    tones: Tones
    blur: float
    sharpening: float
    mask: NDArray[np.floating[Any]]
    numbers: NDArray[np.int32]
    count: int
    inside: Mask
    unchanged_share: float
    residual: float
    structure: float
    lost_colours: bool


def find_change(original: Picture, edited: Picture, registration: Registration) -> Change:
    """Find what was changed between two pictures whose registration is known.

    Args:
        original: at any size, in [0, 255].
        edited: the same.

    Cost:
        About 3 s for a picture of 1400 pixels on one core, whatever the size beyond.
    """
    size = fitted(registration.size, WORKING_SIDE_PX)
    matrix = registration.matrix @ scaling(size, registration.size)
    here, there = resized(original, size), warped(edited, matrix, size)
    inside = _shown(matrix, size, registration.edited_size)
    tones, unchanged = _first_guess(here, there, inside)
    guard = np.ones([2 * max(1, round(_GUARD * max(size))) + 1] * 2, dtype=np.uint8)
    blur, evidence, toned = 0.0, None, there
    for _ in range(_ROUNDS):
        first = evidence is None
        if evidence is not None:
            unchanged = inside & (cv2.dilate(evidence.changed.astype(np.uint8), guard) == 0)
            if unchanged.sum() < 0.02 * unchanged.size:
                break
            tones = fit_tones(here, there, unchanged)
        toned = tones.apply(there)
        blur = fit_blur(here, toned, unchanged)
        evidence = detect(
            *matched(tones.limited(here), toned, blur), inside, unchanged, blur, tones.doubt(there), first=first
        )
    assert evidence is not None
    mask = rim(evidence, inside, blur)
    count, numbers = components(mask)
    unchanged = inside & ~evidence.changed
    return Change(
        registration=registration,
        tones=tones,
        blur=blur,
        sharpening=_sharpening(original, edited, registration, tones, unchanged),
        mask=mask,
        numbers=numbers,
        count=count,
        inside=inside,
        unchanged_share=float(unchanged.sum() / max(inside.sum(), 1)),
        residual=_residual(tones.limited(here), toned, unchanged),
        structure=_structure(tones.limited(here), toned, unchanged),
        lost_colours=lost_colours(here, there, inside),
    )


def whole_structure(original: Picture, edited: Picture, registration: Registration) -> float:
    """Median local correlation of brightness where the registration takes the edited picture; negatives count, too."""
    size = fitted(registration.size, _GUESS_SIDE_PX)
    matrix = registration.matrix @ scaling(size, registration.size)
    inside = depth_inside(matrix, size, registration.edited_size) >= 0
    return abs(_structure(resized(original, size), warped(edited, matrix, size), inside))


def fitted(size: Size, side: int) -> Size:
    """The size at which the longer side is this at most."""
    shrink = min(1.0, side / max(size))
    return max(2, round(size[0] * shrink)), max(2, round(size[1] * shrink))


def _first_guess(here: Picture, there: Picture, inside: Mask) -> tuple[Tones, Mask]:
    size = (inside.shape[1], inside.shape[0])
    small = fitted(size, _GUESS_SIDE_PX)
    shown = cv2.resize(inside.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    tones, unchanged = first_guess(resized(here, small), resized(there, small), shown)
    return tones, inside & (cv2.resize(unchanged.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _shown(matrix: Matrix, size: Size, edited: Size) -> Mask:
    """What the edited picture shows; along an edge of it within the original, editors mix in what they invented."""
    depth = depth_inside(matrix, size, edited)
    border = np.zeros(depth.shape, dtype=bool)
    border[:3], border[-3:], border[:, :3], border[:, -3:] = True, True, True, True
    return (depth >= 2.5) | border & (depth >= -0.5)


def _sharpening(original: Picture, edited: Picture, registration: Registration, tones: Tones, unchanged: Mask) -> float:
    """Found in the middle of the picture at its own size, where detail is what it will be."""
    width, height = (min(side, WORKING_SIDE_PX) for side in registration.size)
    left, top = (registration.size[0] - width) // 2, (registration.size[1] - height) // 2
    window = np.s_[top : top + height, left : left + width]
    place = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    there = tones.apply(warped(edited, registration.matrix @ place, (width, height)))
    whole = cv2.resize(unchanged.astype(np.uint8), registration.size, interpolation=cv2.INTER_NEAREST)[window] > 0
    return fit_sharpening(tones.limited(original[window]), there, whole)


def _residual(original: Picture, toned: Picture, unchanged: Mask) -> float:
    if unchanged.sum() < 200:
        return float("inf")
    sigma = max(2.0, min(unchanged.shape) / 60)
    difference = np.abs(smoothed(toned - original, sigma)).max(axis=2)
    return 1.48 * float(np.median(difference[unchanged]))


def _structure(original: Picture, toned: Picture, unchanged: Mask) -> float:
    """Median local correlation of brightness, over windows that hold detail."""
    one, other, together = moments(smoothed(grey(original), 0.8), smoothed(grey(toned), 0.8), 6.0)
    detailed = unchanged & (one > 16)
    if detailed.sum() < 50:
        return 1.0
    correlation = together / np.sqrt(np.maximum(one * other, 1e-3))
    return float(np.median(correlation[detailed]))

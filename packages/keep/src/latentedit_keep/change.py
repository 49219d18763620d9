"""Detection of an editor's change, in a loop over unchanged pixels, global corrections and residual; the verdict."""

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.base import warp
from latentedit_keep.base.console import Tick, nothing
from latentedit_keep.base.warp import Array, Mask, cv2, gray, smoothed
from latentedit_keep.detection import components, contrasts, detect, grown, joined, leftovers, rim, vanished
from latentedit_keep.kinds import Kind, kinds
from latentedit_keep.registration import Registration
from latentedit_keep.tones import (
    Tones,
    first_guess,
    fit_blur,
    fit_sharpening,
    fit_tones,
    lost_colors,
    matched,
    without_color,
)
from latentedit_keep.transparency import alpha_change

WORKING_SIDE_PX = 1400  # longest side for detection, at which 12 megapixels take 6 s; the mask is then enlarged
_GUESS_SIDE_PX = 700  # longest side for the first guess
_ROUNDS = 3  # of colors and detection, each on the pixels that the round before left unchanged
_SETTLED = 0.005  # share of the pixels that a round adds or removes below which it is the last
_GUARD = 0.006  # of the side: margin around a change that does not count as unchanged
_DETAIL_LEVELS = 4.0  # fine contrast from which on a pixel belongs to detail
_MISMATCH = (0.02, 10.0)  # sigma as a share of the side, and bound in levels
# Agreement and inliers below both of which images have nothing in common. Different images had at most 0.01 and 6, the
# same image at least 0.46 and 26.
_STRANGERS = (0.1, 16)
_REFRAMED_ZOOM = 0.1  # deviation of the zoom from 1 above which the editor reframed the image
_REFRAMED_OUTSIDE = 0.3  # share of the original outside the frame, likewise
NOTHING = 3e-4  # mean of the mask below which nothing was found
_CERTAIN_SIDE = 0.03  # of the root of the area: side of a change that is found for certain; see docs/results/check.md
_GLOBAL_UNCHANGED = 0.25  # unchanged share below which a change is global
_GLOBAL_RESIDUAL = 6.0  # coarse difference of the rest in levels above which a change is global; usual are 0.4 to 4.3
_GLOBAL_STRUCTURE = 0.6  # correlation of the unchanged part below which the image was redrawn
# Unchanged share of the detail, structure, and unchanged share below all of which it was restyled; a figure replaced in
# front of a plain ground also leaves little detail, and most of the image.
_RESTYLED = (0.15, 0.95, 0.6)
# Mean change of colors in levels above which it was intended: local edits had at most 16.4, and black and white has 28.
_GLOBAL_CAST = 22.0
_IN_PLACE = (0.85, 0.5)  # structure and agreement from which on a large residual is not a global change
_UNSURE = (0.3, 0.3, 100)  # structure, agreement and inliers below all of which the alignment is a guess
# Layout correlation of a redrawn image, in general and from the third, an agreement, on. Of 36 pairs, those redrawn in
# place had 0.59 to 0.88 (one 0.48), others up to 0.47 (two 0.56 and 0.60).
_LAYOUT = (0.5, 0.4, 0.2)

_COUNTED = (2.0, 0.75)  # contrast of a counted change, and share of the strongest that suffices; noise rarely reaches 2
_CERTAIN = 3.0  # contrast of a certain change; on calibration pairs noise reached 2.5, changes 3.9 and more
OPAQUE = 0.9  # opacity from which a pixel counts as changed; that of a sharp edge reaches 1 at half of its step
VISIBLE = 0.02  # opacity from which a pixel belongs to the faint part of a change
EDGE_PX = 1.5  # at the working size: nine of ten outlines are no farther off
_OUTLINE_FACTOR = 2.0  # calibrated so that nineteen of twenty errors of a share are smaller: docs/results/check.md
_UNKNOWN = 0.25  # uncertainty of a share by its outline from which on little is known of a change, as in icons
_LEAST_SHARE = 4e-4  # uncertainty of every share: smaller changes are not detected
# Levels, multiple of the usual difference and share of the image from which on a difference next to a change is told;
# and how near, as a share of the side.
_LEFT = (10.0, 4.0, 1e-3, 0.04)
OUTSIDE = 0.02  # share of the original beyond the edited image from which on a doubt is reported
_FADES = 0.015  # of the side: width over which a change fades towards what the edited image does not show
_BACKGROUND = (0.4, 0.6)  # shares of the image and of its border from which on a change is the background

Found = Literal[
    "identical",
    "nothing",
    "faint change",
    "local change",
    "background replaced",
    "colors changed",
    "redrawn",
    "reframed",
    "different images",
]
LOCAL: tuple[Found, ...] = ("faint change", "local change", "background replaced")
GLOBAL: tuple[Found, ...] = ("colors changed", "redrawn")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedChange:
    """A detected change at the working size."""

    registration: Registration
    mask: NDArray[np.floating[Any]]  # soft, in [0, 1]
    numbers: NDArray[np.int32]  # labels of the separate changes; 1 is the largest, 0 none
    count: int  # of separate changes
    contrasts: NDArray[np.floating[Any]]  # strength of each over the noise elsewhere, ``[count + 1]``
    kinds: tuple[Kind, ...] = ()  # what happened in each
    ignored: int = 0  # separate differences that are weaker than noise elsewhere, and not in the mask
    unchanged_share: float  # of the part that the edited image shows
    unchanged_detail: float  # the same share of the original's fine detail
    tones: Tones = dataclasses.field(default_factory=Tones.none)  # from the edited image's colors to the original's
    mismatch: Array | None = None  # local difference of the unchanged surroundings in levels, fading in the change
    sharpening: float = 0.0  # matches the original's sharpness at its size
    residual: float = 0.0  # robust deviation of the unchanged part at a coarse scale, in levels
    leftover: "Leftover | None" = None  # where the rest differs most, if much more than elsewhere
    structure: float = 1.0  # median local correlation of the unchanged part, over windows with detail
    exact: bool = False  # all that was not changed is the same bit for bit

    @property
    def least_share(self) -> float:
        """Mean of the mask from which on something was changed: one pixel, or more than noise."""
        return 0.5 / self.mask.size if self.exact else NOTHING

    @property
    def least_px(self) -> int:
        """Side of the smallest change that is found for certain (nineteen of twenty), in the original's pixels."""
        return 0 if self.exact else math.ceil(_CERTAIN_SIDE * math.sqrt(math.prod(self.registration.size)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A part of the rest that differs much more than the others: what is left there of the original may be seen."""

    levels: float
    box: tuple[float, float, float, float]  # left, top, right and bottom as shares of the sides


def _leftover(difference: Array, rest: Mask, residual: float) -> Leftover | None:
    """The heaviest part of the rest whose coarse difference exceeds the usual one by far."""
    sigma, weight = max(2.0, min(rest.shape) / 100), rest.astype(np.float32)
    coarse = warp.largest(np.abs(smoothed(difference * weight[..., None], sigma))) * weight
    coarse /= np.maximum(smoothed(weight, sigma), 0.5)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (coarse > max(_LEFT[0], _LEFT[1] * residual)).astype(np.uint8)
    )
    weights = np.bincount(labels.ravel(), weights=coarse.ravel(), minlength=count)
    weights[0] = 0
    number = int(weights.argmax())
    left, top, across, down, area = (int(one) for one in stats[number])
    if not number or area < _LEFT[2] * coarse.size:
        return None
    height, width = coarse.shape
    box = (left / width, top / height, (left + across) / width, (top + down) / height)
    return Leftover(levels=float(weights[number] / area), box=box)


def exact_found(differs: Mask, original: Array, edited: Array) -> DetectedChange:
    """The change if these pixels of the original's size differ, and all others are the same bit for bit."""
    mask, same = differs.astype(np.float32), 1 - float(differs.mean())
    count, numbers = components(mask)
    return DetectedChange(
        registration=Registration.unmoved(differs.shape[1::-1], differs.shape[1::-1]),
        mask=mask,
        numbers=numbers,
        count=count,
        contrasts=np.where(np.arange(count + 1) > 0, np.inf, 0),
        kinds=kinds(original, edited, mask, numbers, count),
        unchanged_share=same,
        unchanged_detail=same,
        exact=True,
    )


def find_change(
    original: Array, edited: Array, registration: Registration, alphas: warp.Alphas = (None, None), tick: Tick = nothing
) -> DetectedChange:
    """Detect the change between two images of any sizes in [0, 255]; about 3 s on one core at any size.

    A difference of alpha is a change, and colors are compared and fitted where the images are opaque.
    """
    size, matrix = registration.scaled(WORKING_SIDE_PX)
    here, there = warp.resized(original, size), warp.warped(edited, matrix, size)
    depth, border = warp.depth_inside(matrix, size, registration.edited_size), np.ones(size[::-1], dtype=bool)
    border[3:-3, 3:-3] = False
    # Along the edited image's border, editors blend in invented content.
    inside = (depth >= 2.5) | border & (depth >= -0.5)
    shown, opaque, uncovered = inside, np.ones_like(inside), np.zeros_like(inside)
    if any(alpha is not None for alpha in alphas):
        first, second = opacities(alphas, matrix, size)
        uncovered = alpha_change(first, second) & inside
        opaque = np.minimum(first, second) >= warp.OPAQUE
        inside = inside & ~uncovered & (np.maximum(first, second) > 0)
    usable, small = inside & opaque, warp.fitted(size, _GUESS_SIDE_PX)
    lost = lost_colors(here, there, inside)
    if lost:  # only the brightness can be compared
        here, there = (cv2.merge([gray(image)] * 3) for image in (here, there))
    planes, among = (warp.resized(here, small), warp.resized(there, small), _nearest(inside, small)), small
    tones, unchanged = first_guess(*planes[:2], _nearest(usable, small))
    number, first = 0, True
    while True:  # the first round at the size of the guess
        tick()
        number += 1
        toned, limited = tones.apply(planes[1]), tones.limited(planes[0])
        blur = fit_blur(planes[0], toned, unchanged)
        alike = matched(limited, toned, blur)
        tick()
        doubt = tones.doubt(planes[1]) + tones.clipping(limited)
        evidence = detect(*alike, planes[2], unchanged, blur, doubt, first=first)
        guard = np.ones([2 * max(1, round(_GUARD * max(among))) + 1] * 2, dtype=np.uint8)
        surroundings = _nearest(usable, among) & (cv2.dilate(evidence.changed.astype(np.uint8), guard) == 0)
        few = surroundings.sum() < 0.02 * surroundings.size
        if number > 1 and (number == _ROUNDS or few or (surroundings != unchanged).mean() < _SETTLED):
            break
        planes, among = (here, there, inside), size
        unchanged = usable & _nearest(unchanged if few else surroundings, size)
        if not few:
            tones, first = fit_tones(here, there, unchanged), False
    tick()
    left = vanished(*alike, inside, evidence) | leftovers(*alike, inside, evidence, blur)
    mask = joined(rim(evidence, inside, blur), left)
    if registration.outside_share > OUTSIDE:  # there is only the original: a change that goes on there fades
        beyond = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, 3)
        mask *= (beyond / (_FADES * max(size))).clip(0, 1)
    if uncovered.any():
        mask = np.maximum(mask * shown, smoothed(cv2.dilate(uncovered.astype(np.float32), guard[:3, :3]), 0.7))
    count, numbers = components(mask)
    tick()
    strengths = contrasts(*alike, inside, mask, numbers)
    strengths[numbers[uncovered]] = np.inf
    counted = strengths >= min(_COUNTED[0], _COUNTED[1] * strengths.max())
    counted[0] = False
    mask, numbers = mask * counted[numbers], (np.cumsum(counted) * counted).astype(np.int32)[numbers]
    tick()
    luma = gray(here)
    detail = np.abs(luma - smoothed(luma, 3.0)) > _DETAIL_LEVELS
    unchanged, residual, leftover = inside & ~evidence.changed, float("inf"), None
    if unchanged.sum() >= 200:
        coarse = warp.largest(np.abs(smoothed(toned - limited, max(2.0, min(unchanged.shape) / 60))))
        residual = 1.48 * float(np.median(coarse[unchanged]))
        near = grown(mask > 0.5, round(_LEFT[3] * min(mask.shape))) & (mask < 0.5)
        leftover = _leftover(toned - limited, inside & near, residual)
    return DetectedChange(
        registration=registration,
        tones=without_color(tones) if lost else tones,
        mismatch=_mismatch(tones.corrected(there) - limited, surroundings),
        sharpening=_sharpening(original, edited, registration, tones, unchanged),
        mask=mask,
        numbers=numbers,
        count=int(counted.sum()),
        contrasts=np.concatenate([[0], strengths[counted]]),
        ignored=count - int(counted.sum()),
        kinds=kinds(*alike, mask, numbers, int(counted.sum())),
        unchanged_share=float(unchanged.sum() / max(inside.sum(), 1)),
        unchanged_detail=float(detail[unchanged].sum() / max(detail[inside].sum(), 1)),
        residual=residual,
        leftover=leftover,
        structure=_structure(limited, toned, unchanged),
    )


def opacities(alphas: warp.Alphas, matrix: warp.Matrix, size: warp.Size) -> tuple[Array, Array]:
    """Both planes of alpha in a frame, from 0 to 255."""
    first, second = (None if alpha is None else alpha.astype(np.float32) for alpha in alphas)
    whole = np.full(size[::-1], 255, dtype=np.float32)
    here = whole if first is None else warp.resized(first, size)
    return here, whole if second is None else warp.warped(second, matrix, size)


def _nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _sharpening(original: Array, edited: Array, registration: Registration, tones: Tones, unchanged: Mask) -> float:
    """Fit on the central part of the image at full size."""
    width, height = (min(side, WORKING_SIDE_PX) for side in registration.size)
    left, top = (registration.size[0] - width) // 2, (registration.size[1] - height) // 2
    window = np.s_[top : top + height, left : left + width]
    place = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    there = tones.apply(warp.warped(edited, registration.matrix @ place, (width, height)))
    return fit_sharpening(tones.limited(original[window]), there, _nearest(unchanged, registration.size)[window])


def _mismatch(difference: Array, unchanged: Mask) -> Array:
    """Smooth difference of the unchanged surroundings; subtracting it removes the edge of a regional cast or shade."""
    sigma = max(2.0, _MISMATCH[0] * min(unchanged.shape))
    limited = difference.clip(-_MISMATCH[1], _MISMATCH[1]) * unchanged[..., None]
    return smoothed(limited, sigma) / np.maximum(smoothed(unchanged.astype(np.float32), sigma), 0.3)[..., None]


def _structure(original: Array, toned: Array, unchanged: Mask) -> float:
    """Median local correlation of luma over windows with detail."""
    one, other, together = warp.moments(smoothed(gray(original), 0.8), smoothed(gray(toned), 0.8), 6.0)
    detailed = unchanged & (one > 16)
    if detailed.sum() < 50:
        return 1.0
    correlation = together / np.sqrt(np.maximum(one * other, 1e-3))
    return float(np.median(correlation[detailed]))


def is_unsure(original: Array, edited: Array, found: Registration, alphas: warp.Alphas) -> bool:
    """Whether the alignment cannot be trusted: too little agrees after it. A negative agrees as well."""
    size, matrix = found.scaled(_GUESS_SIDE_PX)
    inside = warp.depth_inside(matrix, size, found.edited_size) >= 0
    inside &= np.minimum(*opacities(alphas, matrix, size)) >= warp.OPAQUE
    structure = abs(_structure(warp.resized(original, size), warp.warped(edited, matrix, size), inside))
    nothing = found.agreement < _STRANGERS[0] and found.inliers < _STRANGERS[1]
    return nothing or (structure < _UNSURE[0] and found.agreement < _UNSURE[1] and found.inliers < _UNSURE[2])


def is_drawn_anew(original: Array, edited: Array, agreement: float) -> bool:
    """Whether edges lie at the same positions in the same directions, whatever the style."""
    similarity = float(np.sum(_layout(original) * _layout(edited)))
    return similarity >= (_LAYOUT[0] if agreement < _LAYOUT[2] else _LAYOUT[1])


def _layout(image: Array) -> Array:
    """Histograms of oriented gradients in 16 x 16 cells, centered, of unit norm."""
    plane = gray(warp.resized(image, (256, 256)))
    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    size, angle = cv2.cartToPolar(across, down)
    bins = (angle * np.float32(8 / np.pi)).astype(int) % 8
    counts = [cv2.resize(size * (bins == at), (16, 16), interpolation=cv2.INTER_AREA) for at in range(8)]
    found = np.sqrt(np.stack(counts))
    found -= found.mean()
    return found / max(float(np.linalg.norm(found)), 1e-6)


def is_redrawn(change: DetectedChange) -> bool:
    """Whether the whole image was changed, by more than a cast."""
    in_place = change.structure >= _IN_PLACE[0] and change.registration.agreement >= _IN_PLACE[1]
    return not change.exact and (
        change.unchanged_share < _GLOBAL_UNCHANGED
        or (change.residual > _GLOBAL_RESIDUAL and not in_place)
        or change.structure < _GLOBAL_STRUCTURE
        or (
            change.unchanged_detail < _RESTYLED[0]
            and change.structure < _RESTYLED[1]
            and change.unchanged_share < _RESTYLED[2]
        )
    )


def _is_certain(change: DetectedChange) -> bool:
    """Whether a change is more than noise; of one less than twice as strong, the share must be certain, too."""
    step = max(change.registration.size) / max(change.mask.shape)
    for number in np.flatnonzero(change.contrasts >= _CERTAIN):
        opacity = change.mask * (change.numbers == number)
        solid, faint = opacity > OPAQUE, (opacity > VISIBLE) & (opacity <= OPAQUE)
        off = share_uncertainty(solid, faint, EDGE_PX + change.registration.uncertainty_px / step)
        known = share_uncertainty(solid, faint, EDGE_PX) < _UNKNOWN
        if (known and change.contrasts[number] >= 2 * _CERTAIN) or solid.mean() > off:
            return True
    return False


def share_uncertainty(solid: Mask, faint: Mask, edge_px: float) -> float:
    """Uncertainty of a change's share: that of its outline, and what is too faint to be counted."""
    width = 2 * math.ceil(edge_px) + 1
    band = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)).mean() / 2
    return max(_OUTLINE_FACTOR * float(band) + float(faint.mean()), _LEAST_SHARE)


def judge(change: DetectedChange) -> Found:
    """What was found in a pair that is aligned."""
    frame, share = change.registration, float(change.mask.mean())
    if is_redrawn(change):
        return "redrawn"
    # Of colors that an image does not have, the correction is a guess: tinted gray photographs had 22 to 29. Where it
    # leaves a residual, each part was lit in another color.
    unsure = 0.0 if change.residual > _GLOBAL_RESIDUAL else change.tones.cast_uncertainty
    if change.tones.cast - unsure > _GLOBAL_CAST:
        return "colors changed"
    if share >= change.least_share:
        if not _is_certain(change):
            return "faint change"
        rows, columns = change.mask.shape
        width = min(round(2 * _FADES * max(rows, columns)), (min(rows, columns) - 1) // 2)  # changes may fade there
        inner = change.mask[width : rows - width, width : columns - width]
        border = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
        whole = share >= _BACKGROUND[0] and float((border > 0.5).mean()) >= _BACKGROUND[1]
        return "background replaced" if whole else "local change"
    if abs(frame.zoom - 1) > _REFRAMED_ZOOM or frame.outside_share > _REFRAMED_OUTSIDE:
        return "reframed"
    return "identical" if change.exact else "nothing"

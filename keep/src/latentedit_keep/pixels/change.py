"""Detection of an editor's change, in a loop over unchanged pixels, global corrections and residual; the verdict."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.base.console import Tick, nothing
from latentedit_keep.photo import warp
from latentedit_keep.photo.warp import Array, Mask, cv2, gray, smoothed
from latentedit_keep.pixels import detection
from latentedit_keep.pixels.registration import Registration
from latentedit_keep.pixels.seams import hidden
from latentedit_keep.pixels.tones import (
    PARTED,
    Tones,
    alike_part,
    first_guess,
    fit_blur,
    fit_tones,
    fitted_planes,
    matched,
    parts,
    recolored,
    without_color,
)
from latentedit_keep.pixels.transparency import alpha_change

WORKING_SIDE_PX = 1120  # longest side for detection, at which 12 megapixels take 3 s; the mask is then enlarged
_WHOLE_SIDE_PX = 1400  # up to which no pixel is lost, since shrinking a little moves the dots of screentones
_GUESS_SIDE_PX = 600  # longest side for the first guess
_ROUNDS = 3  # of colors and detection, each on the pixels that the round before left unchanged
_SETTLED = 0.005  # share of the pixels that a round adds or removes below which the next is the last
_GUARD = 0.006  # of the side: margin around a change that does not count as unchanged
_DETAIL_LEVELS = 4.0  # fine contrast from which on a pixel belongs to detail
_MISMATCH_SIDE = 0.02  # of the side: sigma of the mismatch of colors
_MISMATCH_MOST = 10.0  # levels of it
# Images have nothing in common below both.
_STRANGERS_AGREE = 0.1  # agreement; of different images at most 0.01, of the same at least 0.46
_STRANGERS_INLIERS = 16  # of different images at most 6, of the same at least 26
_REFRAMED_ZOOM = 0.1  # deviation of the zoom from 1 above which it was reframed
_REFRAMED_OUTSIDE = 0.3  # share outside the frame above which it was
NOTHING = 3e-4  # mean of the mask below which nothing was found
_CERTAIN_LEVELS = 8.0  # multiple of the usual noise: strength of a change that is found for certain
_CERTAIN_SIDE = 0.03  # of the root of the area: side of a change that is found for certain; see docs/results/check.md
_GLOBAL_UNCHANGED = 0.25  # unchanged share below which a change is global
# The same where the unchanged part agrees as well as in a local change. Of photographs of which 75 % were replaced by
# another one, .21 to .23 was left, with a structure of .99 and a residual of 1.6 levels.
_GLOBAL_AGREEING = 0.15
_AGREES_STRUCTURE = 0.98
_AGREES_RESIDUAL = 2.5  # levels
_GLOBAL_RESIDUAL = 6.0  # coarse difference of the rest in levels above which a change is global; usual are 0.4 to 4.3
_REPAINTED_RESIDUAL = 2 * _GLOBAL_RESIDUAL  # the same if one change stands out; restyled images had 16.7 and more
_GRAIN_QUANTILE = 0.2  # of the variance of windows, which is grain's
_STRUCTURE = 2.5  # multiple of it that is structure's
_LEAST_STRUCTURE = 16.0  # variance
_MOST_STRUCTURE = 100.0  # variance
_GLOBAL_STRUCTURE = 0.6  # correlation of the unchanged part below which the image was redrawn
UNLIKE = 0.3  # the same, below which it must at least have the layout; images redrawn in place had 0.41 and more
# Below all three it was restyled; a figure replaced in front of a plain ground also leaves little detail, and most of
# the image.
_RESTYLED_DETAIL = 0.2  # unchanged share of the detail
_RESTYLED_STRUCTURE = 0.97
_RESTYLED_UNCHANGED = 0.6  # share of the image
# Mean change of colors in levels above which it was intended: local edits had at most 16.4, and black and white has 28.
_GLOBAL_CAST = 22.0
# Where so much was replaced for certain, tones and sharpness of a rest that agrees are by the way.
_REPLACED = 0.1  # share of the image
_REPLACED_CORE = 0.02  # of the side: distance from any outline that is certain
_BY_THE_WAY = 2.0  # multiple of that cast up to which this holds
# A much sharper edited image was restored if the original has little of its detail.
_RESTORED_BLUR = -1.0  # px; negative where the edited image is the sharper one
_RESTORED_SHARED = 0.7  # share of its detail; restored images had .17 to .60, sharp local edits .80, noise .96
_RESTORED_DETAIL = 0.05  # least share of the image that is detail; the rings of a codec on a flat one reach .018
# From both on, a large residual is not a global change.
_IN_PLACE_STRUCTURE = 0.85
_IN_PLACE_AGREEMENT = 0.5
# Below both, and below `UNLIKE` in structure, the alignment is a guess.
_UNSURE_AGREEMENT = 0.3
_UNSURE_INLIERS = 100
# Layout correlation of a redrawn image. Of 36 pairs, those redrawn in place had 0.59 to 0.88 (one 0.48), others up to
# 0.47 (two 0.56 and 0.60).
_LAYOUT = 0.5
_LAYOUT_AGREEING = 0.4  # the same from this agreement on
_LAYOUT_AGREES = 0.2
_REST_COLORED = 1.5  # levels by which colors of one brightness differ in the rest of an image that was colored
_SHIFT_CELLS = 4  # by which all of a layout may be shifted
_SHIFTED = 0.6  # its correlation then; 8,000 strangers reached .53
_FRAMED_INLIERS = 8  # of a frame in which layouts are compared
_FRAMED_SHARE = 0.25  # of the original that it shows
_COUNTED = 2.0  # contrast of a counted change, which noise rarely reaches
_COUNTED_OF_MOST = 0.75  # share of the strongest change's contrast that suffices
# A difference that no eye misses, though repainted parts elsewhere leave it little contrast.
_EVIDENT_LEVELS = 25.0  # unchanged pairs had at most 10, faint objects of real pairs 31 and more
_EVIDENT_SHARE = 0.01  # of the image
# New gradient along the outline, as a share of the original's, from which on it is a thing and no repaint: of 40 faint
# differences of real pairs that no one requested, those that strong and large had up to .24, a ball had .67.
_EVIDENT_OUTLINE = 0.5
_OUTLINE_PX = 3  # how far from an outline its gradient is looked for
_CERTAIN = 3.0  # contrast of a certain change; on calibration pairs noise reached 2.5, changes 3.9 and more
OPAQUE = 0.9  # opacity from which a pixel counts as changed; that of a sharp edge reaches 1 at half of its step
VISIBLE = 0.02  # opacity from which a pixel belongs to the faint part of a change
EDGE_PX = 1.5  # at the working size: nine of ten outlines are no farther off
_OUTLINE_FACTOR = 2.0  # calibrated so that nineteen of twenty errors of a share are smaller: docs/results/check.md
_UNKNOWN = 0.25  # uncertainty of a share by its outline from which on little is known of a change, as in icons
_LEAST_SHARE = 4e-4  # uncertainty of every share: smaller changes are not detected
# From all three on, a difference next to a change is reported; where the usual one is that of a global change, the
# strongest place is.
_LEFT_LEVELS = 10.0
_LEFT_USUAL = 4.0  # multiple of the usual difference
_LEFT_SHARE = 1e-3  # of the image
_LEFT_NEAR = 0.04  # of the side: how near it is
EXTENDED = 0.1  # share of the edited image beyond the original from which on that may be the request; drift has .05
LITTLE_LEFT = 0.4  # unchanged share below which colors and alignment are less certain
_PARTED = 4.0  # levels between two parts of an image without a change from which on that is told
_STRONGEST = 2.0  # multiple of the usual difference that such a place exceeds
UNSURE_PX = 0.5  # uncertainty of the alignment from which it is doubtful
OUTSIDE = 0.02  # share of the original beyond the edited image from which on a doubt is reported
_FADES = 0.015  # of the side: width over which a change fades towards what the edited image does not show
_AT_SIDE = 0.05  # of the longer side: how far from a side of the image what belongs to it may end
_ELSEWHERE_LEVELS = 10.0  # of a difference
_ELSEWHERE = 0.2  # share of what was replaced that may differ in the place that it moved to
# From both shares on, a change is the background.
_BACKGROUND = 0.4  # of the image
_BACKGROUND_BORDER = 0.6  # of its border
Found = Literal[
    "identical", "nothing", "faint change", "local change", "background replaced", "redrawn", "reframed",
    "different images",
]  # fmt: skip
LOCAL: tuple[Found, ...] = ("faint change", "local change", "background replaced")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedChange:
    """A detected change at the working size."""

    registration: Registration
    mask: NDArray[np.floating[Any]]  # what changed: soft, in [0, 1]
    opacity: NDArray[np.floating[Any]]  # of the edited image in a composite whose seams are not seen
    numbers: NDArray[np.int32]  # labels of the separate changes; 1 is the largest, 0 none; the faint ones are last
    contrasts: NDArray[np.floating[Any]]  # strength of each over the noise elsewhere, that of no change first
    faint: tuple[int, ...] = ()  # numbers of those weaker than noise elsewhere, which are not in mask and opacity
    faint_opacity: Array | None = None  # theirs; None if there is none
    differs: Array | None = None  # `seen_difference` of what both images show; None if pixels were compared one by one
    unchanged_share: float  # of the part that the edited image shows
    unchanged_detail: float  # the same share of the original's fine detail
    tones: Tones = dataclasses.field(default_factory=Tones.none)  # from the edited image's colors to the original's
    mismatch: Array | None = None  # local difference of the unchanged surroundings in levels, fading in the change
    shared_detail: float = 1.0  # share of the edited image's detail that the original has, if that is much softer
    sharpening: float = 0.0  # matches the original's sharpness at its size
    residual: float = 0.0  # robust deviation of the unchanged part at a coarse scale, in levels
    leftover: "Leftover | None" = None  # where the rest differs most, if much more than elsewhere
    parted: float = 0.0  # levels between the two parts of the unchanged part that differ most from each other
    structure: float = 1.0  # median local correlation of the unchanged part, over windows with detail
    noise: float = 0.0  # usual difference of the unchanged part at a fine scale, in levels
    colored: bool = False  # an image without colors has some now
    exact: bool = False  # all that was not changed is the same bit for bit

    @property
    def count(self) -> int:
        """Number of separate changes, without the faint ones."""
        return len(self.contrasts) - 1 - len(self.faint)

    @property
    def in_place(self) -> bool:
        """Whether what was not changed has its structure where it was."""
        return self.structure >= _IN_PLACE_STRUCTURE and self.registration.agreement >= _IN_PLACE_AGREEMENT

    @property
    def is_repainted(self) -> bool:
        """Whether the rest differs as much as in a global change."""
        return self.residual > _GLOBAL_RESIDUAL

    @property
    def stands_out(self) -> bool:
        """Whether a change exceeds all repaint of a rest that has its structure and its colors where they were."""
        # Evident changes, which are raised to just the contrast of certain ones, are not enough: a new background is
        # one, and fruits in front of it would be lost.
        is_stronger = bool((self.contrasts[1:] > _CERTAIN).any())
        is_same = self.structure >= _IN_PLACE_STRUCTURE and self.tones.cast <= _GLOBAL_CAST
        is_aligned = self.registration.uncertainty_px <= UNSURE_PX  # which two night skies were not
        return is_stronger and is_same and is_aligned and self.residual <= _REPAINTED_RESIDUAL

    @property
    def is_separated(self) -> bool:
        """Whether so much of the rest agrees so well that nothing of the change is left in it."""
        alike = not self.is_repainted and self.leftover is None
        return self.exact or (alike and self.unchanged_share >= LITTLE_LEFT)

    @property
    def agrees(self) -> bool:
        """Whether what was not changed agrees as well as in a local change."""
        return self.structure >= _AGREES_STRUCTURE and self.residual <= _AGREES_RESIDUAL

    @property
    def is_replacement(self) -> bool:
        """Whether a large part is another one for certain, and not only its lines, beside a rest that agrees."""
        certain = np.isin(self.numbers, np.flatnonzero(self.contrasts >= 2 * _CERTAIN)) & (self.mask > OPAQUE)
        depth = cv2.distanceTransform(certain.astype(np.uint8), cv2.DIST_L2, 3)
        return self.agrees and float((depth > _REPLACED_CORE * min(depth.shape)).mean()) > _REPLACED

    def taking(self, inner: Mask) -> "DetectedChange":
        """With all that is seen in a part, at the working size, whatever the noise elsewhere; itself if nothing is."""
        if self.differs is None:
            return self
        faint = np.zeros_like(self.opacity) if self.faint_opacity is None else self.faint_opacity
        known = np.maximum(self.mask, faint)
        seen = np.where(inner, np.maximum(detection.visible(self.differs, known > 0.5), faint), 0)
        new = seen > np.maximum(self.opacity, VISIBLE)
        if not new.any():
            return self
        count, parts = detection.components(np.where(inner, np.maximum(known, seen), 0))
        unknown = np.iinfo(np.int32).max
        own = np.full(count + 1, unknown, dtype=np.int32)  # the number of each part: its lowest, or the next one
        np.minimum.at(own, parts[self.numbers > 0], self.numbers[self.numbers > 0])
        own[0], more = 0, 1 + np.flatnonzero(own[1:] == unknown)
        own[more] = len(self.contrasts) + np.arange(len(more))
        numbers = np.where((self.numbers == 0) & (seen > 0), own[parts], self.numbers)
        mismatch = self.mismatch
        if mismatch is not None:  # that of the surroundings goes on where what was not counted had a part in it
            part = warp.resized(seen.astype(np.float32), mismatch.shape[1::-1])[..., None].clip(0, 1)
            mismatch = mismatch + (_around(mismatch, 1 - part[..., 0]) - mismatch) * part
        return dataclasses.replace(
            self, mask=np.maximum(self.mask, seen), opacity=np.maximum(self.opacity, seen), numbers=numbers,
            contrasts=np.append(self.contrasts, np.zeros(len(more))), mismatch=mismatch, faint_opacity=faint * ~inner,
            faint=tuple(sorted(set(self.faint) - set(numbers[new].tolist()))),
        )  # fmt: skip

    @property
    def least_share(self) -> float:
        """Mean of the mask from which on something was changed: one pixel, or more than noise."""
        return 0.5 / self.mask.size if self.exact else NOTHING

    @property
    def least_px(self) -> int:
        """Side of the smallest change that is found for certain (nineteen of twenty), in the original's pixels."""
        return 0 if self.exact else math.ceil(_CERTAIN_SIDE * math.sqrt(math.prod(self.registration.size)))

    @property
    def least_levels(self) -> int:
        """Strength from which on a change of that side is found, in levels."""
        return math.ceil(_CERTAIN_LEVELS * self.noise)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A part of the rest that differs much more than the others: what is left there of the original may be seen."""

    levels: float
    box: tuple[float, float, float, float]  # left, top, right and bottom as shares of the sides


def _leftover(difference: Array, rest: Mask, usual: float) -> Leftover | None:
    """The heaviest part of the rest whose coarse difference exceeds the usual one."""
    sigma, weight = max(2.0, min(rest.shape) / 100), rest.astype(np.float32)
    coarse = warp.largest(np.abs(smoothed(difference * weight[..., None], sigma))) * weight
    coarse /= np.maximum(smoothed(weight, sigma), 0.5)
    exceeds = coarse > max(_LEFT_LEVELS, usual)
    labels = cv2.connectedComponents(exceeds.view(np.uint8))[1]
    weights = np.bincount(labels[exceeds], weights=coarse[exceeds], minlength=1)
    number = int(weights.argmax())
    area = int(np.count_nonzero(labels == number))
    if not number or area < _LEFT_SHARE * coarse.size:
        return None
    return Leftover(levels=float(weights[number] / area), box=_box_of(labels == number))


def _box_of(part: Mask) -> tuple[float, float, float, float]:
    """Sides of a part as shares of those of its plane."""
    left, top, across, down = cv2.boundingRect(part.astype(np.uint8))
    height, width = part.shape
    return left / width, top / height, (left + across) / width, (top + down) / height


def exact_found(differs: Mask, *, exact: bool = True, certain: bool = True) -> DetectedChange:
    """The change if these pixels of the original's size differ; if ``exact``, all others are equal bit for bit."""
    mask, same = differs.astype(np.float32), 1 - float(differs.mean())
    size, (count, numbers) = differs.shape[1::-1], detection.components(mask)
    strengths = np.append(0, np.full(count, np.inf if certain else _COUNTED))
    return DetectedChange(
        registration=Registration.unmoved(size, size), mask=mask, opacity=mask, numbers=numbers,
        unchanged_share=same, unchanged_detail=same, contrasts=strengths, exact=exact,
    )  # fmt: skip


def find_change(
    original: Array,
    edited: Array,
    registration: Registration,
    alphas: warp.Alphas = (None, None),
    tick: Tick = nothing,
    *,
    start: Mask | None = None,
) -> DetectedChange:
    """Detect the change between two images of any sizes in [0, 255]; about 2 s on one core at any size."""
    # ``start`` replaces the first guess of what is unchanged.
    # A difference of alpha is a change, and colors are compared and fitted where the images are opaque.
    size, matrix = registration.scaled(WORKING_SIDE_PX if max(registration.size) > _WHOLE_SIDE_PX else _WHOLE_SIDE_PX)
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
    lost, colored = recolored(here, there, inside)
    if lost:  # only the brightness can be compared
        here, there = (cv2.merge([gray(image)] * 3) for image in (here, there))
    reduced = warp.resized(here, small), warp.resized(there, small)
    sampled = fitted_planes(*reduced)
    planes, round_size = (*reduced, _nearest(inside, small)), small
    if start is None:
        tones, unchanged = first_guess(*reduced, _nearest(usable, small), planes=sampled)
    else:
        tones, unchanged = fit_tones(*reduced, start, planes=sampled), start
    shaded = tones.clipping(here)
    rounds, is_last = 0, False
    while True:  # the last round at full size, those before at that of the guess
        rounds += 1
        tick()
        toned, limited = tones.apply(planes[1]), tones.limited(planes[0])
        blur = fit_blur(planes[0], toned, unchanged)
        alike = matched(limited, toned, blur)
        tick()
        doubt = tones.doubt(planes[1]) + warp.resized(shaded, round_size)
        evidence = detection.detect(*alike, planes[2], unchanged, blur, doubt, first=rounds == 1, last=is_last)
        guard = np.ones([2 * max(1, round(_GUARD * max(round_size))) + 1] * 2, dtype=np.uint8)
        surroundings = _nearest(usable, round_size) & (cv2.dilate(evidence.changed.astype(np.uint8), guard) == 0)
        few = surroundings.sum() < 0.02 * surroundings.size
        if is_last:
            break
        is_last = rounds == _ROUNDS - 1 or (surroundings != unchanged).mean() < _SETTLED
        if is_last:
            planes, round_size = (here, there, inside), size
        unchanged = _nearest(usable, round_size) & _nearest(unchanged if few else surroundings, round_size)
        if not few:
            tones = fit_tones(*planes[:2], unchanged, planes=None if is_last else sampled)
        del evidence
    tick()
    differs = detection.seen_difference(*alike) * inside
    remains = detection.vanished(inside, evidence) | detection.leftovers(differs, inside, evidence, blur)
    remains |= detection.tinted(alike[1] - alike[0], inside, evidence.changed)
    cropped = registration.outside_share > OUTSIDE
    mask = detection.joined(detection.rim(evidence, inside, blur, None if cropped else ~shown), remains)
    mismatch = _mismatch(tones, *reduced, _nearest(surroundings, small))
    # A seam is seen in the colors of the result, of which `alike` hides what the edited image cuts off.
    result = tones.corrected(there) - warp.resized(mismatch, size)
    opacity = hidden(mask, *matched(here, result, blur), inside, evidence.detail)
    if cropped:  # there is only the original: a change that goes on there fades; narrow strips of it would be seen
        beyond = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, 3)
        fades = (beyond / (_FADES * max(size))).clip(0, 1)
        mask, opacity = mask * fades, opacity * fades
    if uncovered.any():
        clear = smoothed(cv2.dilate(uncovered.astype(np.float32), guard[:3, :3]), 0.7)
        mask, opacity = np.maximum(mask * shown, clear), np.maximum(opacity * shown, clear)
    count, numbers = detection.components(mask)
    tick()
    strengths = detection.contrasts(*alike, inside, mask, numbers)
    strengths[numbers[uncovered]] = np.inf
    _raise_evident(strengths, alike, evidence, inside & (mask > OPAQUE), numbers)
    counted = strengths >= min(_COUNTED, _COUNTED_OF_MOST * strengths.max())
    counted[0] = False
    if ((opacity > 0) & (numbers == 0)).any():
        numbers = np.where(opacity > 0, detection.nearest(numbers, numbers > 0), numbers)
    order = np.concatenate([[0], np.flatnonzero(counted), 1 + np.flatnonzero(~counted[1:])])
    taken, numbers = counted[numbers], np.argsort(order).astype(np.int32)[numbers]
    faint_opacity, mask, opacity = opacity * ~taken, mask * taken, opacity * taken
    tick()
    luma = gray(here)
    detail = np.abs(luma - smoothed(luma, 3.0)) > _DETAIL_LEVELS
    unchanged = inside & ~evidence.changed
    unchanged_share = float(unchanged.sum() / max(inside.sum(), 1))
    if colored and unchanged_share >= LITTLE_LEFT:  # a part may have been colored, and no more
        colored = recolored(here, there, unchanged, least=_REST_COLORED)[1]
    is_small = bool(mask.mean() < NOTHING)
    rest = _rest_of(toned - limited, opacity, inside, usable, unchanged, is_small=is_small)
    found = DetectedChange(
        registration=registration,
        tones=without_color(tones) if lost else tones,
        mismatch=mismatch,
        shared_detail=_shared_detail(*alike, unchanged) if blur <= _RESTORED_BLUR else 1.0,
        mask=mask,
        opacity=opacity,
        numbers=numbers,
        contrasts=strengths[order],
        faint=tuple(range(1 + int(counted.sum()), 1 + count)),
        faint_opacity=faint_opacity,
        differs=differs,
        colored=colored,
        unchanged_share=unchanged_share,
        unchanged_detail=float(detail[unchanged].sum() / max(detail[inside].sum(), 1)),
        residual=rest.residual,
        leftover=rest.leftover,
        parted=rest.parted,
        structure=_structure(limited, toned, unchanged),
        noise=warp.median(evidence.noise[inside]) if inside.any() else 0.0,
    )
    if start is None and rest.parted > PARTED:  # the first guess may be a compromise between two parts
        start = alike_part(*reduced, _nearest(usable, small), rest.halves, planes=sampled)
        if start is not None:
            again = find_change(original, edited, registration, alphas, tick, start=start)
            return again if again.parted < rest.parted else found
    return found


def _raise_evident(
    strengths: Array, alike: tuple[Array, Array], evidence: detection.Evidence, solid: Mask, numbers: NDArray[np.int32]
) -> None:
    """Make those uncertain changes certain, in place, that no eye misses: large things with an outline of their own."""
    before, after = evidence.outlines
    for number in np.flatnonzero(strengths[1:] < _CERTAIN) + 1:
        part = solid & (numbers == number)
        if part.mean() > _EVIDENT_SHARE:
            ring = detection.grown(part, _OUTLINE_PX) & detection.grown(~part, _OUTLINE_PX)
            is_new = np.maximum(after - before, 0)[ring].sum() > _EVIDENT_OUTLINE * before[ring].sum()
            averaged = warp.largest(np.abs(smoothed(alike[1] - alike[0], 3.0)))
            if (is_new or strengths[number] >= _COUNTED) and warp.median(averaged[part]) > _EVIDENT_LEVELS:
                strengths[number] = _CERTAIN


class _Rest(NamedTuple):
    """How what was not changed agrees; the first three as in `DetectedChange`."""

    residual: float
    leftover: Leftover | None
    parted: float
    halves: Array  # -1 and 1 for the two parts, 0 elsewhere


def _rest_of(apart: Array, opacity: Array, inside: Mask, usable: Mask, unchanged: Mask, *, is_small: bool) -> _Rest:
    """Measure the rest by its difference; ``is_small`` if next to nothing was changed."""
    if unchanged.sum() < 200:
        return _Rest(float("inf"), None, 0.0, np.zeros((1, 1), dtype=np.float32))
    coarse = warp.largest(np.abs(smoothed(apart, max(2.0, min(unchanged.shape) / 60))))
    residual = 1.48 * warp.median(coarse[unchanged])
    rest, near = inside & (opacity < 0.5), detection.grown(opacity > 0.5, round(_LEFT_NEAR * min(opacity.shape)))
    leftover = _leftover(apart, rest & near, _LEFT_USUAL * residual)
    if leftover is None and residual >= _GLOBAL_RESIDUAL:
        strongest = _leftover(apart, rest, _STRONGEST * residual)
        leftover = strongest or Leftover(levels=residual, box=(0, 0, 1, 1))
    parted, _, halves = parts(apart, rest & usable)
    if leftover is None and parted > _PARTED and is_small:
        smaller = 1 if (halves > 0).sum() < (halves < 0).sum() else -1
        leftover = Leftover(levels=parted, box=_box_of(halves == smaller))
    return _Rest(residual, leftover, parted, halves)


def opacities(alphas: warp.Alphas, matrix: warp.Matrix, size: warp.Size) -> tuple[Array, Array]:
    """Both planes of alpha in a frame, from 0 to 255."""
    original, edited = (None if alpha is None else alpha.astype(np.float32) for alpha in alphas)
    opaque = np.full(size[::-1], 255, dtype=np.float32)
    here = opaque if original is None else warp.resized(original, size)
    return here, opaque if edited is None else warp.warped(edited, matrix, size)


def _nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _mismatch(tones: Tones, original: Array, edited: Array, unchanged: Mask) -> Array:
    """Smooth difference of the unchanged surroundings; subtracting it removes the edge of a regional cast or shade."""
    difference = tones.corrected(edited) - original
    return _around(difference.clip(-_MISMATCH_MOST, _MISMATCH_MOST), unchanged.astype(np.float32))


def _around(plane: Array, weight: Array) -> Array:
    """Local mean of a plane's pixels with a weight, which fades where none of them is near."""
    sigma = max(2.0, _MISMATCH_SIDE * min(weight.shape))
    return smoothed(plane * weight[..., None], sigma) / np.maximum(smoothed(weight, sigma), 0.3)[..., None]


def _shared_detail(original: Array, edited: Array, unchanged: Mask) -> float:
    """Slope of the original's fine detail over the edited image's, where that is more than noise."""
    first, second = (plane - smoothed(plane, 3.0) for plane in (gray(original), gray(edited)))
    detailed = unchanged & (np.abs(second) > _DETAIL_LEVELS)
    if detailed.sum() < _RESTORED_DETAIL * unchanged.sum() or detailed.sum() < 200:
        return 1.0
    return float(np.mean(first[detailed] * second[detailed]) / np.mean(second[detailed] ** 2))


def _structure(original: Array, toned: Array, unchanged: Mask) -> float:
    """Median local correlation of luma over windows with detail."""
    planes = smoothed(gray(original), 0.8), smoothed(gray(toned), 0.8)
    variance, toned_variance, covariance = warp.moments(*planes, 6.0, unchanged)
    grain_variance = warp.quantile(variance[unchanged], _GRAIN_QUANTILE) if unchanged.any() else 0.0
    detailed = unchanged & (variance > np.clip(_STRUCTURE * grain_variance, _LEAST_STRUCTURE, _MOST_STRUCTURE))
    if detailed.sum() < 50:
        return 1.0
    correlation = covariance / np.sqrt(np.maximum(variance * toned_variance, 1e-3))
    return warp.median(correlation[detailed])


def is_unsure(original: Array, edited: Array, frame: Registration, alphas: warp.Alphas) -> bool:
    """Whether the alignment cannot be trusted: too little agrees after it. A negative agrees as well."""
    if frame.agreement < _STRANGERS_AGREE and frame.inliers < _STRANGERS_INLIERS:
        return True
    if frame.agreement >= _UNSURE_AGREEMENT or frame.inliers >= _UNSURE_INLIERS:
        return False
    size, matrix = frame.scaled(_GUESS_SIDE_PX)
    inside = warp.depth_inside(matrix, size, frame.edited_size) >= 0
    inside &= np.minimum(*opacities(alphas, matrix, size)) >= warp.OPAQUE
    return abs(_structure(warp.resized(original, size), warp.warped(edited, matrix, size), inside)) < UNLIKE


def is_drawn_anew(original: Array, edited: Array, agreement: float) -> bool:
    """Whether edges lie at the same positions in the same directions, whatever the style."""
    layouts, far = (_layout(original), _layout(edited)), range(-_SHIFT_CELLS, _SHIFT_CELLS + 1)
    if _similarity(*layouts) >= (_LAYOUT if agreement < _LAYOUT_AGREES else _LAYOUT_AGREEING):
        return True
    return max(_similarity(*layouts, down, right) for down in far for right in far) >= _SHIFTED


def is_drawn_anew_in(original: Array, edited: Array, frame: Registration) -> bool:
    """Whether edges lie alike in the part that both show by a frame that few features agree on: redrawn from nearer."""
    size, matrix = frame.scaled(_GUESS_SIDE_PX)
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


def is_elsewhere(original: Array, edited: Array, change: DetectedChange, frame: Registration) -> bool:
    """Whether what was replaced at a side, beyond which the edit shows more, is found at the same side of the edit."""
    # So it is where a strip was inserted: only the part on one side of it can be aligned.
    size, matrix = frame.scaled(_GUESS_SIDE_PX)
    here, near = smoothed(gray(warp.resized(original, size)), 1.5), max(1, round(_AT_SIDE * max(size)))

    def differs(matrix: warp.Matrix) -> Mask:
        return np.abs(smoothed(gray(warp.warped(edited, matrix, size)), 1.5) - here) > _ELSEWHERE_LEVELS

    replaced = _nearest(change.mask > OPAQUE, size) & differs(matrix)
    for side in frame.beyond[1] if replaced.any() and here[replaced].std() > _ELSEWHERE_LEVELS else ():
        axis, last = int(side in ("above", "below")), side in ("right", "below")
        ends = [(length[axis] if last else 0) - 0.5 for length in (size, frame.edited_size)]
        place = matrix.copy()
        place[axis, 2] = ends[1] - place[axis, axis] * ends[0]
        band = np.take(replaced, range(-near, 0) if last else range(near), axis=1 - axis)
        if band.any() and differs(place)[replaced].mean() < _ELSEWHERE:
            return True
    return False


def is_redrawn(change: DetectedChange) -> bool:
    """Whether the whole image was changed, by more than a cast."""
    return not change.exact and (
        change.unchanged_share < (_GLOBAL_AGREEING if change.agrees else _GLOBAL_UNCHANGED)
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
    """What an image in another frame is, if no change was found in it: the same, or redrawn if the rest disagrees."""
    return "reframed" if change.exact or (change.in_place and not change.is_repainted) else "redrawn"


def _is_certain(change: DetectedChange) -> bool:
    """Whether a change is more than noise; of one less than twice as strong, the share must be certain, too."""
    px = change.registration.uncertainty_px * max(change.mask.shape) / max(change.registration.size)
    if np.isinf(change.contrasts).any():  # found pixel by pixel
        return True
    for number in np.flatnonzero(change.contrasts >= _CERTAIN):
        opacity = change.mask * (change.numbers == number)
        solid, faint = opacity > OPAQUE, (opacity > VISIBLE) & (opacity <= OPAQUE)
        off = share_uncertainty(solid, faint, EDGE_PX + px)
        # edges that lie elsewhere differ as much as any change
        known = px <= EDGE_PX and share_uncertainty(solid, faint, EDGE_PX) < _UNKNOWN
        if (known and change.contrasts[number] >= 2 * _CERTAIN) or solid.mean() > off:
            return True
    return False


def share_uncertainty(solid: Mask, faint: Mask, edge_px: float) -> float:
    """Uncertainty of a change's share: that of its outline, and what is too faint to be counted."""
    width = 2 * math.ceil(edge_px) + 1
    band = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)).mean() / 2
    return max(_OUTLINE_FACTOR * float(band) + float(faint.mean()), _LEAST_SHARE)


def is_recolored(change: DetectedChange) -> bool:
    """Whether all colors changed so much that it looks intended, or an image without colors has some now."""
    # Of colors that an image does not have, the correction is a guess: tinted gray photographs had 22 to 29. Where it
    # leaves a residual, each part was lit in another color.
    unsure = 0.0 if change.is_repainted else change.tones.cast_uncertainty
    cast = change.tones.cast - unsure
    return change.colored or (cast > _GLOBAL_CAST and not (cast < _BY_THE_WAY * _GLOBAL_CAST and change.is_replacement))


def judge(change: DetectedChange) -> Found:
    """What happened to the content of a pair that is aligned, whatever happened to its colors."""
    frame, share = change.registration, float(change.mask.mean())
    if is_redrawn(change) or share == 1:
        return "redrawn"
    if share >= change.least_share:
        uneven = is_recolored(change) and not change.is_separated  # the rest may look as much like a change
        if uneven or not (change.exact or _is_certain(change)):
            return "faint change"
        rows, columns = change.mask.shape
        width = min(round(2 * _FADES * max(rows, columns)), (min(rows, columns) - 1) // 2)  # changes may fade there
        inner = change.mask[width : rows - width, width : columns - width]
        border = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]])
        is_background = share >= _BACKGROUND and float((border > 0.5).mean()) >= _BACKGROUND_BORDER
        return "background replaced" if is_background else "local change"
    if abs(frame.zoom - 1) > _REFRAMED_ZOOM or frame.outside_share > _REFRAMED_OUTSIDE:
        return framed(change)
    return "identical" if change.exact else "nothing"

"""Detection of an editor's change, in a loop over unchanged pixels, global corrections and residual."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from latentedit.core.console import Tick, nothing
from latentedit.photo import warp
from latentedit.photo.warp import Array, Mask, cv2, gray, smoothed
from latentedit.pixels import detection
from latentedit.pixels.change import CERTAIN, COUNTED, LITTLE_LEFT, NOTHING, OPAQUE, DetectedChange
from latentedit.pixels.light import find_light
from latentedit.pixels.registration import Registration
from latentedit.pixels.rest import DETAIL_LEVELS, measured_rest, mismatch_of, shared_detail, structure
from latentedit.pixels.seams import hidden
from latentedit.pixels.tones import (
    PARTED,
    alike_part,
    first_guess,
    fit_blur,
    fit_tones,
    fitted_planes,
    matched,
    recolored,
    without_color,
)
from latentedit.pixels.transparency import alpha_change

WORKING_SIDE_PX = 1120  # longest side for detection, at which 12 megapixels take 3 s; the mask is then enlarged
GUESS_SIDE_PX = 600  # longest side for the first guess
OUTSIDE = 0.02  # share of the original beyond the edited image from which on a doubt is reported
_MIXED_PX = 2.0  # pixels of the edited image that resampling mixes with what is filled in beyond a side
_MIXED = 2.0  # multiple of the difference a little farther in from which on a side is mixed
_PARTS = 12  # parts of a side over which both are averaged
_MIXED_LEVELS = 4.0  # beyond that multiple
_WHOLE_SIDE_PX = 1400  # longest side at which no pixel is lost, since shrinking a little moves the dots of screentones
_ROUNDS = 3  # most rounds of colors and detection, each on the pixels that the round before left unchanged
_SETTLED = 0.005  # share of the pixels that a round adds or removes below which the next is the last
_GUARD = 0.006  # margin around a change that does not count as unchanged, as a share of the side
# Fraction of the strongest change's contrast that suffices: a faint disc is all that changed, and
# is reported as faint.
_COUNTED_OF_MOST = 0.75
# Blur in pixels below which a sharper edited image may have been restored. Without it, a real pair
# in which the ground behind an apple was replaced (463) counts as redrawn.
_RESTORED_BLUR = -1.0


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
    inside &= ~mixed_sides(here, there, inside, _MIXED_PX / math.sqrt(abs(float(np.linalg.det(matrix[:2, :2])))))
    shown, opaque, uncovered = inside, np.ones_like(inside), np.zeros_like(inside)
    if any(alpha is not None for alpha in alphas):
        first, second = opacities(alphas, matrix, size)
        uncovered = alpha_change(first, second) & inside
        opaque = np.minimum(first, second) >= warp.OPAQUE
        inside = inside & ~uncovered & (np.maximum(first, second) > 0)
    usable, small = inside & opaque, warp.fitted(size, GUESS_SIDE_PX)
    lost, colored = recolored(here, there, inside)
    if lost:  # only the brightness can be compared
        here, there = (cv2.merge([gray(image)] * 3) for image in (here, there))
    light = None if lost or colored else find_light(here, there, usable)
    if light is not None:
        there = light.compared(there, here)
    reduced = warp.resized(here, small), warp.resized(there, small)
    sampled = fitted_planes(*reduced)
    planes, round_size = (*reduced, nearest_resized(inside, small)), small
    if start is None:
        tones, unchanged = first_guess(*reduced, nearest_resized(usable, small), planes=sampled)
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
        surroundings = nearest_resized(usable, round_size) & (cv2.dilate(evidence.changed.astype(np.uint8), guard) == 0)
        few = surroundings.sum() < 0.02 * surroundings.size
        if is_last:
            break
        is_last = rounds == _ROUNDS - 1 or (surroundings != unchanged).mean() < _SETTLED
        if is_last:
            planes, round_size = (here, there, inside), size
        unchanged = nearest_resized(usable, round_size) & nearest_resized(
            unchanged if few else surroundings, round_size
        )
        if not few:
            tones = fit_tones(*planes[:2], unchanged, planes=None if is_last else sampled)
        del evidence
    tick()
    differs = detection.seen_difference(*alike) * inside
    remains = detection.vanished(inside, evidence) | detection.leftovers(differs, inside, evidence, blur)
    remains |= detection.tinted(alike[1] - alike[0], inside, evidence.changed)
    cropped = registration.outside_share > OUTSIDE
    mask = detection.joined(detection.rim(evidence, inside, blur, None if cropped else ~shown), remains)
    mismatch = mismatch_of(tones, *reduced, nearest_resized(surroundings, small))
    # A seam is seen in the colors of the result, of which `alike` hides what the edited image cuts off.
    result = tones.corrected(there, toned) - warp.resized(mismatch, size)
    opacity = hidden(mask, *matched(here, result, blur), inside, evidence.detail)
    if cropped:  # there is only the original: a change that goes on there fades; narrow strips of it would be seen
        beyond = cv2.distanceTransform(shown.astype(np.uint8), cv2.DIST_L2, 3)
        fades = (beyond / (detection.FADES * max(size))).clip(0, 1)
        mask, opacity = mask * fades, opacity * fades
    if uncovered.any():
        clear = smoothed(cv2.dilate(uncovered.astype(np.float32), guard[:3, :3]), 0.7)
        mask, opacity = np.maximum(mask * shown, clear), np.maximum(opacity * shown, clear)
    count, numbers = detection.components(mask)
    tick()
    strengths = detection.contrasts(*alike, inside, mask, numbers)
    strengths[numbers[uncovered]] = np.inf
    _raise_evident(strengths, alike, evidence, inside & (mask > OPAQUE), numbers)
    counted = strengths >= min(COUNTED, _COUNTED_OF_MOST * strengths.max())
    counted[0] = False
    if ((opacity > 0) & (numbers == 0)).any():
        numbers = np.where(opacity > 0, detection.nearest(numbers, numbers > 0), numbers)
    order = np.concatenate([[0], np.flatnonzero(counted), 1 + np.flatnonzero(~counted[1:])])
    taken, numbers = counted[numbers], np.argsort(order).astype(np.int32)[numbers]
    faint_opacity, mask, opacity = opacity * ~taken, mask * taken, opacity * taken
    faint, strengths = tuple(range(1 + int(counted.sum()), 1 + count)), strengths[order]
    if light is not None:
        light = dataclasses.replace(light, number=count + 1)
        lit = np.where(numbers == 0, light.opacity(here) * inside, 0)
        numbers, faint_opacity = np.where(lit > 0, np.int32(light.number), numbers), np.maximum(faint_opacity, lit)
        faint, strengths = (*faint, light.number), np.append(strengths, np.float32(0))
    tick()
    unchanged = inside & ~evidence.changed
    is_small = bool(mask.mean() < NOTHING)
    rest = measured_rest(toned - limited, opacity, inside, usable, unchanged, is_small=is_small)
    if start is None and rest.parted > PARTED:  # the first guess may be a compromise between two parts
        start = alike_part(*reduced, nearest_resized(usable, small), rest.halves, planes=sampled)
        if start is not None:
            again = find_change(original, edited, registration, alphas, tick, start=start)
            if again.parted < rest.parted:
                return again
    luma = gray(here)
    detail = np.abs(luma - smoothed(luma, 3.0)) > DETAIL_LEVELS
    unchanged_share = float(unchanged.sum() / max(inside.sum(), 1))
    if colored and unchanged_share >= LITTLE_LEFT:  # a part may have been colored, and no more
        colored = recolored(here, there, unchanged)[1]
    return DetectedChange(
        registration=registration,
        tones=without_color(tones) if lost else tones,
        mismatch=mismatch,
        shared_detail=shared_detail(*alike, unchanged) if blur <= _RESTORED_BLUR else 1.0,
        mask=mask,
        opacity=opacity,
        numbers=numbers,
        contrasts=strengths,
        faint=faint,
        light=light,
        faint_opacity=faint_opacity,
        differs=differs,
        colored=colored,
        unchanged_share=unchanged_share,
        unchanged_detail=float(detail[unchanged].sum() / max(detail[inside].sum(), 1)),
        residual=rest.residual,
        leftover=rest.leftover,
        parted=rest.parted,
        structure=structure(limited, toned, unchanged),
        noise=warp.median(evidence.noise[inside]) if inside.any() else 0.0,
    )


# A difference that no eye misses, though repainted parts elsewhere leave it little contrast.
_EVIDENT_LEVELS = 25.0  # unchanged pairs had at most 10, faint objects of real pairs 31 and more
# New gradient along the outline, as a share of the original's, from which on it is a thing and no repaint: of 40 faint
# differences of real pairs that no one requested, those that strong and large had up to .24, a ball had .67.
_EVIDENT_OUTLINE = 0.5
_OUTLINE_PX = 3  # distance from an outline within which its gradient is measured


def _raise_evident(
    strengths: Array, alike: tuple[Array, Array], evidence: detection.Evidence, solid: Mask, numbers: NDArray[np.int32]
) -> None:
    """Make those uncertain changes certain, in place, that no eye misses: large things with an outline of their own."""
    before, after = evidence.outlines
    for number in np.flatnonzero(strengths[1:] < CERTAIN) + 1:
        part = solid & (numbers == number)
        if part.any():
            ring = detection.grown(part, _OUTLINE_PX) & detection.grown(~part, _OUTLINE_PX)
            is_new = np.maximum(after - before, 0)[ring].sum() > _EVIDENT_OUTLINE * before[ring].sum()
            averaged = warp.largest(np.abs(smoothed(alike[1] - alike[0], 3.0)))
            if (is_new or strengths[number] >= COUNTED) and warp.median(averaged[part]) > _EVIDENT_LEVELS:
                strengths[number] = CERTAIN


def mixed_sides(original: Array, edited: Array, inside: Mask, width: float) -> Mask:
    """Pixels at the sides of the frame whose outermost ones differ much more: a filling beyond is mixed into them."""
    apart, mixed = warp.largest(np.abs(edited - original)) * inside, np.zeros_like(inside)
    for quarters in range(4):
        side, found = np.rot90(apart, quarters), np.rot90(mixed, quarters)
        along = max(1, side.shape[1] // _PARTS)
        outer, inner = (cv2.blur(side[rows].mean(axis=0)[None], (along, 1)) for rows in (slice(0, 2), slice(4, 8)))
        found[: math.ceil(width)] |= outer > _MIXED * inner + _MIXED_LEVELS
    return mixed


def opacities(alphas: warp.Alphas, matrix: warp.Matrix, size: warp.Size) -> tuple[Array, Array]:
    """Both planes of alpha in a frame, from 0 to 255."""
    original, edited = (None if alpha is None else alpha.astype(np.float32) for alpha in alphas)
    opaque = np.full(size[::-1], 255, dtype=np.float32)
    here = opaque if original is None else warp.resized(original, size)
    return here, opaque if edited is None else warp.warped(edited, matrix, size)


def nearest_resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask in another size, without values between."""
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

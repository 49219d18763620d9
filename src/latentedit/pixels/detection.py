"""Detection of local changes against the damage an editor does everywhere.

Damage grows with local detail, so it is measured on unchanged pixels by detail, at several scales. A pixel is changed
where the difference is many times larger, with hysteresis.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.warp import (
    LUMA,
    Array,
    Mask,
    box_around,
    cut_out,
    cv2,
    gray,
    largest,
    median,
    moments,
    ordered,
    quantile,
    smoothed,
    touched,
)

SCALES_PX = (0.7, 1.4, 2.8, 5.6, 11.2)  # sigmas of averages; coarse ones find faint shadows and light
_FLOORS = (1.2, 0.8, 0.6, 0.5, 0.45)  # least noise in levels at each scale, from rounding and resampling
_FINE = 3  # number of scales for sharp changes, which are excluded from the coarser scales
NEAR = 0.04  # distance from a change within which what differs may be its own, as a share of the side
_CHROMA = 1.4  # weight of differences in color against brightness
# Red and blue minus the luma, as in ITU-R BT.601.
_RED = 0.713 * (np.array([1, 0, 0]) - LUMA)
_BLUE = 0.564 * (np.array([0, 0, 1]) - LUMA)
_OPPONENT = np.array([LUMA, _CHROMA * _RED, _CHROMA * _BLUE], dtype=np.float32)
_ACTIVITY_SHARES = (0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.985, 0.995, 1)  # bins; edges are few
_STEPS = 2048  # entries in a table of the noise
_SAMPLES = 20_000  # pixels on which noise is measured
_DOUBTS = 2.0  # standard deviations of the color fit within which colors count as equal
# Thresholds of hysteresis in multiples of the noise; 5.5 and 2.6 found islands of noise.
HIGH = 8.0
LOW = 3.0

# Replaced texture has no mean difference. Its capped differences have a higher mean than unchanged texture (.3 to .8).
_DENSITY_SCALE_PX = 3.0
_DENSITY_CAP = 4.0  # multiple of the noise
_DENSE = 1.6  # limit of that mean
_DENSEST = 2.4  # up to which the limit rises where 1 % of the unchanged pixels exceed it

_SAME = 4.0  # levels up to which colors look equal
_WEAK = 12.0  # multiple of the noise below which a change has no step and ends where its density does
_BLEEDS = 0.05  # share of a nearby change that counts as noise, since codecs smear it
_BLEEDS_PX = 6.0  # sigma of that smear
_BLEEDS_FROM = 20.0  # levels of a change from which it smears
_STEP = 0.35  # share of a sharp step from which on a pixel belongs to it; missing pixels are seen, extra ones are not
_BEYOND = 2.0  # bound on extrapolated noise: edges of removed objects exceed all others
# Minimum window: in images of 160 px, noise in smaller windows looks like a new texture around a
# sharp object.
_STRUCTURE_PX = 1.5
_STRUCTURE_SIDE = 1 / 200  # window, as a share of the side
_STRUCTURE_FLOOR = 150.0  # regularizing variance
# The same in holes, where faint texture tells: fur and hair have a variance of 20 to 40, a clear sky
# has 2. Without it, the camel that replaces a horse in a real pair (014) has holes.
_HOLE_FLOOR = 40.0
_LEAST_STRUCTURE_NOISE = 0.06
_MOST_STRUCTURE_NOISE = 0.16
# Texture that is another one everywhere in the same way is damage: an editor's own grain.
CALM = 0.2  # quantile of the difference in variance that is grain's
_EVERYWHERE = 0.65  # share of the median that it has of grain: .65 to .90; repainted texture had up to .63
_GRAINS = 2.0  # multiple that chance reaches
_RINGING = 0.4  # share of a nearby sure change that may be ringing
_BETWEEN = 0.008  # radius within which gaps between changes are filled, as a share of the side
_BETWEEN_FROM = 0.4  # local coverage above which the lower threshold is lower still
_FAINT = 0.35  # factor of the lower threshold there
_GAP = 0.003  # half the width of gaps that are closed, as a share of the side
_VISIBLE = 12.0  # levels of a difference from which on a change has a visible edge
FADES = 0.02  # distance over which what fades out does so, as a share of the side
_NEAR_PX = 8  # radius up to which a dilation is faster than distances
_JOIN_PX = 2  # half the width of a line of the original that is no line between two parts of a change
_EDGE_PX = 3  # margin along the edited image's border in which the mask is extrapolated
_TAIL = 0.99  # the noise is scaled so that this share of unchanged pixels is below the lower threshold
_VANISHED = 1.5  # multiple of the strongest edited edge nearby above which an original edge is gone
_VANISHED_PX = 2  # how far such an edge may have moved
_VANISHED_LEAST = 0.12  # least noise of such an edge in levels a pixel
_SEAM_PX = 1.2  # sigma of the differences that are seen along a seam
_HALO_PX = 3  # half the width from which on what is seen next to a change is no halo
_SEAM_NEXT = 0.012  # distance within which a pixel is next to a change, and not around it, as a share of the side
_SEAM_BAND = 0.03  # distance from a change within which such a difference ends, as a share of the side
_SEAM_LEVELS = 6.0  # least visible difference
_SEAM_CLEAR = 2.5  # multiple that a part of it must reach, since the outline of a fainter one would be seen
_SEAM_USUAL = 0.9  # share of the pixels far from the change that must be below it
_SEAM_AROUND = 2.5  # multiple of their mean that is visible
_TINT_PX = 2.0  # sigma of the shifts of color that are followed from a change to the rest of the same thing
_TINT = 6.0  # least shift in levels, of the mean and of the rest
_TINT_ENERGY = 0.7  # least share of the energy that is the mean shift's
# Minimum number of pixels above the higher threshold that are not chance. With one, a sharp object
# in noise is covered by a mask of 1.7 times its area.
_SURE_PX = 3
_OUTWEIGHS = 3.0  # required multiple of the heaviest component without sure pixels
_LEAST_WEIGHT = 4e-4  # least weight of a component, per squared side; so many certain pixels suffice alone
_UNSURE = 2.0  # mean multiple of the noise above which a hole is filled
_STRONGEST = 0.99  # share of the unchanged part whose differences count as noise
# Weight of the average without signs, whose noise varies less: a word of neon that was written anew
# in the same red has little mean difference, and would be faint.
_UNSIGNED = 1.2
# A wide change that is grain; letters are narrow, and not everywhere.
_GRAIN_WIDTH_PX = 20  # least half width
_GRAIN_FINE_PX = 0.7  # sigma of an average
_GRAIN_COARSE_PX = 5.6  # sigma of another
_GRAIN_LEVELS = 14.0  # largest deviation of the fine average; grain that was replaced in a part had up to 9
_GRAIN_DECAYS = 3.6  # least ratio of the two averages' deviations; such grain had 3.8 to 5.5
_GRAIN_SPREAD = 0.4  # least ratio of median and mean energy; such grain had .51 to .53
_GRAIN_STRENGTH = 1.9  # strength that grain is given


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Result of `detect`; ``fine`` is the part of ``changed`` that the fine scales show."""

    changed: Mask
    fine: Mask
    amount: Array
    noise: Array
    density: Array  # local mean of capped differences; above 1 the texture is another one
    outlines: tuple[Array, Array]  # `edges` of both
    activity: Array  # local detail of the edited image
    detail: Array  # local detail that both have
    fading: Array  # opacity by the coarse scales: 1/2 at the lower threshold, 1 from a quarter above it


def detect(
    original: Array,
    edited: Array,
    inside: Mask,
    unchanged: Mask,
    blur: float,
    doubt: Array,
    *,
    first: bool,
    last: bool = True,
) -> Evidence:
    """Compare two images that match in frame, color and sharpness; at ``first`` ``unchanged`` is a guess.

    Holes of another texture are filled at ``last``, since a round after it would measure its noise elsewhere.
    """
    difference = cut_out(_opponent(edited - original), inside)
    outlines = edges(original), edges(edited)
    original_activity, edited_activity = (_spread_out(outline) for outline in outlines)
    sharp_activity = np.maximum(original_activity, edited_activity)  # codecs smear the edges of new content
    side = min(inside.shape)
    inner = _shrunk(inside, _EDGE_PX, beyond=0)
    shrink = min(1.0, max(0.35, side / 400))
    strength = np.sqrt(_energy(difference))
    bled = np.float32(_BLEEDS) * smoothed(np.maximum(strength - _BLEEDS_FROM, 0), _BLEEDS_PX * shrink)
    far = cv2.distanceTransform(unchanged.astype(np.uint8), cv2.DIST_L2, 3) > NEAR * side
    amounts, noises = list[Array](), list[Array]()  # planes of the first two scales
    core = fine = np.zeros(inside.shape, dtype=bool)
    colors = coarse = drawn = in_holes = density = np.zeros(inside.shape, dtype=np.float32)
    known, doubtful = inside.astype(np.float32), _DOUBTS * doubt
    quiet, quiet_far = _sample(unchanged), _sample(far)
    for index, scale in enumerate(SCALES_PX):
        if index == _FINE:
            capped = np.minimum(amounts[0] / noises[0], _DENSITY_CAP)
            density = smoothed(capped, _DENSITY_SCALE_PX * shrink)
            usual = 1.15 * quantile(density.ravel()[quiet], 0.99) if len(quiet) else 0.0
            density /= np.float32(min(max(usual, _DENSE), _DENSEST))
            ringing = _RINGING * smoothed(strength * (colors > HIGH), _BLEEDS_PX)
            drawn, in_holes = _redrawn(original, edited, inside, unchanged, ringing)
            in_holes *= last
            fine = _hysteresis(colors, drawn, density, inner, amounts[1], in_holes)
            core = grown(fine, round(2 * shrink + 2.5 * max(blur, 0)) + 1)
            known, difference = cut_out(known, ~core), cut_out(difference, ~core)
            quiet = _sample(unchanged & ~core)
        sigma = scale * shrink if index else scale
        weight, amount = smoothed(known, sigma), np.sqrt(_energy(smoothed(difference, sigma)))
        amount /= np.maximum(weight, 1e-3)
        amount -= doubtful
        np.maximum(amount, 0, out=amount)
        detail = sharp_activity if index < _FINE else original_activity
        noise = _noise(amount, detail, quiet, _FLOORS[index])
        noise += bled
        if index >= _FINE:
            amount *= weight > 0.25
        if not first and len(quiet_far):
            noise *= max(1.0, quantile(amount.ravel()[quiet_far] / noise.ravel()[quiet_far], _TAIL) / LOW)
        if index < _FINE:
            colors = np.maximum(colors, amount / noise)
        else:
            coarse = np.maximum(coarse, amount / noise)
        if index < 2:
            amounts.append(amount)
            noises.append(noise)
    changed = _hysteresis(np.maximum(colors, coarse), drawn, density, inner, amounts[1], in_holes) & inside
    fading = np.clip(2 * coarse / LOW - 1.5, 0, 1)
    return Evidence(
        changed=changed, fine=fine & inside, amount=amounts[0], noise=noises[0], density=density, outlines=outlines,
        activity=edited_activity, detail=np.minimum(original_activity, edited_activity), fading=fading,
    )  # fmt: skip


def _opponent(difference: Array) -> Array:
    """Luma and two weighted color differences."""
    return cv2.transform(difference, _OPPONENT)


def _spread_out(gradient: Array) -> Array:
    """Local detail: gradient magnitude at two scales, since codecs spread damage over blocks."""
    energy = gradient**2
    return np.sqrt(smoothed(energy, 1.5)) + np.sqrt(smoothed(energy, 5.0)) / 2


def _energy(planes: Array) -> Array:
    """Sum of the squared channels."""
    return cv2.transform(planes * planes, np.ones((1, 3), dtype=np.float32))


def _sample(mask: Mask) -> NDArray[np.intp]:
    """Places of evenly sampled pixels of a mask in the flattened plane."""
    places = np.flatnonzero(mask)
    return places[:: max(1, len(places) // _SAMPLES)]


def _noise(amount: Array, activity: Array, quiet: NDArray[np.intp], floor: float) -> Array:
    """Noise of each pixel by its detail, measured at places that are unchanged; it never falls as detail grows."""
    values, detail = amount.ravel()[quiet], activity.ravel()[quiet]
    if len(values) < 600:
        usual = median(values) * 1.48 if len(values) else floor
        return np.full_like(amount, max(usual, floor))
    order = ordered(detail)
    values, detail = values[order], detail[order]
    ends = (np.array(_ACTIVITY_SHARES) * len(values)).astype(int)
    parts = [slice(low, high) for low, high in itertools.pairwise(ends) if high - low > 8]
    details = np.array([median(detail[part]) for part in parts])
    sizes = [max(1.48 * median(values[part]), quantile(values[part], 0.9)) / 1.6 for part in parts]
    rising = np.maximum.accumulate(np.maximum(sizes, floor))
    most_detail = max(float(details[-1]), 1e-3)
    detail_axis = np.linspace(0, _BEYOND * most_detail, _STEPS)  # extrapolated to more detail
    table = (np.interp(detail_axis, details, rising) * np.maximum(detail_axis / most_detail, 1)).astype(np.float32)
    column, row = activity * np.float32((_STEPS - 1) / detail_axis[-1]), np.zeros_like(activity)
    return cv2.remap(table[None], column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _hysteresis(
    colors: Array, drawn: Array, density: Array, inner: Mask, amount: Array, in_holes: Array | float = 0.0
) -> Mask:
    """Components above the lower threshold that have many sure pixels, or outweigh the heaviest without any."""
    side = min(inner.shape)
    strongest = np.maximum(colors, drawn)
    above = (strongest > LOW) | (density > 1)
    count, labels = cv2.connectedComponents(above.view(np.uint8))
    candidates = above & inner
    candidate_labels, heights = labels[candidates], strongest[candidates]
    sure = np.bincount(candidate_labels[heights > HIGH], minlength=count)
    weights = np.bincount(candidate_labels, weights=heights.clip(LOW, HIGH) - LOW, minlength=count)
    unsure = float(weights[sure < _SURE_PX].max())
    certain = np.bincount(candidate_labels[colors[candidates] > HIGH], minlength=count)
    least = _LEAST_WEIGHT * side * side
    changed = np.take((weights > max(_OUTWEIGHS * unsure, least)) | (certain > least), labels)
    around = smoothed(changed.astype(np.float32), _BETWEEN * side)
    changed |= (around > _BETWEEN_FROM) & (strongest > _FAINT * LOW)
    changed = whole(changed, np.maximum(strongest, in_holes), side)
    window = max(_STRUCTURE_PX, side * _STRUCTURE_SIDE)
    inside = _shrunk(changed, round(2 * window))  # the window of structure reaches that far beyond a change
    return changed & (inside | (amount > _SAME) | (colors > LOW))


def _redrawn(original: Array, edited: Array, inside: Mask, unchanged: Mask, ringing: Array) -> tuple[Array, Array]:
    """Difference in structure (as in SSIM) in multiples of its noise, which colors do not show; and in holes."""
    window = max(_STRUCTURE_PX, min(inside.shape) * _STRUCTURE_SIDE)
    original_variance, edited_variance, covariance = moments(gray(original), gray(edited), window)
    variance = original_variance + edited_variance
    apart = variance - 2 * covariance - ringing**2
    grain = _GRAINS * everywhere(apart, unchanged, _STRUCTURE_FLOOR / 2)
    apart = np.where(inside, np.maximum(apart - np.float32(grain), 0), 0)
    differs, faint = (apart / (variance + np.float32(floor)) for floor in (_STRUCTURE_FLOOR, _HOLE_FLOOR))
    usual = quantile(differs[unchanged], 0.95) / 2.2 if unchanged.any() else 0.0
    noise = np.float32(np.clip(usual, _LEAST_STRUCTURE_NOISE, _MOST_STRUCTURE_NOISE))
    return differs / noise, faint / noise


def everywhere(variance: Array, unchanged: Mask, least: float) -> float:
    """The variance that unchanged pixels have everywhere in the same way, as grain has; 0 if it is below the least."""
    calm, usual = (quantile(variance[unchanged], share) if unchanged.any() else 0.0 for share in (CALM, 0.5))
    return calm if calm > max(_EVERYWHERE * usual, least) else 0.0


def whole(mask: Mask, ratio: Array, side: int) -> Mask:
    """Close gaps and holes, except holes that are clearly unchanged, such as those seen through glasses."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc(max(1, round(_GAP * side)))) > 0
    count, labels = cv2.connectedComponents((~closed).view(np.uint8), connectivity=4)
    holes = np.ones(count, dtype=bool)
    for edge in ([0], labels[0], labels[-1], labels[:, 0], labels[:, -1]):  # open to the border, so not a hole
        holes[edge] = False
    if not holes.any():
        return closed
    in_holes = np.take(holes, labels)
    areas = np.bincount(labels[in_holes], minlength=count)
    weights = np.bincount(labels[in_holes], weights=np.minimum(ratio[in_holes], LOW), minlength=count)
    filled = holes & ((areas <= 3e-4 * side * side) | (weights > _UNSURE * areas) & (areas <= 0.1 * side * side))
    return closed | np.take(filled, labels)


def disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def grown(mask: Mask, radius: int) -> Mask:
    """The mask and all that is this near, in pixels."""
    near, place = np.zeros_like(mask), box_around(mask, radius + 1)
    if radius <= _NEAR_PX:
        near[place] = cv2.dilate(mask[place].astype(np.uint8), disc(radius)) > 0
    else:
        near[place] = cv2.distanceTransform((~mask[place]).astype(np.uint8), cv2.DIST_L2, 5) < radius + 0.5
    return near


def _shrunk(mask: Mask, radius: int, *, beyond: int = 1) -> Mask:
    return cv2.erode(mask.astype(np.uint8), disc(radius), borderType=cv2.BORDER_CONSTANT, borderValue=beyond) > 0


def rim(evidence: Evidence, inside: Mask, blur: float, beyond: Mask | None = None) -> Array:
    """The soft mask in [0, 1]; a change goes on ``beyond`` the edited image, where that is mirrored."""
    # Sharp edges are placed at half of the step, which undoes the editor's blur.
    reach, changed, fine = max(1, round(1.5 + 2 * max(blur, 0))), evidence.changed, evidence.fine
    ring = grown(fine, reach) & ~_shrunk(fine, reach + 1)
    peak = cv2.dilate(evidence.amount * changed, disc(reach + 1))
    sure = evidence.amount > np.maximum(_STEP * peak, LOW * evidence.noise)
    densest = cv2.dilate(evidence.density * changed, disc(reach + 1))
    sure |= (peak < _WEAK * evidence.noise) & (evidence.density > np.maximum(0.5 * densest, 1))
    sharp = whole(np.where(ring, sure & changed, fine), evidence.amount / evidence.noise, min(inside.shape))
    soft = np.minimum(2 * smoothed(sharp.astype(np.float32), 0.7), 1)  # opaque up to the edge
    fading = changed & ~grown(fine, reach + 1)
    soft = np.maximum(soft, np.where(fading, smoothed(evidence.fading, 1.5), 0))
    soft *= _faded(evidence, soft, inside, reach)
    inner = _shrunk(inside, _EDGE_PX)
    if inner.all() or not inner.any():
        return np.where(inside, soft, 0).astype(np.float32)
    # Along the border of the edited image the mask is replicated from a little farther in.
    known = grown(inside, _EDGE_PX)
    return np.where(known if beyond is None else known | beyond, nearest(soft, inner), 0)


def nearest(plane: NDArray[Any], known: Mask) -> NDArray[Any]:
    """The plane with the value of the nearest known pixel everywhere; 0 if none is known."""
    away = 1 - known.astype(np.uint8)
    labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    values = np.zeros(int(labels.max()) + 1, dtype=plane.dtype)
    values[labels[known]] = plane[known]
    return values[labels]


def vanished(inside: Mask, evidence: Evidence) -> Mask:
    """Edges at the border of a change that only the original has: rims and hairlines of what was removed."""
    # The noise model counts them as detail, which damage may change; that they are gone shows in their gradient. The
    # mask ends at half of a step, where the soft outline of what was removed goes on.
    band = grown(evidence.changed, max(4, round(_SEAM_NEXT * min(inside.shape))))
    before, after = evidence.outlines
    gone = np.maximum(before - np.float32(_VANISHED) * cv2.dilate(after, disc(_VANISHED_PX)), 0)
    noise = _noise(gone, evidence.activity, _sample(inside & ~band), _VANISHED_LEAST)
    near = grown((gone > HIGH * noise) & inside, _VANISHED_PX) & inside
    near &= evidence.fine | ~evidence.changed  # coarse changes fade
    return near & touched(near | evidence.changed, evidence.changed)


def seen_difference(original: Array, edited: Array) -> Array:
    """Difference in levels as it is seen along an outline, ``[height, width]``."""
    return largest(np.abs(smoothed(edited - original, _SEAM_PX)))


def visible(differs: Array, changed: Mask) -> Array:
    """The soft mask of all that is seen of a `seen_difference`, whatever the noise: closed, with small holes filled."""
    # But for the narrow halo that the editor's blur and codec leave around what is known to have ``changed``.
    solid = cv2.morphologyEx((differs > _SEAM_LEVELS).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    solid = whole(solid, differs * np.float32(LOW / _SEAM_LEVELS), min(differs.shape))
    wide = cv2.morphologyEx((solid & ~changed).astype(np.uint8), cv2.MORPH_OPEN, disc(_HALO_PX)) > 0
    solid &= changed | wide | ~grown(changed, 2 * _HALO_PX)
    return np.minimum(2 * smoothed(solid.astype(np.float32), _SEAM_PX), 1)  # opaque up to the edge


def leftovers(differs: Array, inside: Mask, evidence: Evidence, blur: float) -> Mask:
    """Visible differences next to a change that end nearby: patches of the old image that a seam would cut off."""
    # The noise model is too tolerant where there is much detail. What goes on beyond the band is the editor's
    # repainting. Visible is what exceeds most differences far away, or those of the surroundings: noise is local.
    side, changed = min(inside.shape), evidence.changed
    near = cv2.distanceTransform((~changed).astype(np.uint8), cv2.DIST_L2, 3)
    usual = differs.ravel()[_sample(inside & (near > 2 * _SEAM_BAND * side))]
    away = inside & (near > _SEAM_NEXT * side)
    weight = smoothed(away.astype(np.float32), _SEAM_BAND * side)
    around = smoothed(differs * away, _SEAM_BAND * side) / np.maximum(weight, 1e-3)
    around = np.where(weight > 0.02, np.float32(_SEAM_AROUND) * around, np.inf)
    thin = disc(1 + round(max(blur, 0)))  # the editor's blur leaves such lines along an outline
    remains = np.zeros_like(changed)
    for limit in (quantile(usual, _SEAM_USUAL) if len(usual) else 0.0, around):
        least = np.maximum(_SEAM_LEVELS, limit)
        candidates = cv2.morphologyEx(((differs > least) & inside).astype(np.uint8), cv2.MORPH_OPEN, thin) > 0
        candidates &= ~changed
        count, labels = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=4)
        touches = np.bincount(labels[candidates & (near < 2)], minlength=count) > 0
        ends = np.bincount(labels[candidates & (near > _SEAM_BAND * side)], minlength=count) == 0
        clear = np.bincount(labels[candidates & (differs > _SEAM_CLEAR * least)], minlength=count) >= _SURE_PX
        remains |= (touches & ends & clear)[labels]
    return remains


def tinted(difference: Array, inside: Mask, changed: Mask) -> Mask:
    """Differences next to a change with its shift of color that end nearby: the rest of a thing in strong noise."""
    side, planes = min(inside.shape), smoothed(_opponent(difference), _TINT_PX)
    planes[..., 0] = 0  # shadows fade
    sigma, known = _SEAM_BAND * side, (changed & inside).astype(np.float32)
    weight = np.maximum(smoothed(known, sigma), 1e-3)
    shift, energy = smoothed(planes * known[..., None], sigma) / weight[..., None], _energy(planes)
    shift_energy = _energy(shift)
    same = (shift_energy > _TINT**2) & (shift_energy > _TINT_ENERGY * smoothed(energy * known, sigma) / weight)
    along = cv2.transform(planes * shift, np.ones((1, 3), dtype=np.float32)) / np.sqrt(np.maximum(shift_energy, 1e-3))
    same &= (along > _TINT) & (along**2 > _TINT_ENERGY * energy)  # lights and shades of a thing have less of it
    rest = cv2.morphologyEx((same & inside & ~changed).astype(np.uint8), cv2.MORPH_OPEN, disc(_HALO_PX)) > 0
    beyond = ~grown(changed, round(2 * _SEAM_BAND * side))
    return touched(rest, grown(changed, 1)) & ~touched(rest, beyond)


def joined(mask: Array, remains: Mask) -> Array:
    """The soft mask with what is left of the old image next to it, and no line between the two."""
    solid = mask > 0.95
    both = cv2.morphologyEx((solid | remains).astype(np.uint8), cv2.MORPH_CLOSE, disc(_JOIN_PX)) > 0
    new = both & ~solid
    return np.maximum(mask, smoothed(new.astype(np.float32), 0.5))


def edges(image: Array) -> Array:
    """Gradient magnitude of luma and color, in levels a pixel."""
    planes = smoothed(_opponent(image), 0.7)
    across, down = cv2.Sobel(planes, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(planes, cv2.CV_32F, 0, 1, scale=0.125)
    return np.sqrt(_energy(across) + _energy(down))


def _faded(evidence: Evidence, soft: Array, inside: Mask, reach: int) -> Array:
    """Weights that let faint parts of a soft mask fade in from its edge; 1 near what has a visible edge."""
    width = max(2.0, FADES * min(inside.shape))
    depth = cv2.distanceTransform((evidence.changed | ~inside).astype(np.uint8), cv2.DIST_L2, 5)
    deepest = _deepest(depth, soft > 0, round(width)).clip(1, width)
    amount, half = evidence.amount, round(width / 2)
    thin = ~grown(_shrunk(evidence.changed | ~inside, half), half + 1)
    visible = thin | (amount > _VISIBLE)
    near = grown(visible & evidence.changed, reach + half)
    return np.maximum(smoothed(near.astype(np.float32), width / 6), (depth / deepest).clip(0, 1))


def _deepest(depth: Array, among: Mask, radius: int) -> Array:
    """The largest of each pixel's surroundings, of some pixels."""
    deepest, place = depth.copy(), box_around(among, radius)
    widths = disc(radius).sum(axis=1)
    # Dilations by the rectangles of which the disc is the union are faster.
    rectangles = (np.ones((np.count_nonzero(widths >= width), width), dtype=np.uint8) for width in set(widths.tolist()))
    deepest[place] = functools.reduce(np.maximum, (cv2.dilate(depth[place], one) for one in rectangles))
    return deepest


def components(mask: Array) -> tuple[int, NDArray[np.int32]]:
    """Number of separate changes, and their labels: 1 is the largest, 0 none; an object and its shadow are one."""
    near = grown(mask > 1 / 255, max(2, round(0.006 * max(mask.shape)))).astype(np.uint8)
    count, labels = cv2.connectedComponents(near)
    areas = np.bincount(labels.ravel(), weights=mask.ravel(), minlength=count)
    numbers = np.zeros(count, dtype=np.int32)
    numbers[1 + np.argsort(-areas[1:], kind="stable")] = np.arange(1, count)
    return count - 1, numbers[labels]


def contrasts(original: Array, edited: Array, inside: Mask, mask: Array, numbers: NDArray[np.int32]) -> Array:
    """Strength of each separate change by its number, in multiples of the strongest noise elsewhere."""
    # Differences are averaged over the change's width, with their signs for a new color, and without for a new pattern.
    # Noise that happens to be strong in a place reaches 2.5, so that it says whether a change can be separated from the
    # damage that the editor does everywhere.
    difference, sure, unchanged = _opponent(edited - original), (mask > 0.5) & inside, inside & (numbers == 0)
    power = _energy(smoothed(difference, 1.0))
    depth = cv2.distanceTransform(np.pad(sure, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    widths = np.zeros(int(numbers.max()) + 1)
    depths, places = depth[sure], numbers[sure]
    rising = ordered(depths)
    widths[places[rising]] = depths[rising]  # the last one, which is the largest, stays
    octaves, strengths = (
        np.rint(np.log2(np.maximum(widths / 2, 1))).astype(int),
        np.zeros(len(widths), dtype=np.float32),
    )
    for octave in set(octaves[1:].tolist()):
        size = tuple(max(1, side >> octave) for side in inside.shape[::-1])

        def averaged(part: Mask, size: tuple[int, ...] = size) -> tuple[Array, Mask]:
            planes = part.astype(np.float32), cut_out(difference, part), cut_out(power, part)
            small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
            weight, signed, unsigned = (smoothed(plane, 1.0) for plane in small)
            divisor = np.maximum(weight, 0.25)
            return np.dstack([np.sqrt(_energy(signed)) / divisor, np.sqrt(unsigned / divisor)]), weight > 0.5

        (here, _), (there, enough) = averaged(inside), averaged(unchanged)
        usual = np.quantile(there[enough], _STRONGEST, axis=0) if enough.any() else np.zeros(2)
        usual = np.maximum(usual, _FLOORS[-1])
        labels = cv2.resize(numbers * sure, size, interpolation=cv2.INTER_NEAREST)
        for number in np.flatnonzero(octaves == octave):
            values = here[labels == number]
            if number and len(values):
                strengths[number] = np.max(np.array([1, _UNSIGNED]) * np.quantile(values, 0.9, axis=0) / usual)
                wide = strengths[number] > _GRAIN_STRENGTH and widths[number] >= _GRAIN_WIDTH_PX
                if wide and _is_grain(difference, sure & (numbers == number)):
                    strengths[number] = _GRAIN_STRENGTH
    return strengths


def _is_grain(difference: Array, part: Mask) -> bool:
    """Whether what differs in a part is gone in averages, as that of other grain is: its variance differs, no mean."""
    inner = cut_out(difference, part)
    fine = _energy(smoothed(inner, _GRAIN_FINE_PX))[part]
    mean = float(fine.mean())
    if math.sqrt(mean) >= _GRAIN_LEVELS or median(fine) <= _GRAIN_SPREAD * mean:
        return False
    coarse = _energy(smoothed(inner, _GRAIN_COARSE_PX))[part]
    return math.sqrt(float(fine.mean() / max(coarse.mean(), 1e-6))) > _GRAIN_DECAYS

"""The editor's change of all colors and of sharpness, fitted on unchanged pixels so that it can be undone.

The first guess is a consensus of blocks. Then saturation and each channel's black, gain and gamma are fitted, which
extrapolate to new colors, under priors for no cast and for equal channels.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.warp import LUMA, Array, Mask, cv2, gray, largest, median, ordered, quantile, smoothed

_LINE = np.linspace(-128, 383, 1024)  # domain of a curve; mixing takes colors beyond black and white
_CACHED = 10_000  # pixels whose colors are looked up together; OpenCV takes at most 32,767 values in a row
_BLOCKS = 2000  # block means that the consensus is taken over
_DRAWS = 400  # pairs of blocks, each of which proposes a line; a fit of all blocks fails where a third is new
_FIT_LEVELS = (7.0, 12.0, 20.0)  # levels within which all channels of a block fit; the next if fewer than half do
_TOLERANCES = (40.0, 15.0, 7.0)  # levels by which a pixel may miss the first guess to count for the next one
_CELL = 12.0  # side of a cell of colors in levels; each cell counts once, so that rare colors count as much
_CELL_LEVELS = 0.7  # error of a cell with any number of pixels, since codecs shift colors by that much
_NEAR = np.ones((5, 5), dtype=np.uint8)  # pixels that smoothing mixes
_SMOOTH_PX = 1.5  # sigma of both images in a fit; without it, noise biases the slope low
_FLAT_LEVELS = 6.0  # detail that halves the weight of a pixel, since blur changes it
_SAMPLES = 15_000  # pixels that the curves are fitted on
_CORRELATED_PIXELS = 10  # pixels that count as one observation, since neighbors are correlated
_SATURATION = 0.12  # prior standard deviation of log saturation
_SHARED_GAMMA = 0.15  # prior standard deviation of log gamma, shared by the channels
_SHARED_GAIN = 0.1  # prior standard deviation of log gain, shared by the channels
_SHARED_BLACK = 8.0  # prior standard deviation of black in levels, shared by the channels
_OWN_GAMMA = 0.1  # prior standard deviation of log gamma, for each channel
_OWN_GAIN = 0.06  # prior standard deviation of log gain, for each channel
_OWN_BLACK = 3.0  # prior standard deviation of black in levels, for each channel
_SHARED = np.array([_SHARED_GAMMA, _SHARED_GAIN, _SHARED_BLACK])
_OWN = np.array([_OWN_GAMMA, _OWN_GAIN, _OWN_BLACK])
_NO_BETTER = 1.03  # ratio of misses without and with the fit below which there is no cast; 1.1 missed casts under noise
_COLORFUL = 3.0  # levels by which colors of one brightness differ in a colorful image, and in half of a colored one
_COLORLESS = 0.3  # share of the other image's difference below which an image has no colors
# Levels by which brightness may differ where colors came or went: another photograph in sepia is
# not a recolored one.
_SAME_LUMA = 6.0
_DOUBTS = 1.5  # standard deviations below which a correction is not applied
_SIDE = 32  # cells a side of the grid of known colors, of 8 levels each
# The next three decide on the colors of what an editor adds, not on masks. Without any one of them,
# up to a third of the pixels of a real pair (347) are others by 12 to 33 levels.
_KNOWN_CELLS = 1  # distance in that grid from the colors of unchanged pixels up to which a color is known
_UNKNOWN_CELLS = 4  # distance in that grid from which on a color is unknown
_SEEN = 3.0  # samples around a cell from which it counts as seen, since codecs mix the colors at edges
# Fraction of the weight by which the largest correction is measured. With all of it, the mixed
# colors of edges decide: a change of a real pair (418) is up to 22 levels off.
_NEARLY_ALL = 0.99
_DARK = 4.0  # levels below which a curve is linear
_ROUNDS = 3  # rounds of weights and fit, and of a fit and what it fits
_BINS = 48  # quantiles of a channel, each of which adds its median residual to the curve
# Edited values outside of these are cut off, and say little about the original's.
_BLACK = 2.5  # levels
_WHITE = 252.5  # levels
_HELD_SAMPLES = 100  # samples that are cut off from which on black or white is known to have stayed
_HELD_LEVELS = 5.0  # levels within which they are held so
# Overshoot that is cut off at black and white. By half a pixel, the worst case, screentones lost 12.1 and 3.3 levels by
# cubic, and 13.6 and 6.1 by Lanczos.
_CUT_OFF = 0.01  # share of an image near its black and white from which on there may be some
_CUT_OFF_PX = 5.6  # sigma of the shade around it
_HALF_PX = np.array([[1, 0, 0.5], [0, 1, 0.5]])
_WEDGE = [[level] * 3 for level in np.linspace(16, 239, 8)]  # grays from dark to bright
_COLORS = [[208 if bits >> channel & 1 else 48 for channel in range(3)] for bits in range(1, 7)]
PATCHES = np.array([_WEDGE + _COLORS], dtype=np.float32)  # ``[1, 14, 3]``
# Candidate blurs in pixels; negative ones blur the edited image, which is then the sharper one.
_SIGMAS = (-1.0, -0.7, -0.5, -0.35, 0.0, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0, 1.2, 1.4, 1.7, 2.1, 2.6)
# Two parts of what is unchanged that are tinted against each other.
PARTED = 3.5  # levels of their difference; unchanged pairs had up to 3.1, and 7 where the corners were darkened
_CLEARLY = 0.8  # share of its variance that lies between the two; gradual shade has .76
_PARTED_SIGMA = 1.5  # blocks
_LEAST_PART = 0.05  # share of the blocks
_DETAIL_PX = 1.0  # sigma below which detail is lost first
_MOST = 2.0  # upper bound of the sharpening
Values = NDArray[np.float64]
Cells = tuple[Values, Values, Values]
Planes = tuple[NDArray[Any], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tones:
    """Map from the edited image's colors to the original's: a mixing matrix, then a curve per channel."""

    mixing: Values  # ``[3, 4]``, weights of the three channels and an offset
    curves: Values  # ``[3, 1024]``, rising, for values from -128 to 383
    most: float = np.inf  # largest correction of a color in the original, in levels; `corrected` trusts twice as much
    doubts: Values | None = None  # standard deviations in levels, ``[17, 17, 17]`` for edited colors every 16 levels
    held: Values | None = None  # the same with black and white as they are where they stayed so
    known: Values | None = None  # 1 for edited colors like those of unchanged pixels, 0 for others, ``[32, 32, 32]``

    @classmethod
    def none(cls) -> "Tones":
        """The identity."""
        return cls.affine(np.ones(3), np.zeros(3))

    @classmethod
    def affine(cls, gains: Values, offsets: Values) -> "Tones":
        """A gain and an offset in each channel."""
        return cls(mixing=np.eye(3, 4), curves=gains[:, None] * _LINE + offsets[:, None])

    def apply(self, image: Array) -> Array:
        """The image in the original's colors, not clipped; ``[height, width, 3]``."""
        curves = self.curves if self.held is None else self.held
        return _looked_up(cv2.transform(image, self.mixing.astype(np.float32)), curves)

    def corrected(self, image: Array, toned: Array | None = None) -> Array:
        """`apply` without extrapolation: a color unlike those of all unchanged pixels stays as it is."""
        # ``toned`` is the result of `apply`, if that is at hand.
        # Black and saturated things that an editor adds would come out gray and dull otherwise. No correction is more
        # than twice the largest one of the colors that both images have, and one that is as uncertain as large is none.
        change = (self.apply(image) if toned is None else toned) - image
        size = np.maximum(largest(np.abs(change)), 1e-3)
        trusted = np.maximum(1 - (_DOUBTS * self.doubt(image) / size) ** 2, 0)
        if self.known is not None:
            trusted *= _between(self.known, image)
        change *= np.minimum(trusted, 2 * self.most / size)[..., None]
        change += image
        return change

    def doubt(self, image: Array) -> NDArray[np.floating[Any]]:
        """Levels by which each edited pixel may be off, as a standard deviation, ``[height, width]``."""
        if self.doubts is None:
            return np.zeros(image.shape[:2], dtype=np.float32)
        at = cv2.addWeighted(image, 1 / 16, image, 0, 0, dtype=cv2.CV_8U)  # rounded
        place = cv2.transform(np.minimum(at, 16).astype(np.int16), np.array([[289, 17, 1]], dtype=np.float32))
        return np.take(self.doubts.astype(np.float32), place)

    def limited(self, original: Array) -> Array:
        """The original, clipped where the edited image's black and white are clipped."""
        unmixing = np.linalg.inv(np.vstack([self.mixing, [0, 0, 0, 1]]))[:3]
        # Distance from black and white.
        near = 2 * _HELD_LEVELS + 2 * 255 * float(np.abs(unmixing[:, :3] - np.eye(3)).max())
        ends = np.stack([np.interp((near, 255 - near), _LINE, curve) for curve in self.curves], axis=1)
        at = np.flatnonzero(cv2.inRange(original, *ends) == 0)
        if not at.size:  # all colors can be shown
            return original
        colors, rising = np.take(original.reshape(-1, 3), at, axis=0), self.curves + 1e-6 * _LINE
        mixed = _looked_up(colors[:, None], np.stack([np.interp(_LINE, curve, _LINE) for curve in rising]))
        shown = cv2.transform(mixed, unmixing.astype(np.float32)).clip(0, 255)
        limited = original.copy()
        limited.reshape(-1, 3)[at] = self.apply(shown)[:, 0]
        return limited

    def clipping(self, original: Array) -> Array:
        """Levels by which clipping may shade an original: fine patterns overshoot where they are resampled."""
        low, high = self.apply(np.array([[[0] * 3, [255] * 3]], dtype=np.float32))[0]
        ends = zip(cv2.split(original), low + np.float32(_BLACK), high - np.float32(_BLACK), strict=True)
        cut_off = sum(np.count_nonzero((plane < dark) | (plane > light)) for plane, dark, light in ends)
        if cut_off < _CUT_OFF * original.size:
            return np.zeros(original.shape[:2], dtype=np.float32)
        limited = self.limited(original)
        options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
        moved = cv2.warpAffine(limited, _HALF_PX, limited.shape[1::-1], **options)
        shade = moved.clip(low, high)
        shade -= moved
        return largest(np.abs(smoothed(shade, _CUT_OFF_PX)))

    @property
    def cast(self) -> float:
        """Mean change of a gray wedge and six colors, in levels of 255."""
        return float(np.abs(self.apply(PATCHES) - PATCHES).mean())

    @property
    def cast_uncertainty(self) -> float:
        """Mean standard deviation of the correction of these colors, in levels of 255."""
        return float(self.doubt(PATCHES).mean())


def without_color(tones: Tones) -> Tones:
    """The same for an edited image of one hue only, whose colors say nothing about the original's."""
    luma = np.rint(np.moveaxis(np.indices((17, 17, 17)), 0, -1) @ LUMA).astype(np.intp)
    doubts = None if tones.doubts is None else tones.doubts[luma, luma, luma]
    return dataclasses.replace(tones, mixing=np.tile(np.append(LUMA, 0), (3, 1)), doubts=doubts)


def _between(grid: Values, image: Array) -> Array:
    """Trilinear interpolation of a grid of colors, ``[height, width]``: no steps in smooth shades."""
    place = image * np.float32(_SIDE / 256)
    place -= np.float32(0.5)
    first, second, third = cv2.split(np.clip(place, 0, _SIDE - 1.001, out=place))
    low, atlas = np.floor(first), grid.astype(np.float32).reshape(-1, _SIDE)  # one slice below the other
    near, far = (cv2.remap(atlas, third, (low + up) * _SIDE + second, cv2.INTER_LINEAR) for up in (0, 1))
    return near + (first - low) * (far - near)


def _looked_up(image: Array, curves: Values) -> Array:
    """Values of each channel's curve; what fits into a processor's cache is looked up together."""
    values, channels = image.reshape(1, -1), np.tile(np.arange(3, dtype=np.float32), _CACHED)[None]
    tables, found = curves.astype(np.float32)[[0, 1, 2, 2]], np.empty_like(values)  # a row below each is faster
    for start in range(0, values.size, channels.size):
        part = np.s_[:, start : start + channels.size]
        place = values[part] + np.float32(128)
        place *= np.float32((len(_LINE) - 1) / 511)
        rows = channels[:, : place.size]
        found[part] = cv2.remap(tables, place, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(image.shape)


def first_guess(original: Array, edited: Array, inside: Mask, *, planes: Planes | None = None) -> tuple[Tones, Mask]:
    """Tones that most pixels agree on, and the mask of these pixels."""
    here, there = _blocks(original, edited, inside)
    if len(here) < 8:
        return Tones.none(), inside
    tones, fitting = Tones.affine(*consensus(here, there)), inside
    planes = planes or fitted_planes(original, edited)
    for limit in _TOLERANCES:
        residual = largest(np.abs(smoothed(tones.apply(edited) - tones.limited(original), 1.0)))
        shown = residual[inside]
        fitting = inside & (residual <= max(median(shown), min(quantile(shown, 0.8), limit)))
        if limit != _TOLERANCES[-1]:
            tones = fit_tones(
                original, edited, fitting, tolerance=limit / 3, planes=planes, draft=limit == _TOLERANCES[0]
            )
    return tones, fitting


def fitted_planes(original: Array, edited: Array) -> Planes:
    """Samples of two images for several calls of `fit_tones`."""
    cut = (edited < _BLACK) | (edited > _WHITE)  # mixed into what is next to it by resampling
    planes = original, smoothed(original, _SMOOTH_PX), smoothed(original, 3 * _SMOOTH_PX)
    return *planes, edited, smoothed(edited, _SMOOTH_PX), cut, cv2.dilate(cut.view(np.uint8), _NEAR)


def fit_tones(
    original: Array,
    edited: Array,
    unchanged: Mask,
    *,
    tolerance: float = 1.5,
    planes: Planes | None = None,
    draft: bool = False,
) -> Tones:
    """Fit the tones on the unchanged pixels; errors up to the tolerance, in levels, keep their weight."""
    # A ``draft`` has neither doubts nor limits of what is known.
    if unchanged.sum() < 200:
        return Tones.none()
    planes = planes or fitted_planes(original, edited)
    at = np.flatnonzero(unchanged)
    at = at[:: max(1, len(at) // _SAMPLES)]
    sharp, here, wide, shown, there, ends, mixed = (
        np.take(plane.reshape(-1, 3), at, axis=0).astype(np.float64) for plane in planes
    )
    flat = 1 / (1 + (np.abs(here - wide).max(axis=1) / _FLAT_LEVELS) ** 2)
    here, there, sound = np.where(ends, sharp, here), np.where(ends, shown, there), mixed == 0
    sound |= sound.sum(axis=0) < 200  # a channel that is cut off nearly everywhere
    nothing = parameters = np.zeros(10)
    weight, cells, cell = flat, (here, there, flat), _cell_of(here)
    for _ in range(_ROUNDS):
        fitted = _toned(parameters, there)
        if parameters.any():  # samples that are cut off were at least as bright as white, or as dark as black
            sound |= (there > _WHITE) & (fitted > here + _BLACK)
            sound |= (there < _BLACK) & (fitted < here - _BLACK)
        miss = (np.abs(here - fitted) * sound).max(axis=1)
        weight = flat / (1 + (miss / max(tolerance, 2 * median(miss))) ** 2)
        cells = _cells(here, there, sound, weight, cell)
        parameters = _solved(parameters, cells)
    size = cells[0].size
    missed = (np.abs(_misses(fit, *cells)[0][:size]) for fit in (parameters, nothing))
    with_fit, without = (np.minimum(levels, 3).mean() for levels in missed)
    if without <= _NO_BETTER * with_fit + 0.02:
        return Tones.none()
    mixing = np.pad(_saturating(parameters), ((0, 0), (0, 1)))
    mixed = there @ mixing[:, :3].T
    parts = enumerate(sound.T)
    curves = [_curve(mixed[part, at], here[part, at], parameters[at:9:3]) for at, part in parts]
    held = np.stack(list(map(_held, curves, there.T, here.T)))
    if draft:
        return Tones(mixing=mixing, curves=np.stack(curves), held=held)
    return Tones(
        mixing=mixing, curves=np.stack(curves), held=held,
        most=_largest_correction(parameters, there, weight), doubts=_doubts(parameters, cells, held),
        known=_known(there, weight),
    )  # fmt: skip


def _known(colors: Values, weight: Values) -> Values:
    """Which colors of a grid are like any of these: 1 up to `_KNOWN_CELLS` away, 0 from `_UNKNOWN_CELLS` on."""
    cells = (colors.clip(0, 255) // (256 / _SIDE)).astype(np.intp) @ np.array([_SIDE**2, _SIDE, 1])
    count = np.bincount(cells, weights=weight, minlength=_SIDE**3).astype(np.float64).reshape([_SIDE] * 3)
    apart = np.where(_spread(count, np.add) >= _SEEN, 0.0, np.inf)
    for _ in range(_UNKNOWN_CELLS):
        apart = np.minimum(apart, 1 + _spread(apart, np.minimum))
    return np.interp(apart, (_KNOWN_CELLS, _UNKNOWN_CELLS), (1.0, 0.0))


def _spread(grid: Values, combine: Any) -> Values:
    """Each cell combined with its 26 neighbors."""
    mode = "edge" if combine is np.minimum else "constant"
    for axis in range(3):
        padded = np.pad(grid, [(int(axis == one),) * 2 for one in range(3)], mode=mode).swapaxes(0, axis)
        grid = functools.reduce(combine, (padded[start : start + _SIDE] for start in range(3))).swapaxes(0, axis)
    return grid


def _largest_correction(parameters: Values, colors: Values, weight: Values) -> float:
    """The largest of nearly all pixels, by weight: pixels of edges, whose colors codecs mix, weigh little."""
    change = np.abs(_toned(parameters, colors) - colors).max(axis=1)
    order = np.argsort(change)
    below = np.cumsum(weight[order])
    return float(change[order][np.searchsorted(below, _NEARLY_ALL * below[-1])])


def recolored(original: Array, edited: Array, inside: Mask) -> tuple[bool, bool]:
    """Whether colors became shades of one, and whether most of an image without colors has some now.

    The luma stays, as it does in black and white, sepia and duotones, and in a colored photograph.
    """
    here, there = _blocks(original, edited, inside)
    if len(here) < 8:
        return False, False
    before, after = _colorfulness(here), _colorfulness(there)
    colorful, left, usual = quantile(before, 0.8), quantile(after, 0.8), median(after)
    lost = colorful > _COLORFUL and left < _COLORLESS * colorful and _is_same_luma(here, there, before >= colorful)
    gained = usual > _COLORFUL and colorful < _COLORLESS * usual and _is_same_luma(here, there, after >= usual)
    return lost, gained


def _is_same_luma(here: Values, there: Values, blocks: Mask) -> bool:
    """Whether the luma of some blocks follows that of the original on one line: only their colors are others."""
    luma = here @ LUMA, there @ LUMA
    if np.ptp(luma[0]) < 1:
        return False
    rest = np.abs(luma[1] - np.polyval(np.polyfit(*luma, 1), luma[0]))
    return float(np.median(rest[blocks])) < _SAME_LUMA


def _colorfulness(colors: Values) -> Values:
    """Distance of each color from the median color of similar luma, in levels."""
    luma = colors @ LUMA
    chroma, apart = colors - luma[:, None], np.zeros(len(colors))
    for part in np.array_split(np.argsort(luma), 12):
        if len(part):
            apart[part] = np.linalg.norm(chroma[part] - np.median(chroma[part], axis=0), axis=1)
    return apart


def _blocks(original: Array, edited: Array, inside: Mask) -> tuple[Values, Values]:
    height, width = inside.shape
    step = max(2.0, np.sqrt(height * width / _BLOCKS))
    size = (max(1, round(width / step)), max(1, round(height / step)))
    covered = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    here, there = (cv2.resize(image, size, interpolation=cv2.INTER_AREA)[covered] for image in (original, edited))
    sound = np.asarray(((there > _BLACK) & (there < _WHITE)).all(axis=1))
    chosen = sound if sound.sum() > 0.2 * len(sound) else np.ones(len(sound), dtype=bool)
    return here[chosen].astype(np.float64), there[chosen].astype(np.float64)


def parts(difference: Array, among: Mask) -> tuple[float, float, Array]:
    """The two parts that differ most from each other: levels between them, share of the variance, and which is which.

    The plane has -1 and 1 for the two parts and 0 elsewhere; the parts are those of Otsu's threshold on the first
    principal component of the coarse difference.
    """
    height, width = among.shape
    step = max(2.0, np.sqrt(height * width / _BLOCKS))
    size = (max(1, round(width / step)), max(1, round(height / step)))
    weight = among.astype(np.float32)
    planes = weight, difference * weight[..., None]
    share, sums = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes)
    chosen = share > 0.5
    plane = np.zeros(chosen.shape, dtype=np.float32)
    if chosen.sum() < 2 / _LEAST_PART:
        return 0.0, 0.0, plane
    smooth = smoothed(sums, _PARTED_SIGMA) / np.maximum(smoothed(share, _PARTED_SIGMA), 0.2)[..., None]
    colors = smooth[chosen].astype(np.float64)
    axis = np.linalg.eigh(np.cov(colors.T))[1][:, -1]
    along = (colors - colors.mean(axis=0)) @ axis
    order = np.sort(along)
    count = np.arange(1, len(order))
    between = np.cumsum(order)[:-1] ** 2 / (count * (len(order) - count))
    sizes = np.minimum(count, len(order) - count)
    at = int(np.where(sizes >= _LEAST_PART * len(order), between, -1).argmax())
    above = along > order[at]
    apart = colors[above].mean(axis=0) - colors[~above].mean(axis=0)
    plane[chosen] = np.where(above, 1, -1)
    return float(np.abs(apart).max()), float(between[at] / max(along.var(), 1e-9)), plane


def alike_part(original: Array, edited: Array, usable: Mask, plane: Array, *, planes: Planes) -> Mask | None:
    """The part with the smaller cast, of two that were tinted against each other; None of a gradual shade."""
    candidates = list[tuple[float, int, Mask]]()
    for side in (-1, 1):
        unchanged = usable & _enlarged(plane == side, usable)
        for turn in range(_ROUNDS):  # a compromise of both parts divides them badly
            tones = fit_tones(original, edited, unchanged, planes=planes, draft=True)
            apart = tones.apply(edited) - tones.limited(original)
            levels, clear, again = parts(apart, usable)
            halves = [usable & _enlarged(again == one, usable) for one in (-1, 1)]
            if not all(half.any() for half in halves):
                break
            size = largest(np.abs(apart))
            unchanged = min((median(size[half]), at, half) for at, half in enumerate(halves))[2]
            if turn == _ROUNDS - 1 and levels > PARTED and clear > _CLEARLY:
                candidates.append((tones.cast, side, unchanged))
    return min(candidates)[2] if candidates else None


def _enlarged(part: Mask, like: Mask) -> Mask:
    return cv2.resize(part.astype(np.uint8), like.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def consensus(here: Values, there: Values) -> tuple[Values, Values]:
    """RANSAC: the line through two blocks that most blocks fit in all channels, then refined."""
    first, second = np.random.default_rng(0).integers(len(here), size=(_DRAWS, 2)).T
    across, up = there[second] - there[first], here[second] - here[first]
    slopes = np.where(np.abs(across) > 12, up / np.where(across == 0, 1, across), 1.0).clip(0.5, 2)
    slopes[0] = 1
    starts = here[first] - slopes * there[first]
    starts[0] = 0
    best, limit = 0, _FIT_LEVELS[0]
    channels = zip(slopes.T[..., None], starts.T[..., None], there.T, here.T, strict=True)
    misses = np.zeros((_DRAWS, len(here)))
    for slope, start, x, y in channels:
        miss = slope * x
        miss += start
        miss -= y
        np.maximum(misses, np.abs(miss, out=miss), out=misses)
    for limit in _FIT_LEVELS:
        scores = np.maximum(0, 1 - (misses / limit) ** 2).mean(axis=1)
        best = int(scores.argmax())
        if (misses[best] < limit).mean() >= 0.5:
            break
    gains, offsets = slopes[best], starts[best]
    for _ in range(6):  # a line through each channel's weighted points, held a little to the slope 1
        rest = np.abs(gains * there + offsets - here).max(axis=1)
        weight = (np.maximum(0, 1 - (rest / (1.5 * limit)) ** 2) ** 2)[:, None]
        weight = weight / max(weight.sum(), 1e-9)
        mean_here, mean_there = (weight * here).sum(axis=0), (weight * there).sum(axis=0)
        spread = (weight * (there - mean_there) ** 2).sum(axis=0)
        together = (weight * (there - mean_there) * (here - mean_here)).sum(axis=0)
        gains = ((together + 20.0) / (spread + 20.0)).clip(0.4, 2.5)
        offsets = mean_here - gains * mean_there
    return gains, offsets


def _saturating(parameters: Values) -> Values:
    return np.exp(parameters[9]) * np.eye(3) + (1 - np.exp(parameters[9])) * LUMA[None]


def _bent(parameters: Values, x: Values) -> tuple[Values, Values, Values]:
    """Channels under gamma, gain and black, linear in the dark; and their parts above and below, as shares of white."""
    gamma, gain = np.exp(parameters[0]), np.exp(parameters[1])
    above = x - parameters[2]
    base, below = np.maximum(above, _DARK) / 255, np.minimum(above - _DARK, 0)
    return 255 * gain * base**gamma + gain * gamma * (_DARK / 255) ** (gamma - 1) * below, base, below


def _power(parameters: Values, x: Values) -> tuple[Values, Values]:
    """Channels under gamma, gain and black, and the derivatives by these, on a last axis."""
    gamma, gain, dark = np.exp(parameters[0]), np.exp(parameters[1]), _DARK / 255
    values, base, below = _bent(parameters, x)
    steep = dark ** (gamma - 1)
    by_gamma = gamma * gain * (255 * base**gamma * np.log(base) + below * steep * (1 + gamma * np.log(dark)))
    return values, np.stack([by_gamma, values, -gain * gamma * base ** (gamma - 1)], axis=-1)


def _toned(parameters: Values, colors: Values) -> Values:
    """Corrected colors ``[n, 3]``."""
    return _bent(parameters[:9].reshape(3, 3), colors @ _saturating(parameters).T)[0]


def _cast(parameters: Values, colors: Values) -> tuple[Values, Values]:
    """Corrected colors ``[n, 3]`` and derivatives ``[n, 3, 10]`` by gammas, gains, blacks and saturation."""
    mixed, gray = colors @ _saturating(parameters).T, colors @ LUMA
    values, own = _power(parameters[:9].reshape(3, 3), mixed)
    slopes = np.zeros((len(colors), 3, 10))
    for at in range(3):
        slopes[:, at, at:9:3] = own[:, at]
        slopes[:, at, 9] = -own[:, at, 2] * (mixed[:, at] - gray)  # chroma grows in proportion
    return values, slopes


def _cell_of(here: Values) -> NDArray[np.intp]:
    """The number of each color's cell."""
    place = (here // _CELL).astype(np.intp) @ np.array([1, 32, 1024])
    place -= place.min()
    return (np.cumsum(np.bincount(place) > 0) - 1)[place]


def _cells(here: Values, there: Values, sound: Mask, weight: Values, cell: NDArray[np.intp]) -> Cells:
    """Mean colors and weights per cell of the original's colors (cells of the noisy edited ones would be biased)."""
    total = np.bincount(cell, weights=weight)

    def means(values: NDArray[Any]) -> Values:
        return np.stack([np.bincount(cell, weights=weight * channel) / total for channel in values.T], axis=1)

    first, second = means(here), means(there)
    scatter = here - there - (first - second)[cell]
    noise = float(np.average((scatter**2).mean(axis=1), weights=weight))
    states = 1 / np.sqrt(_CELL_LEVELS**2 + noise * _CORRELATED_PIXELS / np.maximum(total, 1e-3))
    return first, second, states[:, None] * (means(sound) > 0.5)


def _misses(parameters: Values, here: Values, there: Values, states: Values) -> tuple[Values, Values]:
    """Residuals of the cells and then of the priors, and their derivatives by the parameters."""
    values, slopes = _cast(parameters, there)
    own = parameters[:9].reshape(3, 3)
    shared = own.mean(axis=1)
    apart = (own - shared[:, None]) / _OWN[:, None]
    held = [shared / _SHARED, apart.ravel(), parameters[9:] / _SATURATION]
    by_cells = (slopes * states[..., None]).reshape(-1, 10)
    return np.concatenate([((values - here) * states).ravel(), *held]), np.concatenate([by_cells, _by_held()])


@functools.cache
def _by_held() -> Values:
    """Derivatives of the priors' residuals by the parameters."""
    means = np.kron(np.eye(3), np.full((1, 3), 1 / 3))
    slopes = np.zeros((13, 10))
    slopes[:3, :9], slopes[12, 9] = means / _SHARED[:, None], 1 / _SATURATION
    slopes[3:12, :9] = (np.eye(9) - np.repeat(means, 3, axis=0)) / np.repeat(_OWN, 3)[:, None]
    return slopes


def _solved(parameters: Values, cells: Cells) -> Values:
    """Minimize the loss ``2 sqrt(1 + residual^2)`` by Levenberg-Marquardt."""
    damping, scale = 1e-3, np.diag(1 / np.square([*np.repeat(_SHARED, 3), _SATURATION]))
    misses, slopes = _misses(parameters, *cells)
    for _ in range(30):
        weights = 1 / np.sqrt(1 + misses**2)
        normal, downhill = (slopes.T * weights) @ slopes, -slopes.T @ (weights * misses)
        step = np.linalg.solve(normal + damping * scale, downhill)
        tried, steeper = _misses(parameters + step, *cells)
        gain = float(np.sum(np.sqrt(1 + misses**2)) - np.sum(np.sqrt(1 + tried**2)))
        if gain >= 0:
            parameters, misses, slopes = parameters + step, tried, steeper
            if gain < 1e-8 * len(misses):
                break
        damping *= 0.2 if gain >= 0 else 5
    return parameters


def _doubts(parameters: Values, cells: Cells, held: Values) -> Values:
    """Standard deviation of corrected colors on a grid, the largest of the channels; 0 where black or white is held."""
    misses, slopes = _misses(parameters, *cells)
    jacobian = slopes * ((1 + misses**2) ** -0.75)[:, None]
    side = np.arange(17.0) * 16
    colors = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    slopes, covariance = _cast(parameters, colors)[1], np.linalg.inv(jacobian.T @ jacobian)
    variance = np.einsum("nci,ij,ncj->nc", slopes, covariance, slopes)
    for level, end in ((0, 0), (255, 256)):
        variance[(colors == end) & np.isclose([np.interp(level, _LINE, curve) for curve in held], level)] = 0
    return np.sqrt(variance.max(axis=1).clip(0)).reshape(17, 17, 17)


def _curve(there: Values, here: Values, parameters: Values) -> Values:
    """A channel's curve: the fit, plus the smoothed median residual of each bin."""
    missed = here - _bent(parameters, there)[0]
    order = ordered(here)
    at, rest = _medians(there[order]), _medians(missed[order])
    rest = np.convolve(np.pad(rest, 1, mode="edge"), np.array([0.25, 0.5, 0.25]), mode="valid")
    near, same = np.unique(np.round(at), return_inverse=True)
    rests = np.bincount(same, weights=rest) / np.bincount(same)
    ends = np.concatenate([[near[0] - 24], near, [near[-1] + 24]])
    beyond = np.interp(_LINE, ends, np.concatenate([[0], rests, [0]]))
    return np.maximum.accumulate(_bent(parameters, _LINE)[0] + beyond)


def _medians(values: Values) -> Values:
    """Median of each of `_BINS` parts of about the same size."""
    size, longer = divmod(len(values), _BINS)
    ends = longer * (size + 1)
    parts = values[:ends].reshape(longer, size + 1), values[ends:].reshape(_BINS - longer, size)
    return np.concatenate([np.median(part, axis=1, overwrite_input=True) for part in parts if part.size])


def _held(curve: Values, there: Values, here: Values) -> Values:
    """The curve, with black and white as they are where what is cut off in the edited image was so before."""
    for level, cut in ((0.0, there < _BLACK), (255.0, there > _WHITE)):
        if cut.sum() >= _HELD_SAMPLES and abs(float(np.median(here[cut])) - level) < _BLACK:
            near = (1.2 - np.abs(_LINE.clip(0, 255) - level) / _HELD_LEVELS).clip(0, 1)
            curve = curve + near * (level - np.interp(level, _LINE, curve))
    return np.maximum.accumulate(curve)


def fit_blur(original: Array, edited: Array, unchanged: Mask) -> float:
    """The blur of the original, in pixels, that fits the edited image best; negative where that one is sharper."""
    if unchanged.sum() < 200:
        return 0.0
    counted, planes = unchanged.view(np.uint8), (gray(original), gray(edited))
    first, second = (
        plane - smoothed(plane, 3.0) for plane in planes
    )  # blurred detail is the detail of a blurred image

    @functools.cache
    def miss(at: int) -> float:
        rest = cv2.absdiff(*matched(first, second, _SIGMAS[at]))
        return cv2.mean(np.minimum(rest, np.float32(30), out=rest), counted)[0] + 0.002 * abs(_SIGMAS[at])

    best = min(range(0, len(_SIGMAS), 2), key=miss)  # the miss of a global change may have several minima
    return _SIGMAS[min(range(max(0, best - 1), min(best + 2, len(_SIGMAS))), key=miss)]


def matched(original: Array, edited: Array, blur: float) -> tuple[Array, Array]:
    """Blur one of the images so that both are equally sharp."""
    return smoothed(original, blur), smoothed(edited, -blur)


def fit_sharpening(original: Array, edited: Array, unchanged: Mask) -> float:
    """Least-squares factor of the edited image's finest detail that must be added to match the original; >= 0."""
    first, second = gray(original), gray(edited)
    fine = (second - smoothed(second, _DETAIL_PX))[unchanged]
    energy = float(np.sum(fine**2, dtype=np.float64))
    if unchanged.sum() < 200 or energy == 0:
        return 0.0
    return float(np.clip(np.sum((first - second)[unchanged] * fine, dtype=np.float64) / energy, 0, _MOST))


def sharpened(image: Array, amount: float) -> Array:
    """Add this multiple of the image's finest detail."""
    return image + np.float32(amount) * (image - smoothed(image, _DETAIL_PX)) if amount else image

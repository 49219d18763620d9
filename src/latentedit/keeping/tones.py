"""What was done to all colours: found on what did not change, so that it can be undone.

A first guess comes from a consensus of blocks, since as much as half of the picture may be new. With a mask of what did
not change, each channel gets a curve: gain, gamma and offset, which also hold for colours that only the new part has,
and what the data say beyond them; then the channels are mixed as little as needed.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from latentedit.keeping.opencv import cv2
from latentedit.keeping.warp import Picture, smoothed

_TABLE = 1024
"""Entries of a curve."""

_LINE = np.linspace(-128, 383, _TABLE)
"""The values that a curve is given for; mixing takes colours beyond black and white."""

_BLOCKS = 6000
_DRAWS = 400
_FIT_LEVELS = (7.0, 12.0, 20.0)
"""Levels of 255 within which all channels of a block must fit; the next where fewer than half do."""

_TOLERANCES = (40.0, 15.0, 7.0)
"""Levels by which a pixel may miss the first guess to have a say in the next one, and to be taken for unchanged."""

_HELD = 2e-4
"""How firmly channels are kept apart; so little that only a picture of few colours feels it."""

_CAST_COSTS = 0.2
"""Share of the blocks that a guess must explain more for each factor of e that it changes brightness by."""

_BINS = 48
_CLIPPED = (0.8, 254.2)
"""Edited values outside say little about what they were."""

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tones:
    """From the edited picture's colours to the original's: channels are mixed, then each has its curve.

    Args:
        mixing: ``[3, 4]``, what each channel takes of the three, and an offset.
        curves: of each channel, ``[3, 1024]``, for values from -128 to 383; rising.
    """

    mixing: Values
    curves: Values

    @classmethod
    def none(cls) -> "Tones":
        """Colours as they are."""
        return cls(mixing=np.eye(3, 4), curves=np.stack([_LINE] * 3))

    @classmethod
    def affine(cls, gains: Values, offsets: Values) -> "Tones":
        """A gain and an offset in each channel."""
        return cls(mixing=np.eye(3, 4), curves=gains[:, None] * _LINE + offsets[:, None])

    def apply(self, picture: Picture) -> Picture:
        """The picture in the original's colours, not clipped; ``[height, width, 3]``."""
        mixed = cv2.transform(picture, self.mixing.astype(np.float32))
        return _looked_up(mixed, self.curves)

    def limited(self, original: Picture) -> Picture:
        """The original as far as the edited picture can show it: what its black and white cut off is cut off too."""
        edges = np.linspace(-128, 383, _TABLE)
        unmixed = np.stack(
            [np.interp(edges, curve + 1e-6 * _LINE, _LINE) for curve in self.curves]  # strictly rising
        )
        mixed = _looked_up(original, unmixed)
        square = np.linalg.inv(np.vstack([self.mixing, [0, 0, 0, 1]]))[:3]
        shown = cv2.transform(mixed, square.astype(np.float32)).clip(0, 255)
        return self.apply(shown)

    @property
    def cast(self) -> float:
        """Mean change of a grey wedge and six colours, in levels of 255."""
        wedge = [[level] * 3 for level in np.linspace(16, 239, 8)]
        colours = [[208 if bits >> channel & 1 else 48 for channel in range(3)] for bits in range(1, 7)]
        patches = np.array([wedge + colours], dtype=np.float32)
        return float(np.abs(self.apply(patches) - patches).mean())


def _looked_up(picture: Picture, curves: Values) -> Picture:
    """Each channel through its curve, straight between the entries."""
    place = (np.clip(picture, -128, 383) + 128) * np.float32((_TABLE - 1) / 511)
    below = np.minimum(place.astype(np.int32), _TABLE - 2)
    part = place - below.astype(np.float32)
    result = np.empty_like(picture)
    for channel, curve in enumerate(curves.astype(np.float32)):
        at, share = below[..., channel], part[..., channel]
        result[..., channel] = curve[at] * (1 - share) + curve[at + 1] * share
    return result


def first_guess(original: Picture, edited: Picture, inside: Mask) -> tuple[Tones, Mask]:
    """Tones that most of the picture agrees on, and the pixels that fit to them.

    Args:
        original: in [0, 255].
        edited: in the original's frame.
        inside: what the edited picture shows.
    """
    here, there = _blocks(original, edited, inside)
    if len(here) < 8:
        return Tones.none(), inside
    tones, fitting = Tones.affine(*_consensus(here, there)), inside
    for limit in _TOLERANCES:
        residual = np.abs(smoothed(tones.apply(edited) - tones.limited(original), 1.0)).max(axis=2)
        shown = residual[inside]
        fitting = inside & (residual <= max(float(np.median(shown)), min(float(np.quantile(shown, 0.8)), limit)))
        if limit != _TOLERANCES[-1]:
            tones = fit_tones(original, edited, fitting, tolerance=limit / 3)
    return tones, fitting


def fit_tones(original: Picture, edited: Picture, unchanged: Mask, *, tolerance: float = 1.5) -> Tones:
    """Mixing and curves that take the edited picture's colours to the original's where nothing changed.

    Args:
        original: in [0, 255].
        edited: in the original's frame.
        unchanged: the pixels that have a say.
        tolerance: levels by which they may miss and still count.
    """
    here, there = smoothed(original, 1.0)[unchanged], smoothed(edited, 1.0)[unchanged]
    if len(here) < 200:
        return Tones.none()
    step = max(1, len(here) // 60_000)
    here, there = here[::step].astype(np.float64), there[::step].astype(np.float64)
    sound = (there > _CLIPPED[0]) & (there < _CLIPPED[1])
    sound |= sound.sum(axis=0) < 200  # a channel that is cut off nearly everywhere
    mixing, aim = np.eye(3, 4), here
    curves = np.stack([_LINE] * 3)
    for _ in range(2):
        mixing = _mixing(there, aim, sound, tolerance)
        mixed = there @ mixing[:, :3].T + mixing[:, 3]
        curves = np.stack([_curve(mixed[part, at], here[part, at]) for at, part in enumerate(sound.T)])
        aim = np.stack([np.interp(here[:, at], curves[at] + 1e-6 * _LINE, _LINE) for at in range(3)], axis=1)
    return Tones(mixing=mixing, curves=curves)


def _blocks(original: Picture, edited: Picture, inside: Mask) -> tuple[Values, Values]:
    height, width = inside.shape
    step = max(2.0, np.sqrt(height * width / _BLOCKS))
    size = (max(1, round(width / step)), max(1, round(height / step)))
    whole = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99
    here, there = (cv2.resize(one, size, interpolation=cv2.INTER_AREA)[whole] for one in (original, edited))
    sound = np.asarray(((there > _CLIPPED[0]) & (there < _CLIPPED[1])).all(axis=1))
    chosen = sound if sound.sum() > 0.2 * len(sound) else np.ones(len(sound), dtype=bool)
    return here[chosen].astype(np.float64), there[chosen].astype(np.float64)


def _consensus(here: Values, there: Values) -> tuple[Values, Values]:
    """Of many lines through two blocks each, the one that most blocks lie on, in all channels at once; then refined."""
    draws = np.random.default_rng(0).integers(len(here), size=(_DRAWS, 2))
    across = there[draws[:, 1]] - there[draws[:, 0]]
    up = here[draws[:, 1]] - here[draws[:, 0]]
    slopes = np.where(np.abs(across) > 12, up / np.where(across == 0, 1, across), 1.0).clip(0.5, 2)
    slopes[0] = 1
    starts = here[draws[:, 0]] - slopes * there[draws[:, 0]]
    starts[0] = 0
    best, limit = 0, _FIT_LEVELS[0]
    for limit in _FIT_LEVELS:
        lines = zip(slopes, starts, strict=True)
        misses = np.stack([np.abs(slope * there + start - here).max(axis=1) for slope, start in lines])
        middle = np.abs(slopes * 128 + starts - 128).mean(axis=1) / 128
        cost = _CAST_COSTS * (np.abs(np.log(slopes)).mean(axis=1) + middle)
        scores = np.maximum(0, 1 - (misses / limit) ** 2).mean(axis=1) - cost
        best = int(scores.argmax())
        if (misses[best] < limit).mean() >= 0.5:
            break
    gains, offsets = slopes[best], starts[best]
    for _ in range(6):
        misses = np.abs(gains * there + offsets - here).max(axis=1)
        weight = np.maximum(0, 1 - (misses / (1.5 * limit)) ** 2) ** 2
        gains, offsets = _weighted_lines(here, there, weight)
    return gains, offsets


def _weighted_lines(here: Values, there: Values, weight: Values) -> tuple[Values, Values]:
    """A line through each channel's weighted points, held a little to the slope 1."""
    weight = weight[:, None] / max(weight.sum(), 1e-9)
    mean_here, mean_there = (weight * here).sum(axis=0), (weight * there).sum(axis=0)
    spread = (weight * (there - mean_there) ** 2).sum(axis=0)
    together = (weight * (there - mean_there) * (here - mean_here)).sum(axis=0)
    gains = ((together + 20.0) / (spread + 20.0)).clip(0.4, 2.5)
    return gains, mean_here - gains * mean_there


def _curve(there: Values, here: Values) -> Values:
    """A rising curve: gain, gamma and offset through the medians of the bins, and what these say beyond it."""
    order = np.argsort(there, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    at = np.array([float(np.median(there[part])) for part in bins])
    value = np.array([float(np.median(here[part])) for part in bins])

    def power(parameters: Values, x: Values) -> Values:
        gain, gamma, offset = parameters
        base = np.maximum(x, 1.0) / 255
        below = np.minimum(x - 1.0, 0) * gain * gamma * (1 / 255) ** (gamma - 1)  # straight on below black
        return 255 * gain * base**gamma + below + offset

    def misses(parameters: Values) -> Values:
        # held to no change at all by so little that only a flat picture feels it
        held = (parameters - np.array([1.0, 1.0, 0.0])) * np.array([10.0, 10.0, 0.1])
        return np.concatenate([power(parameters, at) - value, held])

    bounds = ([0.4, 0.4, -80.0], [2.5, 2.5, 80.0])
    found = least_squares(misses, np.array([1.0, 1.0, 0.0]), bounds=bounds, loss="soft_l1", max_nfev=60)
    rest = value - power(found.x, at)
    rest = np.convolve(np.pad(rest, 1, mode="edge"), np.array([0.25, 0.5, 0.25]), mode="valid")
    near = np.unique(np.round(at))
    rests = np.array([float(rest[np.round(at) == one].mean()) for one in near])
    ends = np.concatenate([[near[0] - 24], near, [near[-1] + 24]])
    curve = power(found.x, _LINE) + np.interp(_LINE, ends, np.concatenate([[0], rests, [0]]))
    return np.maximum.accumulate(curve)


def _mixing(there: Values, here: Values, sound: Mask, tolerance: float) -> Values:
    """The mixing of channels that the unchanged pixels ask for, by weighted least squares held to none."""
    x = np.hstack([there / 255, np.ones((len(there), 1))])
    y = here - there
    weight = np.ones(len(x))
    change = np.zeros((4, 3))
    for _ in range(4):
        for channel in range(3):
            weighted = x * (weight * sound[:, channel])[:, None]
            square = weighted.T @ x / len(x) + _HELD * np.eye(4)
            change[:, channel] = np.linalg.solve(square, weighted.T @ y[:, channel] / len(x))
        miss = (np.abs(y - x @ change) * sound).max(axis=1)
        weight = 1 / (1 + (miss / max(tolerance, 2 * float(np.median(miss)))) ** 2)
    mixing = np.eye(3, 4)
    mixing[:, :3] += change[:3].T / 255
    mixing[:, 3] += change[3]
    return mixing

"""A strength with a unit: the measured effect of a scale, its monotone fit, and the inverse from effect to scale.

An editor turns a *scale* (how far along its direction it goes) into an image. The *effect* of a scale is the share of
the full change that the clean latent makes, along that change,

    effect(a) = <z(a) - x, u> / <u, u>        u = z(1) - x,

so it is 0 at scale 0 and 1 at scale 1 by definition. A *strength* is a requested effect; the curve between the measured
scales is monotone, and is inverted.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.numerics.precision import to_float64

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator


def effect_along(z: Float[Tensor, "k b *latent"], full: Float[Tensor, "b *latent"]) -> Float[Tensor, "k b"]:
    """The effects of displacements ``z(a) - x`` of the clean latent; all are 0 where u, the full change, is zero."""
    flat = to_float64(full).flatten(1)
    length = flat.square().sum(1)
    along = (to_float64(z).flatten(2) * flat).sum(2)
    return torch.where(length > 0, along / length.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EffectCurve:
    """Measured effects of two or more rising scales, made monotone, and read in both directions.

    The measurements are replaced by the nearest rising ones (least squares); between them runs a shape-preserving cubic
    (PCHIP), which rises where they do. Scales outside the measured ones are taken at its ends.

    Laws:
        1. `effect` does not fall with the scale, nor `scale` with the strength.
        2. ``effect(scale(strength)) == strength`` for strengths between the lowest and highest measured effect.
        3. Effects that rise are kept as measured.
    """

    scales: tuple[float, ...]
    effects: Float[Tensor, "k b"]

    def __post_init__(self) -> None:
        if len(self.scales) < 2 or not all(a < b for a, b in zip(self.scales, self.scales[1:], strict=False)):
            raise ConfigError(f"a curve needs two or more rising scales; got {self.scales}")
        if len(self.effects) != len(self.scales):
            raise ShapeError(f"{len(self.scales)} scales take one row of effects each; got {len(self.effects)}")

    def scale(self, strength: float | Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The scale whose effect is the strength, one per image; an end of the curve where no scale reaches it."""
        return self._read(strength, backwards=True)

    def effect(self, scale: float | Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The fitted effect of a scale, one per image."""
        return self._read(scale, backwards=False)

    def _read(self, at: float | Float[Tensor, " b"], *, backwards: bool) -> Tensor:
        columns = self.effects.cpu().double().numpy().T
        values = np.broadcast_to(np.asarray(at, dtype=np.float64), len(columns))
        pairs = zip(columns, values, strict=True)
        return torch.tensor([self._read_image(*pair, backwards) for pair in pairs], dtype=torch.float64)

    def _read_image(self, measured: np.ndarray, at: float, backwards: bool) -> float:
        from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow, and most edits read no curve)
        from scipy.optimize import isotonic_regression  # noqa: PLC0415

        scales, effects = np.asarray(self.scales), isotonic_regression(measured).x
        # A flat stretch has no inverse, so its middle is used. Effects that differ by rounding alone count as flat,
        # too: a cubic cannot climb a step of no width.
        levels, group = np.unique(effects.round(12), return_inverse=True)
        if len(levels) < 2:
            return float(at if backwards else effects[0])
        centers = np.bincount(group, weights=scales) / np.bincount(group)
        # Interpolants from scale to effect and from effect to scale are not inverses of each other between the points:
        # only the latter is one, and the other way solves it.
        if backwards:
            return float(PchipInterpolator(levels, centers)(np.clip(at, levels[0], levels[-1])))
        return _solve(PchipInterpolator(levels, centers), centers, float(np.clip(at, centers[0], centers[-1])))


def _solve(rising: "PchipInterpolator", values: np.ndarray, value: float) -> float:
    """Where a rising interpolant of these values takes a value. By bisection: the roots of steep cubics are inexact."""
    piece = int(np.clip(np.searchsorted(values, value) - 1, 0, len(values) - 2))
    start, end = rising.x[piece : piece + 2].tolist()
    a, b, c, d = rising.c[:, piece].tolist()
    low, high = 0.0, end - start
    for _ in range(_HALVINGS):
        x = (low + high) / 2
        low, high = (x, high) if ((a * x + b) * x + c) * x + d < value else (low, x)
    return start + (low + high) / 2


_HALVINGS = 54  # bisections of a piece, down to the last bit of a float64

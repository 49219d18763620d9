"""A strength with a unit: the measured effect of a scale, its monotone fit, and the way back from effect to scale.

An editor turns a *scale* (how far along its direction it goes) into a picture. The *effect* of a scale is the share of
the whole change that the clean latent makes, along that change,

    effect(a) = <z(a) - x, u> / <u, u>        u = z(1) - x,

so it is 0 at scale 0 and 1 at scale 1 by definition. Asking for a *strength* means asking for an effect; the curve
between the measured scales is monotone, and is read backwards.
"""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.linalg import to_float64


def measure_effect(z: Float[Tensor, "k b *latent"], whole: Float[Tensor, "b *latent"]) -> Float[Tensor, "k b"]:
    """The effect of displacements of the clean latent: their projections on the whole change, in its length.

    Args:
        z: displacements ``z(a) - x`` of several scales.
        whole: u, the displacement of scale 1.

    Returns:
        1 for u itself; 0 where u is zero.
    """
    flat = to_float64(whole).flatten(1)
    length = flat.square().sum(1)
    along = (to_float64(z).flatten(2) * flat).sum(2)
    return torch.where(length > 0, along / length.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EffectCurve:
    """Measured effects of some scales, made monotone, and read in both directions.

    The measurements are replaced by the nearest rising ones (least squares); between them runs a shape-preserving cubic
    (PCHIP), which rises where they do. Scales outside the measured ones are taken at its ends.

    Laws:
        1. `effect` does not fall with the scale, nor `scale` with the strength.
        2. ``effect(scale(strength)) == strength`` for strengths between the lowest and highest measured effect.
        3. Effects that rise are kept as measured.

    Args:
        scales: rising, at least two.
        effects: of each scale, one row a scale and one column a picture.

    Raises:
        ConfigError: scales that do not rise.
        ShapeError: another number of effects than of scales.
    """

    scales: tuple[float, ...]
    effects: Float[Tensor, "k b"]

    def __post_init__(self) -> None:
        if len(self.scales) < 2 or not all(a < b for a, b in zip(self.scales, self.scales[1:], strict=False)):
            raise ConfigError(f"a curve needs two or more rising scales; got {self.scales}")
        if len(self.effects) != len(self.scales):
            raise ShapeError(f"{len(self.scales)} scales take one row of effects each; got {len(self.effects)}")

    def scale(self, strength: float | Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The scale whose effect is the strength, one a picture; the ends of the curve where no scale reaches it."""
        wanted = np.broadcast_to(np.asarray(strength, dtype=np.float64), (self.effects.shape[1],))
        return self._read(wanted, backwards=True)

    def effect(self, scale: float | Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The fitted effect of a scale, one a picture."""
        asked = np.broadcast_to(np.asarray(scale, dtype=np.float64), (self.effects.shape[1],))
        return self._read(asked, backwards=False)

    def _read(self, at: np.ndarray, *, backwards: bool) -> Tensor:
        found = [self._one(column, value, backwards) for column, value in zip(self._columns(), at, strict=True)]
        return torch.tensor(found, dtype=torch.float64)

    def _columns(self) -> list[np.ndarray]:
        return [isotonic_regression(column).x for column in self.effects.cpu().double().numpy().T]

    def _one(self, effects: np.ndarray, at: float, backwards: bool) -> float:
        scales = np.asarray(self.scales)
        # A flat stretch has no inverse: its middle stands for it, so that reading back gives no end of it by accident.
        # Effects that differ by rounding alone are flat, too: a cubic cannot climb a step of no width.
        levels, group = np.unique(effects.round(12), return_inverse=True)
        if len(levels) < 2:
            return float(at if backwards else effects[0])
        centres = np.bincount(group, weights=scales) / np.bincount(group)
        if backwards:
            return float(PchipInterpolator(levels, centres)(np.clip(at, levels[0], levels[-1])))
        return _solve(PchipInterpolator(levels, centres), centres, float(np.clip(at, centres[0], centres[-1])))


def _solve(rising: PchipInterpolator, values: np.ndarray, value: float) -> float:
    """Where a rising interpolant of these values takes one, by bisection: the roots of steep cubics come out wrong."""
    piece = int(np.clip(np.searchsorted(values, value) - 1, 0, len(values) - 2))
    start, end = rising.x[piece : piece + 2].tolist()
    a, b, c, d = rising.c[:, piece].tolist()
    low, high = 0.0, end - start
    for _ in range(_HALVINGS):
        x = (low + high) / 2
        low, high = (x, high) if ((a * x + b) * x + c) * x + d < value else (low, x)
    return start + (low + high) / 2


_HALVINGS = 54
"""Of a piece, down to the last bit of a float64."""

"""Curves given by points: interpolation, lengths, how far the tangent space turns along them, and shortest curves.

A curve through points ``z_0 ... z_n`` has the discrete pullback energy

    E = sum_i |f(z_{i+1}) - f(z_i)|^2  >=  length^2 / n

with equality where all segments are equally long in feature space. Among curves with the same ends the least energy is
that of a shortest curve walked at constant speed, so minimizing E over the inner points also spaces them evenly, and
no term is needed for that. Only f and its reverse mode are needed, no Jacobian.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError, explaining
from latentedit.core.setting import Count, check_value
from latentedit.geometry.subspaces import geodesic_distance
from latentedit.numerics.precision import to_float64

_OPPOSITE = 1e-6  # how near, in radians, the angle of opposite float32 vectors comes to pi
_SETTLED = 1e-3  # gradient norm at convergence; energies in units of the start's, points in their mean spacing
_HISTORY = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShortestCurve:
    """A curve of least energy, as far as the search got."""

    points: Float[Tensor, "l *latent"]  # the ends are those of the start, bit for bit
    energy: tuple[float, float]  # before and after; never higher after than before
    steps: int  # evaluations of the energy and its gradient
    converged: bool  # the gradient has vanished


def lerp(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], weight: float | Float[Tensor, " k"]
) -> Float[Tensor, "*points"]:
    """Points on the straight line between two vectors, ``(1 - w) a + w b``.

    Between two independent normal vectors of n numbers, whose length is nearly ``sqrt(n)``, the middle point has length
    ``sqrt(n / 2)``; `slerp` keeps the length.

    Args:
        a: the vector at weight 0, bit for bit.
        b: the vector at weight 1, bit for bit.
        weight: w, one number or several; weights outside [0, 1] extrapolate.

    Returns:
        ``*shape`` for one weight and ``[k, *shape]`` for k, in the dtype of a and b and on a's device; computed in
        float64.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: a weight that is not finite.
    """
    weights = _checked(a, b, weight)
    return _combined(a, b, weight, weights, 1 - weights, weights)


def slerp(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], weight: float | Float[Tensor, " k"]
) -> Float[Tensor, "*points"]:
    """Points on the arc between two vectors, ``sin((1 - w) o) / sin(o) a + sin(w o) / sin(o) b`` at an angle o.

    Each tensor is one vector, whatever its shape. For equal lengths the points lie on the great circle through both,
    at the angle ``w o`` from a, and have that length. For different lengths they lie on an arc of an ellipse around 0
    that goes through both, so the length changes smoothly but not evenly, and the angle from a is not ``w o``.
    At small angles the formula passes into `lerp`: the ratios are those of sin(x) / x, smooth at 0.

    Args:
        a: the vector at weight 0, bit for bit.
        b: the vector at weight 1, bit for bit.
        weight: w, one number or several; weights outside [0, 1] extrapolate.

    Returns:
        ``*shape`` for one weight and ``[k, *shape]`` for k, in the dtype of a and b and on a's device; computed in
        float64.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: a vector of length 0, opposite vectors, between which every half circle is an arc, or a weight
            that is not finite.

    Source:
        Shoemake 1985.
    """
    weights = _checked(a, b, weight)
    angle = _angle(a, b)
    if angle > math.pi - _OPPOSITE:
        raise ConfigError("the vectors are opposite, so the arc between them is not unique")
    turn = angle / math.pi  # torch.sinc takes x / pi
    full = torch.sinc(torch.tensor(turn, dtype=torch.float64))
    first = (1 - weights) * torch.sinc((1 - weights) * turn) / full
    second = weights * torch.sinc(weights * turn) / full
    return _combined(a, b, weight, weights, first, second)


def speeds(features: Float[Tensor, "l *feature"]) -> Float[Tensor, " n"]:
    """The length of each segment, ``|f_{i+1} - f_i|``, in float64 on the CPU."""
    steps = features.detach().flatten(1).cpu().double().diff(dim=0)
    return torch.linalg.vector_norm(steps, dim=1)


def curve_length(features: Float[Tensor, "l *feature"]) -> float:
    """The length of a curve in feature space, ``sum |f_{i+1} - f_i|``.

    Args:
        features: of the points along the curve; the length of a single point is 0.
    """
    return float(speeds(features).sum())


def curve_energy(features: Float[Tensor, "l *feature"]) -> float:
    """The energy of a curve in feature space, ``sum |f_{i+1} - f_i|^2``."""
    return float(speeds(features).square().sum())


def semantic_lengths(bases: Sequence[Float[Tensor, "r *feature"]]) -> Float[Tensor, " n"]:
    """How far the tangent space turns in each segment, in radians (Park et al. 2023, arXiv 2302.12469: curvedness).

    Their sum is the semantic path length. It grows with the number of segments, so compare curves of equally many.
    """
    return torch.tensor([geodesic_distance(a, b) for a, b in pairwise(bases)], dtype=torch.float64)


@explaining
def shortest_curve(
    feature: Callable[[Tensor], Tensor],
    curve: Float[Tensor, "l *latent"],
    *,
    steps: int = 100,
    progress: Progress | None = None,
) -> ShortestCurve:
    """Shorten a curve in feature space; its ends and its number of points stay.

    Where f does not tell latents apart the curve stays as it was: its points move along gradients only. If all
    segments of the start are equally long in feature space, the result is no longer than the start.

    Args:
        feature: f, of a batch ``[l, *latent]``; differentiable in reverse mode.
        curve: the start.
        steps: maximum evaluations of the energy and its gradient; a line search may take a few more.
        progress: called with "shortest curve" after each evaluation.

    Raises:
        ShapeError: fewer than two points.
        ConfigError: less than one step.
        ConvergenceError: an energy that is not finite at the start.

    Cost:
        ``l`` features forwards and backwards for each step; the ends' features are computed once.

    Source:
        Shao, Kumar & Fletcher 2018 (arXiv 1711.08014), the discrete energy; minimized with limited-memory BFGS.
    """
    if len(curve) < 2:
        raise ShapeError(f"a curve needs two points or more; got {len(curve)}")
    check_value(Count, steps=steps)
    search = _Search(feature, curve.detach(), steps=steps, progress=progress)
    before = search.least
    if not before < float("inf"):
        raise ConvergenceError("the energy of the initial curve is not finite. Use another curve")
    if len(curve) == 2 or before == 0:
        return ShortestCurve(points=curve.detach().clone(), energy=(before, before), steps=1, converged=True)
    search.run()
    return ShortestCurve(
        points=search.best, energy=(before, search.least), steps=search.spent, converged=search.slope <= _SETTLED
    )


class _Search:
    """Inner points in units of the mean distance of points on a straight line, the energy in units of the start's."""

    def __init__(
        self, feature: Callable[[Tensor], Tensor], curve: Tensor, *, steps: int, progress: Progress | None
    ) -> None:
        self._feature, self._curve, self._steps, self._progress = feature, curve, steps, progress
        with torch.no_grad():
            ends = feature(curve[[0, -1]]).flatten(1)
        self._first, self._last = ends[:1], ends[1:]
        across = float(torch.linalg.vector_norm(curve[-1] - curve[0])) / (len(curve) - 1)
        walked = torch.linalg.vector_norm(curve.diff(dim=0).flatten(1), dim=1).mean()
        # A closed curve has no distance between its ends, and one of equal points no length.
        self._unit = across or float(walked) or 1.0
        self._offsets = torch.zeros_like(curve[1:-1]).requires_grad_()
        self.best, self.spent, self.slope = curve.clone(), 0, float("inf")
        with torch.no_grad():
            self.least = self._scale = float(self._energy(curve[1:-1]))

    def run(self) -> None:
        size = self._offsets.numel() ** 0.5
        optimizer = torch.optim.LBFGS(
            [self._offsets],
            max_iter=self._steps,
            max_eval=self._steps,
            tolerance_grad=_SETTLED / size,  # bounds the largest entry, and so the norm
            tolerance_change=1e-9,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )
        with torch.enable_grad():
            optimizer.step(self._closure)

    def _closure(self) -> float:
        offsets = self._offsets
        inner = self._curve[1:-1] + self._unit * offsets
        energy = self._energy(inner)
        (offsets.grad,) = torch.autograd.grad(energy / self._scale, offsets)
        self.spent += 1
        value = float(energy.detach())
        # The search may end at a worse point than one on its way; the result is never worse than the start.
        if value <= self.least:
            self.least, self.slope = value, float(torch.linalg.vector_norm(offsets.grad))
            self.best[1:-1] = inner.detach()
        if self._progress is not None:
            self._progress("shortest curve", min(self.spent, self._steps), self._steps)
        return value / self._scale

    def _energy(self, inner: Tensor) -> Tensor:
        middle = self._feature(inner).flatten(1) if len(inner) else self._first[:0]
        return to_float64(torch.cat([self._first, middle, self._last]).diff(dim=0)).square().sum()


def _checked(a: Tensor, b: Tensor, weight: float | Tensor) -> Float[Tensor, " k"]:
    """The weights as a vector, in float64."""
    if a.shape != b.shape:
        raise ShapeError(f"the two vectors must have one shape; got {list(a.shape)} and {list(b.shape)}")
    weights = torch.as_tensor(weight, dtype=torch.float64, device="cpu").reshape(-1)
    if not bool(weights.isfinite().all()):
        raise ConfigError(f"weights must be finite; got {weights.tolist()}")
    return weights


def _combined(
    a: Tensor, b: Tensor, weight: float | Tensor, weights: Tensor, first: Tensor, second: Tensor
) -> Float[Tensor, "*points"]:
    """``first a + second b`` for each weight, the ends left as they are."""
    points = torch.empty(len(weights), *a.shape, dtype=torch.promote_types(a.dtype, b.dtype), device=a.device)
    wide, other = _wide(a), _wide(b)
    for index, at in enumerate(weights.tolist()):
        inside = wide * first[index] + other * second[index]
        points[index] = {0.0: a, 1.0: b}.get(at, inside)
    return points if torch.as_tensor(weight).ndim else points[0]


def _angle(a: Tensor, b: Tensor) -> float:
    """Between the vectors, in radians, exact near 0 and near pi."""
    wide, other = _wide(a), _wide(b)
    lengths = float(wide.norm()), float(other.norm())
    if not (min(lengths) > 0 and math.isfinite(sum(lengths))):
        raise ConfigError("a vector is zero or not finite, so it has no direction")
    wide, other = wide / lengths[0], other / lengths[1]
    return 2 * math.atan2(float((wide - other).norm()), float((wide + other).norm()))


def _wide(vector: Tensor) -> Tensor:
    return vector.detach().cpu().double()

"""Shortest curves between two latents, by the length that they have in feature space.

A curve through points ``z_0 ... z_n`` has the discrete pullback energy

    E = sum_i |f(z_{i+1}) - f(z_i)|^2  >=  length^2 / n

with equality where all segments are equally long in feature space. Among curves with the same ends the least energy is
that of a shortest curve walked at constant speed, so minimising E over the inner points also spaces them evenly, and
no term is needed for that. Only f and its reverse mode are needed, no Jacobian.
"""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.core.float64 import to_float64
from latentedit.core.progress import Progress

_SETTLED = 1e-3
"""Norm of the gradient at which the curve is settled: of the energy in that of the start, by the inner points in the
mean distance of points of a straight line."""

_HISTORY = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShortestCurve:
    """A curve of little energy.

    Args:
        points: of the latent; the ends are those of the start, bit for bit.
        energy: before and after; never higher after than before.
        steps: times that the energy and its gradient were computed.
        converged: the gradient has vanished; see the module.
    """

    points: Float[Tensor, "l *latent"]
    energy: tuple[float, float]
    steps: int
    converged: bool


def shortest_curve(
    feature: Callable[[Tensor], Tensor],
    curve: Float[Tensor, "l *latent"],
    *,
    steps: int = 100,
    progress: Progress | None = None,
) -> ShortestCurve:
    """Shorten a curve in feature space, its ends and its number of points kept.

    Where f does not tell latents apart the curve stays where it was: its points move along gradients only. If all
    segments of the start are equally long in feature space, the result is no longer than the start.

    Args:
        feature: f, of a batch ``[l, *latent]``; differentiable in reverse mode.
        curve: to start from.
        steps: most computations of the energy and its gradient; a line search may take a few more.
        progress: told "shortest curve" after each.

    Raises:
        ShapeError: fewer than two points.
        ConfigError: less than one step.
        ConvergenceError: an energy that is not finite at the start.

    Cost:
        ``l`` features forwards and backwards for each step; the ends' features are computed once.

    Source:
        Shao, Kumar & Fletcher 2018 (arXiv 1711.08014), the discrete energy; minimised with limited-memory BFGS.
    """
    if len(curve) < 2:
        raise ShapeError(f"a curve needs two points or more; got {len(curve)}")
    if steps < 1:
        raise ConfigError(f"steps must be at least 1; got {steps}")
    search = _Search(feature, curve.detach(), steps=steps, progress=progress)
    before = search.energy_at_start()
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
        self._unit = across or float(walked) or 1.0
        self._moved = torch.zeros_like(curve[1:-1]).requires_grad_()
        self.best, self.spent, self.slope = curve.clone(), 0, float("inf")
        self.least = self._scale = 1.0

    def energy_at_start(self) -> float:
        with torch.no_grad():
            self.least = self._scale = float(self._energy(self._curve[1:-1]))
        if not self._scale < float("inf"):
            raise ConvergenceError("the curve to start from has no finite energy. Start from another")
        return self._scale

    def run(self) -> None:
        size = self._moved.numel() ** 0.5
        optimizer = torch.optim.LBFGS(
            [self._moved],
            max_iter=self._steps,
            max_eval=self._steps,
            tolerance_grad=_SETTLED / size,  # of the largest entry, so of the norm as well
            tolerance_change=1e-9,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )
        with torch.enable_grad():
            optimizer.step(self._closure)

    def _closure(self) -> float:
        moved = self._moved
        inner = self._curve[1:-1] + self._unit * moved
        energy = self._energy(inner)
        (moved.grad,) = torch.autograd.grad(energy / self._scale, moved)
        self.spent += 1
        value = float(energy.detach())
        if value <= self.least:
            self.least, self.slope = value, float(torch.linalg.vector_norm(moved.grad))
            self.best[1:-1] = inner.detach()
        if self._progress is not None:
            self._progress("shortest curve", min(self.spent, self._steps), self._steps)
        return value / self._scale

    def _energy(self, inner: Tensor) -> Tensor:
        middle = self._feature(inner).flatten(1) if len(inner) else self._first[:0]
        return to_float64(torch.cat([self._first, middle, self._last]).diff(dim=0)).square().sum()

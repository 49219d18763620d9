"""Solvers of the flow dz/ds = v(z, s): single steps, and walks over a list of levels in either direction."""

import abc
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import CoordinateError
from latentedit.numerics.flow import level_batch

Field = Callable[[Float[Tensor, "b *latent"], Float[Tensor, " b"]], Float[Tensor, "b *latent"]]
"""A velocity field ``(z, s) -> v`` with one level an element: a `GuidedField`, or any function of that form."""


def heading(field: Field, s_next: float) -> Field:
    """The slope of a step to a level: ``u(z, s, s_next)`` for a flow map, the velocity for all other fields."""
    return field.towards(s_next) if hasattr(field, "towards") else field


class Solver(abc.ABC):
    """One step of the flow ``dz/ds = v(z, s)``.

    Laws:
        1. A field that is constant in z and s is integrated exactly.
        2. ``step`` treats the elements of the batch independently.
    """

    @abc.abstractmethod
    def step(self, field: Field, z: Float[Tensor, "b *latent"], s: float, s_next: float) -> Float[Tensor, "b *latent"]:
        """The latents at ``s_next`` from those at ``s``; towards noise (inversion) or data (sampling) alike."""


@final
class EulerSolver(Solver):
    """``z' = z + (s' - s) v(z, s)``, of first order; it never evaluates the velocity at ``s_next``.

    Exact, over any interval, for data that is a single point, and for flow maps (`heading`). In coordinates of alpha
    and sigma this is the deterministic DDIM step (Song et al. 2021, eq. 12, eta = 0).
    """

    def step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        return z + (s_next - s) * heading(field, s_next)(z, level_batch(s, z))


@final
class MidpointSolver(Solver):
    """``z' = z + (s' - s) v(z + (s' - s) / 2 v(z, s), (s + s') / 2)``; it never evaluates the velocity at ``s_next``.

    Of second order; on data of a single Gaussian of third. Equal to the second-order Taylor step of RF-Solver (Wang et
    al. 2024) with its finite-difference derivative.
    """

    def step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        half = (s_next - s) / 2
        middle = z + half * field(z, level_batch(s, z))
        return z + (s_next - s) * field(middle, level_batch(s + half, z))


def integrate(
    field: Field,
    z: Float[Tensor, "b *latent"],
    levels: Sequence[float],
    solver: Solver,
    *,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """Follow the flow ``dz/ds = v(z, s)`` from ``levels[0]`` through strictly rising or falling levels to the last.

    Where that is not 0, as in grids of variance-preserving models, what comes out still has that much noise.
    """
    nodes = tuple(float(level) for level in levels)
    pairs = list(itertools.pairwise(nodes))
    if not nodes or not (all(a < b for a, b in pairs) or all(a > b for a, b in pairs)):
        raise CoordinateError(f"levels must strictly rise or strictly fall; got {nodes}")
    for _, s, s_next in each_step(nodes, name="integrate", progress=progress):
        z = solver.step(field, z, s, s_next)
    return z


def each_step(levels: Sequence[float], *, name: str, progress: Progress | None) -> Iterator[tuple[int, float, float]]:
    """The steps of a walk: number from 0, the level before and the one after; progress counts each finished step."""
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        yield index, s, s_next
        if progress is not None:
            progress(name, index + 1, len(levels) - 1)


def fresh_share(s: float, s_next: float) -> float:
    """The standard deviation of the fresh noise in ``z(s_next)`` of an ancestral step (eta 1) down from s.

    ``tau = s' sqrt(1 - (r' / r)^2)`` with ``r = s / (1 - s)``, the ratio of noise to signal. With ``alpha`` and
    ``sigma`` of a variance-preserving model it is ``sigma' / sigma sqrt(1 - alpha^2 / alpha'^2)``, DDIM's own, over
    ``alpha' + sigma'``.
    """
    ratio = s_next * (1 - s) / ((1 - s_next) * s)
    return s_next * math.sqrt(max(0.0, 1 - ratio**2))


def stochastic_step(
    z: Float[Tensor, "b *latent"],
    v: Float[Tensor, "b *latent"],
    s: float,
    s_next: float,
    *,
    eta: float,
    noise: Float[Tensor, "#b *latent"],
) -> Float[Tensor, "b *latent"]:
    """The stochastic DDIM step, ``z' = (1 - s') x_hat + sqrt(s'^2 - eta^2 tau^2) e_hat + eta tau n``, downwards.

    With eta 0 (deterministic) it is the Euler step, bit for bit; eta 1 is ancestral sampling. For any eta, the marginal
    of z' is that of the level where the estimates are exact. See `fresh_share` for tau. Song et al. 2021 (arXiv
    2010.02502), eq. 12 and 16, rewritten here.
    """
    fresh = eta * fresh_share(s, s_next)
    kept = math.sqrt(max(0.0, s_next**2 - fresh**2)) if fresh else s_next
    plain = z + (s_next - s) * v
    return plain + (kept - s_next) * (z + (1 - s) * v) + fresh * noise

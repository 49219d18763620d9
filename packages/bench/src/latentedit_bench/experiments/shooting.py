"""Geodesic shooting: following a change of the feature through a curved latent space, step by step."""

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.geometry.transport import Transported, transported
from latentedit.core.progress import Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TangentBasis:
    """Singular triplets of the derivative of a feature at a point: ``J v[i] = singular_values[i] * u[i]``.

    Args:
        u: orthonormal changes of the feature.
        singular_values: falling, at least 0.
        v: orthonormal displacements of the latent.
    """

    u: Float[Tensor, "r *feature"]
    singular_values: Float[Tensor, " r"]
    v: Float[Tensor, "r *latent"]


BasisAt = Callable[[Tensor, TangentBasis | None], TangentBasis]
"""The basis at a point, and the one before it, from which a search may start."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """Where shooting went.

    Args:
        points: of the latent, the start first.
        bases: at each point.
        captured: share of the squared change of the feature that each new tangent space kept; one a segment.
    """

    points: Float[Tensor, "l *latent"]
    bases: tuple[TangentBasis, ...]
    captured: Float[Tensor, " n"]


def shoot(
    basis_at: BasisAt,
    start: Float[Tensor, "*latent"],
    along: int | Float[Tensor, "*feature"],
    *,
    step: float,
    segments: int,
    inverse: bool = True,
    damping: float = 0.0,
    progress: Progress | None = None,
) -> Shot:
    """Go straight ahead: steps of one length along a direction that each new point is asked for anew.

    ``z += step * v``; then, with the basis there, ``u <- U U^T u / |U U^T u|`` and ``v <- V S^-1 U^T u``, normalised.
    The curve follows a geodesic to first order in the step. Nothing keeps its distance from the origin: latents near
    noise leave their shell by ``segments * step`` at most, and ``n`` numbers put the shell at ``sqrt(n)``.

    Args:
        basis_at: the tangent space at a point.
        start: one latent.
        along: a vector of the basis at the start by its number, or any change of the feature.
        step: length of each step of the latent; negative goes the other way.
        segments: how many steps.
        inverse: see `transported`.
        damping: likewise.
        progress: told "shooting" after each step.

    Raises:
        ConfigError: a number outside the basis, a step that is 0 or no number, less than one segment, or a tangent
            space that has nothing of the direction.

    Cost:
        ``segments + 1`` bases.

    Source:
        Park et al. 2023 (arXiv 2302.12469, geodesic shooting; 2307.12868, the pullback).
    """
    if not (math.isfinite(step) and step):
        raise ConfigError(f"expected a step that is a number other than 0; got {step}")
    if segments < 1:
        raise ConfigError(f"expected at least one segment; got {segments}")
    basis = basis_at(start, None)
    if isinstance(along, int):
        if not 0 <= along < len(basis.u):
            raise ConfigError(f"expected a number from 0 to {len(basis.u) - 1}, the last of the basis; got {along}")
        u = basis.u[along]
    else:
        u = along
    points, bases, captured = [start], [basis], list[Tensor]()
    heading = _heading(u, basis, inverse=inverse, damping=damping)
    for done in range(segments):
        points.append(points[-1] + step * heading.v[0].to(start.device, start.dtype))
        basis = basis_at(points[-1], bases[-1])
        heading = _heading(heading.u[0], basis, inverse=inverse, damping=damping)
        bases.append(basis)
        captured.append(heading.captured[0])
        if progress is not None:
            progress("shooting", done + 1, segments)
    return Shot(points=torch.stack(points), bases=tuple(bases), captured=torch.stack(captured))


def _heading(u: Tensor, basis: TangentBasis, *, inverse: bool, damping: float) -> Transported:
    """The change of the feature as the tangent space has it, and the displacement that makes it."""
    return transported(u[None], basis.u, basis.singular_values, basis.v, inverse=inverse, damping=damping)

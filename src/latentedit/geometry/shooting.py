"""Geodesic shooting: from a point straight ahead, by a direction that is found again at each new point.

With U, S, V the tangent space at a point (``J = U S V^T``) and u the change of the feature that is followed::

    z <- z + step * v;  then, with the space there,  u <- U U^T u,  v <- V S^-1 U^T u,  both made one long

The curve follows a geodesic to first order in the step. Near noise, latents lie on a shell of one length; there the
part of v along z is left out, and each point is given the length of the start. After Park et al. 2023, arXiv
2302.12469, who have ``v <- V U^T u``: the inverse, its damping and the shell are ours.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.geometry.transport import transported
from latentedit.numerics.block_lanczos import TruncatedSVD


def geodesic_shooting(
    basis_at: Callable[[Tensor, TruncatedSVD | None], TruncatedSVD],
    start: Float[Tensor, "*latent"],
    along: Float[Tensor, "*feature"] | None = None,
    *,
    step: float,
    segments: int,
    damping: float = 0.0,
    on_shell: bool = False,
) -> tuple[Float[Tensor, "l *latent"], list[TruncatedSVD]]:
    """Go straight ahead: steps of one length along a direction that is computed again at each new point.

    Args:
        basis_at: the tangent space at a point, by the one before it, as `TangentSpaces.at`.
        start: one latent at a level.
        along: change of the feature that is followed; None is the first u at the start.
        step: length of each step of the latent; negative goes the other way.
        segments: number of steps.
        damping: of the inverse, see `transported`.
        on_shell: keep the length of the latent; the step is then that along the tangent.

    Returns:
        The points, the start first, and the tangent space at each.

    Cost:
        That of ``segments + 1`` tangent spaces.

    Example:
        basis = le.local_basis(latent, rank=1)
        spaces = TangentSpaces(feature=basis.feature, rank=1, draws=(0, "shooting"))
        points, bases = geodesic_shooting(spaces.at, basis.trace.top[0], step=1.0, segments=4)

    Source:
        Park et al. 2023, arXiv 2302.12469; see the module for what is ours. With or without the inverse, four steps
        that went 8 ended 0.57 apart.
    """
    points, bases = [start], [basis_at(start, None)]
    along = bases[0].u[0] if along is None else along
    for _ in range(segments):
        basis = bases[-1]
        heading = transported(along[None], basis.u, basis.singular_values, basis.v, damping=damping)
        along, ahead = heading.u[0], heading.v[0].to(start.device, start.dtype)
        points.append(_on_shell(points[-1], ahead, step) if on_shell else points[-1] + step * ahead)
        bases.append(basis_at(points[-1], basis))
    return torch.stack(points), bases


def _on_shell(z: Float[Tensor, "*latent"], ahead: Float[Tensor, "*latent"], step: float) -> Float[Tensor, "*latent"]:
    """A step along the tangent of the sphere on which z lies, and back to that sphere."""
    radius = torch.linalg.vector_norm(z)
    along = ahead - (ahead * z).sum() / radius**2 * z
    moved = z + step * along / torch.linalg.vector_norm(along)
    return moved * radius / torch.linalg.vector_norm(moved)

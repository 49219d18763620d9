"""Geodesic shooting: following a change of the feature through a curved latent space, step by step."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.linalg.block_lanczos import TruncatedSVD
from latentedit.geometry.transport import transported


def shoot(
    basis_at: Callable[[Tensor, TruncatedSVD | None], TruncatedSVD],  # the space at a point, by the one before it
    start: Float[Tensor, "*latent"],  # one latent
    along: Float[Tensor, "*feature"] | None = None,  # the change of the feature that is followed; None is the first u
    *,
    step: float,  # length of each step of the latent; negative goes the other way
    segments: int,  # how many steps
    damping: float = 0.0,  # see `transported`
    on_shell: bool = False,  # keep the length of the latent; the step is then that along the tangent
) -> tuple[Float[Tensor, "l *latent"], list[TruncatedSVD]]:
    """Go straight ahead: steps of one length along a direction that is computed again at each new point.

    Returns the points, the start first, and the tangent space at each.

    ``z += step * v``; then, with the basis there, ``u <- U U^T u / |U U^T u|`` and ``v <- V S^-1 U^T u``, normalized.
    The curve follows a geodesic to first order in the step. On the shell, where latents near noise lie, the part of v
    along z is left out and each point is given the length of the start. After Park et al. 2023, arXiv 2302.12469, where
    ``v <- V U^T u``: the inverse, its damping and the shell are ours. With or without the inverse, four steps that went
    8 ended 0.57 apart.
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

"""Removing from an edit what would change attributes to be kept, to first order: null space, or a metric's version."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.float64 import to_float64

_RANK = 1e-8
"""Columns whose squared sine to the others is below this count as dependent; differences of float32 networks have
relative errors of 1e-4, so what is smaller is noise."""


def project(
    d: Float[Tensor, "b *latent"], kept: Float[Tensor, "k b *latent"], raised: Float[Tensor, "k b *latent"]
) -> Float[Tensor, "b *latent"]:
    """``d - W (G^T W)^+ G^T d``, which has ``G^T d = 0``: the nearest displacement that leaves what is kept alone.

    With ``W = G`` it is the nearest in Euclid's sense, ``d - G (G^T G)^+ G^T d``. With ``W = M^-1 G`` it is the nearest
    in the metric M, and from ``d = M^-1 g`` it makes the solution of ``max g^T d - d^T M d / 2`` under ``G^T d = 0``.
    ``G^T d = 0`` holds to rounding also where W is a rough solution. Solved in float64 over columns of unit length;
    dependent columns and columns of zeros ask for nothing more.

    Args:
        d: displacements.
        kept: G, the delta residual of each attribute to keep, one column an attribute.
        raised: W, ``M^-1 G`` or G itself.

    Cost:
        No evaluation.

    Source:
        Lagrange conditions of the quadratic programme, derived here.
    """
    columns, lifted = _unit(_columns(kept)), _unit(_columns(raised))
    flat = to_float64(d).flatten(1)[..., None]
    inverse = torch.linalg.pinv(columns.mT @ lifted, rtol=_RANK)
    return (flat - lifted @ (inverse @ (columns.mT @ flat)))[..., 0].reshape(d.shape).to(d)


def _columns(stack: Tensor) -> Float[Tensor, "b d k"]:
    return to_float64(stack).flatten(2).permute(1, 2, 0)


def _unit(columns: Float[Tensor, "b d k"]) -> Float[Tensor, "b d k"]:
    norms = torch.linalg.vector_norm(columns, dim=1, keepdim=True)
    return columns / norms.clamp_min(torch.finfo(torch.float64).tiny)

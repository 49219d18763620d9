"""The block power iteration: the span of a map's leading right singular vectors, at a cost that is known beforehand.

`core.linalg.block_lanczos` needs fewer products for the same accuracy, but how many is seen on the way. An editor says
what it costs before it starts.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.flow import per_element
from latentedit.core.linalg import to_float64
from latentedit.core.progress import Progress

Normal = Callable[[Float[Tensor, "b r *latent"]], Float[Tensor, "b r *latent"]]
"""``J^T J`` of each row, J a map of each picture."""


def leading_span(
    normal: Normal, start: Float[Tensor, "b r *latent"], *, iterations: int, progress: Progress | None = None
) -> Float[Tensor, "b r *latent"]:
    """An orthonormal basis of ``(J^T J)^q S``, which tends to the span of the r leading right singular vectors of J.

    The angle that is left falls like ``(s_{r+1} / s_r)^(2 q)``. Rows that J maps to nothing come back as zeros.

    Args:
        normal: ``J^T J``, with J of each picture.
        start: S, r rows a picture; r is at most the size of a latent.
        iterations: q, at least 1.
        progress: told "basis" after each.

    Cost:
        ``iterations`` calls of ``normal`` with r rows a picture.

    Source:
        Park et al. 2023 (arXiv 2307.12868), algorithm 1, for a fixed number of iterations.
    """
    rows = orthonormal(start)
    for done in range(1, iterations + 1):
        rows = orthonormal(normal(rows))
        if progress is not None:
            progress("basis", done, iterations)
    return rows


def orthonormal(rows: Float[Tensor, "b r *latent"]) -> Float[Tensor, "b r *latent"]:
    """Orthonormal rows of the same span; zeros in the place of rows that depend on those before them."""
    wide = to_float64(rows).flatten(2)
    basis, triangle = torch.linalg.qr(wide.mT)
    size = triangle.diagonal(dim1=1, dim2=2).abs()
    kept = size > 100 * torch.finfo(rows.dtype).eps * size.amax(1, keepdim=True)
    return (basis * kept[:, None]).mT.to(rows).reshape(rows.shape)


def projected(rows: Float[Tensor, "b r *latent"], v: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *latent"]:
    """The part of v in the span of orthonormal rows, ``sum_k <q_k, v> q_k``."""
    basis, wide = to_float64(rows).flatten(2), to_float64(v).flatten(1)
    shares = torch.einsum("brn,bn->br", basis, wide)
    return torch.einsum("br,brn->bn", shares, basis).to(v).reshape(v.shape)


def of_length(v: Float[Tensor, "b *latent"], length: Float[Tensor, " b"]) -> Float[Tensor, "b *latent"]:
    """Each v made as long as it is said; nothing stays nothing."""
    own = torch.linalg.vector_norm(v.flatten(1), dim=1)
    factor = torch.where(own > 0, length / own.clamp_min(torch.finfo(own.dtype).tiny), torch.zeros_like(own))
    return v * per_element(factor, v)

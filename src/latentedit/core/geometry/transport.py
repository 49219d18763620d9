"""Parallel transport of tangent vectors from one point of a curved latent space to another, through flat features.

Let f map latents to features, ``J = U S V^T`` its derivative at a point, and let feature space be flat. A unit change u
of the feature, made at one point, is carried to another by projecting it onto what the latent there can change, the
span of U_1, and pulling it back to the displacement that makes that change:

    u' = U_1 U_1^T u        v' = V_1 S_1^-1 U_1^T u,    so  J_1 v' = u'

Without the inverse singular values, ``v' = V_1 U_1^T u``, all directions of the basis count alike, and J_1 v' leans
towards those of large singular values.
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError

NOTHING = 1e-4
"""Share of a vector's length below which what a projection keeps of it is rounding and no direction."""

_ZERO = 1e-12
"""Singular value, in the largest, below which its vectors are arbitrary and count for nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transported:
    """Vectors carried to a tangent space, in float64 on the CPU.

    Args:
        u: changes of the feature in the target's space, of unit length.
        v: displacements of the latent that are pulled back from them, of unit length.
        captured: share of the squared length of each u before that lies in the target's space, ``|U_1^T u|^2 / |u|^2``.
    """

    u: Float[Tensor, "k *feature"]
    v: Float[Tensor, "k *latent"]
    captured: Float[Tensor, " k"]

    @property
    def angle(self) -> Float[Tensor, " k"]:
        """Of each u before to the target's space, in radians from 0 to pi / 2."""
        return torch.atan2((1 - self.captured).clamp_min(0).sqrt(), self.captured.sqrt())


def transported(
    u: Float[Tensor, "k *feature"],
    to_u: Float[Tensor, "r *feature"],
    singular_values: Float[Tensor, " r"],
    to_v: Float[Tensor, "r *latent"],
    *,
    rank: int | None = None,
    inverse: bool = True,
    damping: float = 0.0,
) -> Transported:
    """Carry changes of the feature to a point of which a local basis is known; see the module.

    Args:
        u: changes of the feature, of any length above 0.
        to_u: of the basis: orthonormal changes of the feature.
        singular_values: of the basis, at least 0; vectors whose value is 0 are left out, for their u is arbitrary.
        to_v: of the basis: orthonormal displacements of the latent, ``J to_v[i] = singular_values[i] * to_u[i]``.
        rank: how many of the basis to use, the first ones; all by default.
        inverse: divide by the singular values, so that ``J v`` is parallel to the projection of u.
        damping: d of the damped inverse ``s / (s^2 + (d s_1)^2)`` (Tikhonov). No direction of the basis is then
            amplified more than ``1 / (2 d)`` times as much as the top one undamped; 0 is the plain inverse.

    Raises:
        ShapeError: features, or numbers of vectors, that do not fit.
        ConfigError: a rank outside the basis, a damping below 0, no singular value above 0, a u of no length, or one
            of which the target's space has nothing.

    Source:
        Park et al. 2023 (arXiv 2307.12868), parallel transport; the damping is ours.
    """
    count = len(to_u) if rank is None else rank
    _check(u, to_u, singular_values, to_v, count, damping)
    values = singular_values[:count].detach().cpu().double()
    kept = values > _ZERO * values.max()
    if not bool(kept.any()):
        raise ConfigError("the target's basis has no singular value above 0. Take another site or point")
    values, rows = values[kept], _rows(to_u[:count])[kept]
    before = _rows(u)
    length = torch.linalg.vector_norm(before, dim=1)
    if not bool((length > 0).all()):
        raise ConfigError(f"change number {int(length.argmin())} of the feature is 0; leave it out")
    parts = (before / length[:, None]) @ rows.T
    captured = parts.square().sum(1)
    if float(captured.min()) < NOTHING**2:
        raise ConfigError(
            f"the target's basis captures nothing of change number {int(captured.argmin())} of the feature. "
            "Use a basis of higher rank"
        )
    weights = values / (values.square() + (damping * values[0]) ** 2) if inverse else torch.ones_like(values)
    return Transported(
        u=_unit(parts @ rows).reshape(u.shape),
        v=_unit((weights * parts) @ _rows(to_v[:count])[kept]).reshape(len(u), *to_v.shape[1:]),
        captured=captured.clamp_max(1),
    )


def _check(u: Tensor, to_u: Tensor, values: Tensor, to_v: Tensor, rank: int, damping: float) -> None:
    if u.shape[1:] != to_u.shape[1:]:
        raise ShapeError(f"the features have different shapes; got {list(u.shape[1:])} and {list(to_u.shape[1:])}")
    if not len(to_u) == len(values) == len(to_v):
        raise ShapeError(
            f"the parts of the basis have different lengths; got {len(to_u)} u, {len(values)} values, {len(to_v)} v"
        )
    if not 1 <= rank <= len(to_u):
        raise ConfigError(f"the rank must lie from 1 to {len(to_u)}; got {rank}")
    if not damping >= 0:
        raise ConfigError(f"the damping must be 0 or more; got {damping}")


def _rows(vectors: Tensor) -> Float[Tensor, "k n"]:
    return vectors.detach().cpu().double().flatten(1)


def _unit(rows: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)

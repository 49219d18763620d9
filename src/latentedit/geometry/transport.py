"""Parallel transport: a direction found at one image, made at another by the same change of the feature.

A direction of a local basis is a displacement of one image's latent; on another image it does something else. What
images share is the space of features. Let f map latents to features, ``J = U S V^T`` its derivative at a point, and
let feature space be flat. A unit change u of the feature, made at one point, is pulled back at another, with J_1, to
the displacement of a given length that changes the feature there along u most:

    v' = J_1^T u / |J_1^T u|

A few leading directions of J_1 hold little of a change that was found elsewhere. With them alone (Park et al. 2023) it
is projected onto what they can change, the span of U_1, and pulled back with or without the singular values:

    u' = U_1 U_1^T u        v' = V_1 S_1^-1 U_1^T u,  so  J_1 v' = u',        or  v' = V_1 U_1^T u
"""

import dataclasses
import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import ConfigError, Hinted, ShapeError, explaining
from latentedit.core.setting import check_value
from latentedit.geometry.pullback import LocalBasis
from latentedit.geometry.subspaces import vectors_of
from latentedit.identification.direction import Direction, clean_share
from latentedit.numerics.block_lanczos import TruncatedSVD
from latentedit.numerics.flow import per_element
from latentedit.numerics.operator import BlockOperator
from latentedit.numerics.rng import stream

# Damping of the inverse, in units of the largest singular value: directions weaker than a tenth of the strongest fade
# out instead of dominating, and none is amplified more than fivefold. Stronger ones keep most of their exact weight,
# 96 % at a half.
TRANSPORT_DAMPING = 0.1
SAME_LEVEL = 1e-6
_NOTHING = 1e-4  # share of a vector's length below which what a projection keeps of it is rounding
_RANDOM = 4  # changes of the feature by which the level by chance is estimated
_ZERO = 1e-12  # singular value, in units of the largest, below which its vectors are arbitrary and are left out


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transported(Hinted):
    """Vectors carried to a tangent space, in float64 on the CPU."""

    u: Float[Tensor, "k *feature"]  # changes of the feature in the target's space, of unit length
    v: Float[Tensor, "k *latent"]  # displacements of the latent that are pulled back from them, of unit length
    captured: Float[Tensor, " k"]  # share of each original u in the target's space, ``|U_1^T u|^2 / |u|^2``


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """A direction carried to another image."""

    direction: Direction  # there
    # Share of the squared change of the feature, in [0, 1]: that the basis can make; by the full Jacobian, that the
    # feature's change there has in common with it, ``cos(J_1 v', u)^2``.
    captured: float
    chance: float  # the same share for a random change of the feature; for a basis, its rank over the feature's size


@explaining
def transport_direction(
    direction: Direction, basis: LocalBasis, *, full: bool = True, step: float | None = None
) -> Carried:
    """Carry a direction to the image of a local basis.

    Args:
        direction: of a local basis (`LocalBasis.direction`), or one that was carried already.
        basis: of the other image, at the same site, level and pooling.
        full: pull back by the full Jacobian where the basis is, ``J^T u``, for 21 evaluations; without, by the
            directions of the basis as in the paper, ``V U^T u``.
        step: length of the displacement of the latent at the level; None keeps that of the direction.

    Raises:
        ConfigError: a direction without a change of the feature, or of another model, site or level, or one that
            the basis cannot make at all.
        ShapeError: features of another shape, as of images of another size.

    Source:
        Park et al. 2023 (arXiv 2307.12868), parallel transport, which is not ``full``.
    """
    feature = feature_of(direction)
    direction.check_model(basis.latent.backbone.name, basis.latent.backbone.fingerprint)
    level = basis.level if abs(direction.level - basis.level) <= SAME_LEVEL else direction.level
    wanted = {"site": direction.settings["site"], "pooling": direction.settings.get("pooling", "none"), "level": level}
    for name, own in wanted.items():
        if own != (other := getattr(basis, name)):
            raise ConfigError(
                f"the basis has the {name} {other!r}, the direction {own!r}. Take the basis with {name}={own!r}"
            )
    jacobian = basis.jacobian if full else None
    shape = basis.u.shape[1:] if jacobian is None else jacobian.out_shape
    if feature.shape != shape:
        raise ShapeError(
            f"the basis has features of shape {list(shape)}, the direction of {list(feature.shape)}. Use "
            "an image of the size on which the direction was found"
        )
    if jacobian is None:
        result = transported(feature[None], basis.u, basis.singular_values, basis.v, inverse=False)
        chance = min(1.0, len(basis) / math.prod(shape))
    else:
        # The share that random changes keep on the same way back shows how much is chance.
        noise = torch.randn(_RANDOM, *shape, generator=stream(basis.seed, "transport by chance"))
        result = pulled_back(torch.cat([feature[None].to(basis.v), noise.to(basis.v)]), jacobian)
        chance = float(result.captured[1:].mean())
    captured = float(result.captured[0])
    length = float(direction.length[0]) * clean_share(direction.level) if step is None else step
    settings = {"from": direction.fingerprint, "captured": captured, "full": full}
    settings |= {"rank": None} if full else {}
    carried = basis.direction_along(
        result.v[0], result.u[0], settings, step=length, method="transport", notes=direction.notes
    )
    return Carried(direction=carried, captured=captured, chance=chance)


def feature_of(direction: Direction) -> Float[Tensor, "*feature"]:
    """The change of a feature by which a direction is carried; a `ConfigError` if it has none."""
    feature, site = direction.feature, direction.settings.get("site")
    if feature is None or not isinstance(site, str) or len(direction) != 1:
        raise ConfigError(
            f"a direction found by {direction.method!r} does not store its change of a feature, which transport needs. "
            "Find one with `latentedit discover`; a direction found from text needs no transport: edit with --direction"
        )
    return feature


def pulled_back(u: Float[Tensor, "k *feature"], jacobian: BlockOperator) -> Transported:
    """Carry changes of the feature to a point by its full Jacobian, for two products each; see the module.

    Its ``u`` are the changes that the displacements make there, ``J v``, and ``captured`` is their squared cosine with
    the original ones. Neither depends on any rank.
    """
    back = jacobian.rmatmat(u.to(jacobian.device, jacobian.dtype))
    length = torch.linalg.vector_norm(back.flatten(1), dim=1)
    if not bool((length > 0).all()):
        raise ConfigError(f"no displacement makes change number {int(length.argmin())} of the feature; leave it out")
    v = back / per_element(length, back)
    made = _unit(_rows(jacobian.matmat(v)))
    cosine = (made * _unit(_rows(u))).sum(1)
    return Transported(u=made.reshape(u.shape), v=v.detach().cpu().double(), captured=cosine.square().clamp_max(1))


def transported(
    u: Float[Tensor, "k *feature"] | TruncatedSVD,
    to_u: Float[Tensor, "r *feature"] | TruncatedSVD,
    singular_values: Float[Tensor, " r"] | None = None,
    to_v: Float[Tensor, "r *latent"] | None = None,
    *,
    inverse: bool = True,
    damping: float = 0.0,
) -> Transported:
    """Carry changes of the feature to a point with a local basis; see the module.

    Args:
        u: changes of the feature, of any length above 0; or the basis that has them.
        to_u: of the basis: orthonormal changes of the feature. Or the basis itself, instead of its three parts.
        singular_values: of the basis, at least 0; vectors whose value is 0 are left out, for their u is arbitrary.
        to_v: of the basis: orthonormal displacements of the latent, ``J to_v[i] = singular_values[i] * to_u[i]``.
        inverse: divide by the singular values, so that ``J v`` is parallel to the projection of u.
        damping: d of the damped inverse ``s / (s^2 + (d s_1)^2)`` (Tikhonov). No direction of the basis is then
            amplified more than ``1 / (2 d)`` times as much as the top one undamped; 0 is the plain inverse.

    Raises:
        ShapeError: features, or numbers of vectors, that do not fit.
        ConfigError: a damping below 0, or a u that is zero or orthogonal to the target's space.

    Source:
        Park et al. 2023 (arXiv 2307.12868), parallel transport; the damping is ours.
    """
    u = vectors_of(u)
    if isinstance(to_u, TruncatedSVD):
        to_u, singular_values, to_v = to_u.u, to_u.singular_values, to_u.v
    if singular_values is None or to_v is None:
        raise ConfigError("`transported` needs a whole basis. Give transported(u, basis)")
    if u.shape[1:] != to_u.shape[1:] or not len(to_u) == len(singular_values) == len(to_v):
        raise ShapeError(
            f"the basis does not fit features of shape {list(u.shape[1:])}; "
            f"got u {list(to_u.shape)}, {len(singular_values)} singular values, {len(to_v)} v"
        )
    check_value(Annotated[float, Field(ge=0)], damping=damping)
    values = singular_values.detach().cpu().double()
    kept = values > _ZERO * values.max()
    values, rows = values[kept], _rows(to_u)[kept]
    parts = _unit(_rows(u)) @ rows.T
    captured = parts.square().sum(1)
    # Not `<`: the shares of a change of length 0 are nan. Without any singular value above 0 they are 0.
    if not float(captured.min()) >= _NOTHING**2:
        raise ConfigError(
            f"the target's basis captures nothing of change number {int(captured.argmin())} of the feature. "
            "Leave it out, or use a basis of higher rank"
        )
    weights = values / (values.square() + (damping * values[0]) ** 2) if inverse else torch.ones_like(values)
    return Transported(
        u=_unit(parts @ rows).reshape(u.shape),
        v=_unit((weights * parts) @ _rows(to_v)[kept]).reshape(len(u), *to_v.shape[1:]),
        captured=captured.clamp_max(1),
    )


def _rows(vectors: Tensor) -> Float[Tensor, "k n"]:
    return vectors.detach().cpu().double().flatten(1)


def _unit(rows: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)

"""Jacobian-vector products of a velocity: forward mode where the network can, finite differences where not."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.backbones.attention import differentiable_attention
from latentedit.backbones.base import Backbone
from latentedit.errors import ConfigError, ShapeError, UnsupportedDerivativeError
from latentedit.types import Condition

JvpMode = Literal["forward", "finite_difference"]
"""How a Jacobian-vector product is computed."""

_RMS_STEP = {torch.float64: 1e-5}
_RMS_STEP_OTHERWISE = 2.2e-4


def velocity_jvp(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    s: Float[Tensor, " b"],
    condition: Condition,
    tangent: Float[Tensor, "b *latent"],
    *,
    mode: JvpMode | None = None,
    step: float | None = None,
) -> tuple[Float[Tensor, "b *latent"], Float[Tensor, "b *latent"]]:
    """The velocity and its derivative along a tangent, ``(v, J_v u)`` with ``J_v = dv/dz``.

    Forward mode differentiates the network under the math attention kernel (fused kernels have no forward mode).
    Finite differences take ``|u| (v(z + h u/|u|) - v(z - h u/|u|)) / (2 h)`` with each element's own norm, and ask for
    the three velocities in one batched call. J_v is not assumed to be symmetric.

    Args:
        backbone: the model.
        z: canonical latents.
        s: one level an element.
        condition: one text a latent, or a single one for all.
        tangent: u, of the shape of z; its length matters, and zero gives zero.
        mode: None takes forward mode where `Capabilities.derivatives` has "jvp", and finite differences otherwise.
        step: h, the norm of the perturbation of one element. By default 2.2e-4 a number (root mean square; 1e-2 in
            2048 dimensions, where float32 networks have a relative error of 1e-4), and 1e-5 a number in float64.
            Networks that run in half precision need a larger one.

    Returns:
        v and J_v u.

    Raises:
        ShapeError: a tangent of another shape than z.
        ConfigError: an unknown mode, or a step that is not a positive number.
        UnsupportedDerivativeError: forward mode was asked for and the network cannot give it.

    Cost:
        Three evaluations an element: one for v and two for the derivative, in either mode. A forward-mode pass costs
        about as much as two more evaluations and is counted as such.
    """
    chosen, norm = _choose(backbone, z, tangent, mode, step)
    if chosen == "forward":
        v, product = _forward(backbone, z, s, condition, tangent.to(z.dtype))
        backbone.evaluations += 2 * len(z)
        return v, product
    shift, length = _shift(z, tangent, norm)
    v, ahead, behind = _velocities(backbone, (z, z + shift, z - shift), s, condition)
    return v.to(z.dtype), (length * (ahead - behind) / (2 * norm)).to(z.dtype)


def velocity_product(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    s: Float[Tensor, " b"],
    condition: Condition,
    tangent: Float[Tensor, "b *latent"],
    *,
    mode: JvpMode | None = None,
    step: float | None = None,
) -> Float[Tensor, "b *latent"]:
    """``J_v u`` alone, for callers that have the velocity already; otherwise as `velocity_jvp`.

    Cost:
        Two evaluations an element, in either mode.
    """
    chosen, norm = _choose(backbone, z, tangent, mode, step)
    if chosen == "forward":
        _, product = _forward(backbone, z, s, condition, tangent.to(z.dtype))
        backbone.evaluations += len(z)
        return product
    shift, length = _shift(z, tangent, norm)
    ahead, behind = _velocities(backbone, (z + shift, z - shift), s, condition)
    return (length * (ahead - behind) / (2 * norm)).to(z.dtype)


def _choose(
    backbone: Backbone, z: Tensor, tangent: Tensor, mode: str | None, step: float | None
) -> tuple[JvpMode, float]:
    """The mode and the norm of the perturbation, after all checks."""
    if tangent.shape != z.shape:
        raise ShapeError(f"expected a tangent of the shape of z, {list(z.shape)}; got {list(tangent.shape)}")
    able = "jvp" in backbone.capabilities.derivatives
    chosen = mode or ("forward" if able else "finite_difference")
    if chosen not in ("forward", "finite_difference"):
        raise ConfigError(f"expected mode 'forward', 'finite_difference' or None; got {mode!r}")
    if chosen == "forward" and not able:
        raise UnsupportedDerivativeError(
            f"expected a model with forward-mode derivatives; {backbone.name} has none. Use mode='finite_difference'"
        )
    norm = step if step is not None else _RMS_STEP.get(z.dtype, _RMS_STEP_OTHERWISE) * math.sqrt(z[0].numel())
    if not (math.isfinite(norm) and norm > 0):
        raise ConfigError(f"expected a positive step; got {step}")
    return chosen, norm


def _forward(backbone: Backbone, z: Tensor, s: Tensor, condition: Condition, tangent: Tensor) -> tuple[Tensor, Tensor]:
    def field(latent: Tensor) -> Tensor:
        return backbone.velocity(latent, s, condition)

    try:
        with differentiable_attention():
            result = torch.func.jvp(field, (z.contiguous(),), (tangent.contiguous(),))
    except NotImplementedError as error:
        raise UnsupportedDerivativeError(
            f"expected forward-mode derivatives of {backbone.name}; an operation of the network has none ({error}). "
            "Use mode='finite_difference'"
        ) from error
    return result[0], result[1]


def _shift(z: Tensor, tangent: Tensor, norm: float) -> tuple[Tensor, Tensor]:
    """The tangent scaled to a norm, element by element, and the length that it had."""
    wide = torch.promote_types(z.dtype, torch.float32)
    length = torch.linalg.vector_norm(tangent.to(wide).flatten(1), dim=1).reshape(-1, *(1 for _ in z.shape[1:]))
    return (norm * tangent.to(wide) / length.clamp_min(torch.finfo(wide).tiny)).to(z.dtype), length


def _velocities(backbone: Backbone, points: Sequence[Tensor], s: Tensor, condition: Condition) -> tuple[Tensor, ...]:
    """The velocity at several points in one batched call, in at least float32."""
    texts = condition.expand(len(s)).repeat(len(points))
    v = backbone.velocity(torch.cat(tuple(points)), s.repeat(len(points)), texts)
    return v.to(torch.promote_types(v.dtype, torch.float32)).chunk(len(points))

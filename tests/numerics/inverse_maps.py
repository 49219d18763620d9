"""Inverses of the maps in `latentedit.numerics.flow`."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.numerics.flow import Prediction, clean_estimate, noise_estimate, per_element


def level_from_alpha_sigma(alpha: Float[Tensor, "*n"], sigma: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The level ``s = sigma / (alpha + sigma)`` of nonnegative signal and noise scales."""
    return (_upcast(sigma) / (_upcast(alpha) + _upcast(sigma))).to(sigma.dtype)


def canonical_from_model(
    x_t: Float[Tensor, "b *latent"], alpha: Float[Tensor, " b"], sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b *latent"]:
    """Canonical latents ``z = x_t / (alpha + sigma)`` of latents in model coordinates."""
    return (_upcast(x_t) / per_element(_upcast(alpha) + _upcast(sigma), x_t)).to(x_t.dtype)


def prediction_from_velocity(
    kind: Prediction,
    v: Float[Tensor, "b *latent"],
    z: Float[Tensor, "b *latent"],
    alpha: Float[Tensor, " b"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b *latent"]:
    """The network output of this kind that corresponds to velocity v at canonical latents z."""
    s = level_from_alpha_sigma(_upcast(alpha), _upcast(sigma))
    x_hat, e_hat = clean_estimate(_upcast(z), s, _upcast(v)), noise_estimate(_upcast(z), s, _upcast(v))
    if kind == "epsilon":
        output = e_hat
    elif kind == "score":
        output = -e_hat / per_element(_upcast(sigma), z)
    elif kind == "v_prediction":
        output = per_element(_upcast(alpha), z) * e_hat - per_element(_upcast(sigma), z) * x_hat
    elif kind == "sample":
        output = x_hat
    else:
        output = _upcast(v)
    return output.to(z.dtype)


def _upcast(value: Tensor) -> Tensor:
    """The tensor in float32, or in its own dtype if that is wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))

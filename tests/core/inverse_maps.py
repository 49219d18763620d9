"""Inverses of the maps of `latentedit.core.flow`, for the tests of them and of models in other coordinates."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.flow import Prediction, clean_estimate, noise_estimate, per_element


def level_from_alpha_sigma(alpha: Float[Tensor, "*n"], sigma: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The level ``s = sigma / (alpha + sigma)`` of a signal scale and a noise scale, neither negative."""
    return (_wide(sigma) / (_wide(alpha) + _wide(sigma))).to(sigma.dtype)


def canonical_from_model(
    x_t: Float[Tensor, "b *latent"], alpha: Float[Tensor, " b"], sigma: Float[Tensor, " b"]
) -> Float[Tensor, "b *latent"]:
    """Canonical latents ``z = x_t / (alpha + sigma)`` of a model's own."""
    return (_wide(x_t) / per_element(_wide(alpha) + _wide(sigma), x_t)).to(x_t.dtype)


def prediction_from_velocity(
    kind: Prediction,
    v: Float[Tensor, "b *latent"],
    z: Float[Tensor, "b *latent"],
    alpha: Float[Tensor, " b"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b *latent"]:
    """What a network of this kind would have to predict for the velocity v at the canonical latents z."""
    s = level_from_alpha_sigma(_wide(alpha), _wide(sigma))
    x_hat, e_hat = clean_estimate(_wide(z), s, _wide(v)), noise_estimate(_wide(z), s, _wide(v))
    if kind == "epsilon":
        output = e_hat
    elif kind == "v_prediction":
        output = per_element(_wide(alpha), z) * e_hat - per_element(_wide(sigma), z) * x_hat
    elif kind == "sample":
        output = x_hat
    else:
        output = _wide(v)
    return output.to(z.dtype)


def _wide(value: Tensor) -> Tensor:
    """The tensor in float32, or in its own dtype where that is wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))

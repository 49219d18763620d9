"""The stochastic step of DDIM in flow coordinates: part of the noise estimate is replaced by fresh noise."""

import math

from jaxtyping import Float
from torch import Tensor


def fresh_share(s: float, s_next: float) -> float:
    """The standard deviation of the fresh noise in ``z(s_next)`` of an ancestral step (eta 1) down from s.

    ``tau = s' sqrt(1 - (r' / r)^2)`` with ``r = s / (1 - s)``, the ratio of noise to signal. With ``alpha`` and
    ``sigma`` of a variance-preserving model it is ``sigma' / sigma sqrt(1 - alpha^2 / alpha'^2)``, DDIM's own, over
    ``alpha' + sigma'``.

    Args:
        s: the level before, in (0, 1].
        s_next: the level after, in [0, s).
    """
    ratio = s_next * (1 - s) / ((1 - s_next) * s)
    return s_next * math.sqrt(max(0.0, 1 - ratio**2))


def stochastic_step(
    z: Float[Tensor, "b *latent"],
    v: Float[Tensor, "b *latent"],
    s: float,
    s_next: float,
    *,
    eta: float,
    noise: Float[Tensor, "#b *latent"],
) -> Float[Tensor, "b *latent"]:
    """``z' = (1 - s') x_hat + sqrt(s'^2 - eta^2 tau^2) e_hat + eta tau n``, tau from `fresh_share`.

    With eta 0 it is the Euler step, bit for bit. For any eta, the marginal of z' is that of the level where the
    estimates are exact.

    Args:
        z: latents at s.
        v: their velocity.
        s: the level before.
        s_next: the level after, lower.
        eta: 0 (deterministic) to 1 (ancestral).
        noise: n, standard normal, of one latent for all or one a latent.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eq. 12 and 16, rewritten here.
    """
    fresh = eta * fresh_share(s, s_next)
    kept = math.sqrt(max(0.0, s_next**2 - fresh**2)) if fresh else s_next
    plain = z + (s_next - s) * v
    return plain + (kept - s_next) * (z + (1 - s) * v) + fresh * noise

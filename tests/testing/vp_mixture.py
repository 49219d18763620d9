"""The same mixture as a variance-preserving network would model it: the test of the maps between coordinates."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import (
    LevelGrid,
    Prediction,
    alpha_sigma_from_level,
    model_from_canonical,
    velocity_from_prediction,
)
from latentedit.numerics.schedule import DiscreteSchedule, schedule_from_betas
from tests.testing.gaussian_mixture import GaussianMixtureBackbone


@final
class VariancePreservingMixture(GaussianMixtureBackbone):
    """A network in coordinates (x_t, t), wrapped as a velocity field like a real epsilon- or v-predicting model.

    The network (`predict`) shares no code with the flow form: it works with ``alpha^2 Sigma + sigma^2 I`` directly.

    Args:
        flow: the data and the vocabulary.
        schedule: times and levels.
        prediction: what the network predicts.
        latent: shape of one latent; None is ``(d,)``.
    """

    def __init__(
        self,
        flow: GaussianMixtureBackbone,
        *,
        schedule: DiscreteSchedule,
        prediction: Prediction,
        latent: tuple[int, ...] | None = None,
    ) -> None:
        mixture, weights = flow.mixture, flow.weights
        super().__init__(
            means=mixture.means,
            covariances=mixture.covariances,
            words=weights.words,
            prior=weights.prior,
            latent=latent,
        )
        self.name = f"vp-mixture-{prediction}"
        self.capabilities = Capabilities(
            s_min=schedule.s_min,
            s_max=schedule.s_max,
            start_std=schedule.start_std,
            pixels=False,
            predicts_noise=prediction == "epsilon",
        )
        self.schedule = schedule
        self.prediction: Prediction = prediction

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """Uniform in the network's time, from ``s_max`` to ``s_min``."""
        del height_px, width_px
        return self.schedule.grid(steps)

    def predict(
        self, x_t: Float[Tensor, "b d"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b d"]:
        """The network: what it was trained to predict, at its own latents and times."""
        alpha, sigma = alpha_sigma_from_level(self.schedule.level(time))
        a, b = alpha[:, None, None], sigma[:, None, None]
        eye = torch.eye(x_t.shape[1], dtype=x_t.dtype, device=x_t.device)
        total = a[..., None] ** 2 * self.mixture.covariances + b[..., None] ** 2 * eye
        shift = x_t[:, None] - a * self.mixture.means
        solved = torch.linalg.solve(total, shift[..., None])[..., 0]
        quadratic = (shift * solved).sum(-1) + torch.linalg.slogdet(total).logabsdet
        r = torch.softmax(self.weights.log_weights(condition) - quadratic / 2, dim=1)[..., None]
        epsilon = (r * b * solved).sum(1)
        x = (r * (self.mixture.means + a * torch.einsum("kij,bkj->bki", self.mixture.covariances, solved))).sum(1)
        v = alpha[:, None] * epsilon - sigma[:, None] * x
        return {"epsilon": epsilon, "sample": x, "v_prediction": v, "flow": epsilon - x}[self.prediction]

    def _flat_velocity(self, z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = alpha_sigma_from_level(s)
        x_t = model_from_canonical(z, alpha, sigma)
        output = self.predict(x_t, self.schedule.time(s), condition)
        return velocity_from_prediction(self.prediction, output, x_t, alpha, sigma)


def linear_schedule(times: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> DiscreteSchedule:
    """Betas linear in time (Ho et al. 2020): s in [0.0099, 0.9937]."""
    return schedule_from_betas(torch.linspace(first, last, times, dtype=torch.float64))

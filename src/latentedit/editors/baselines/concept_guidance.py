"""Semantic guidance: what a concept adds to the noise estimate, kept where it is strongest, with momentum.

``psi`` is the concept's term, a scale times the difference of two noise estimates. Masks are quantiles of its size and
do not change with its scale or sign. Latents without further axes, ``[b, d]``, count as one channel of d places.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.settings import Natural, Share, Weight, settings

Reference = Literal["null", "source"]
"""The text from which a concept is measured: the empty one, or the picture's own."""


def strongest_per_channel(psi: Float[Tensor, "b *latent"], threshold: float) -> Float[Tensor, "b *latent"]:
    """``psi 1[|psi| >= q]``, q the quantile of ``|psi|`` over the places of each channel of each element.

    Args:
        psi: channels on the second axis.
        threshold: which quantile, in [0, 1]; 0 keeps everything, 0.9 a tenth of the places.

    Source:
        Brack et al. 2023, SEGA (arXiv 2301.12247), with the quantile as its public code takes it.
    """
    size = _channels(psi).abs()
    return psi * _at_least_quantile(size, threshold).reshape(psi.shape)


def strongest_places(psi: Float[Tensor, "b *latent"], threshold: float) -> Float[Tensor, "b *latent"]:
    """``psi 1[p >= q]``, p the sum of ``|psi|`` over the channels and q its quantile over the places of each element.

    Args:
        psi: channels on the second axis; all share the mask.
        threshold: which quantile, in [0, 1].

    Source:
        Brack et al. 2024, LEDITS++ (arXiv 2311.16711), the mask M2, as its public code has it.
    """
    places = _channels(psi)
    mask = _at_least_quantile(places.abs().sum(1, keepdim=True), threshold)
    return psi * mask.expand_as(places).reshape(psi.shape)


def _channels(psi: Tensor) -> Tensor:
    return psi.flatten(2) if psi.ndim > 2 else psi[:, None]


def _at_least_quantile(size: Float[Tensor, "b c n"], threshold: float) -> Tensor:
    return (size >= torch.quantile(size, threshold, dim=2, keepdim=True)).to(size.dtype)


@settings
class SemanticGuidance:
    """One concept's guidance, step by step: ``G = mask(psi) + momentum nu``, ``nu <- decay nu + (1 - decay) G``.

    Momentum is gathered from the first step on. G is handed out from step ``warm_up`` on; from step ``cool_down`` on
    psi counts as zero, so that only the momentum that is left fades out.

    Args:
        threshold: quantile below which psi is dropped, channel by channel.
        warm_up: steps before the guidance is handed out, 0 or more.
        cool_down: the step that ends it; None is never.
        momentum: share of nu that is added, 0 or more.
        decay: what is left of nu after a step, in [0, 1].

    Source:
        Brack et al. 2023, arXiv 2301.12247; the order of the operations is that of the public code.
    """

    threshold: Share = 0.9
    warm_up: Natural = 0
    cool_down: int | None = None
    momentum: Weight = 0.1
    decay: Share = 0.4

    def __post_init__(self) -> None:
        if self.cool_down is not None and self.cool_down < self.warm_up:
            raise ConfigError(f"cool_down must not come before warm_up ({self.warm_up}); got {self.cool_down}")

    def step(
        self, index: int, psi: Float[Tensor, "b *latent"], carried: Float[Tensor, "b *latent"]
    ) -> tuple[Float[Tensor, "b *latent"], Float[Tensor, "b *latent"]]:
        """What is added to the noise estimate in a step, and the momentum to hand to the next.

        Args:
            index: of the step, from 0 at the noisy end.
            psi: the concept's term, in noise estimates.
            carried: nu; zeros at the first step.
        """
        cooled = self.cool_down is not None and index >= self.cool_down
        now = torch.zeros_like(psi) if cooled else strongest_per_channel(psi, self.threshold)
        guidance = now + self.momentum * carried
        carried = self.decay * carried + (1 - self.decay) * guidance
        return (guidance if index >= self.warm_up else torch.zeros_like(psi)), carried

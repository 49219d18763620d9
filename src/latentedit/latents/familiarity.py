"""How familiar an image is to a model: a state, a number and the nearest reason; and the denoising losses behind it."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import Seed, noise_like
from latentedit.core.solvers import level_batch
from latentedit.models.base import Backbone

# Like the model's own samples; unlike them, but nearer to them than to severely corrupted ones; neither.
State = Literal["known", "doubtful", "unknown"]

# Why an image is unfamiliar: the framer finds no subject, ..., "size" for few pixels or blur; "" for a known image.
Reason = Literal["", "subject", "style", "framing", "size", "colours", "caption"]

_REASONS: dict[str, str] = {
    "subject": "no subject of the kind that the model was trained on",
    "style": "nearest reason: style",
    "framing": "nearest reason: framing",
    "size": "nearest reason: size or sharpness",
    "colours": "nearest reason: colours",
    "caption": "nearest reason: the caption does not fit it",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """How familiar an image is to a model under its caption; see `guard.guard`.

    Args:
        state: "known", "doubtful" or "unknown".
        number: denoising loss of the image at level 0.5, relative to the median loss of the model's own samples.
        reason: the nearest one.
        caption_fits: the model denoises the image at least as well with its caption as without any.
        caption_read: the caption is what the model's own captioner says.
        evaluations: network evaluations that the check took.
    """

    state: State
    number: float
    reason: Reason
    caption_fits: bool
    caption_read: bool
    evaluations: int

    @property
    def text(self) -> str:
        """State, number and reason in one clause."""
        return f"{self.state}: {self.details}"

    @property
    def details(self) -> str:
        """Number and reason."""
        reason = f"; {_REASONS[self.reason]}" if self.reason else ""
        return f"denoising loss {self.number:.1f}x that of the model's own samples{reason}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the user should know before an edit; empty for a known image under a caption that fits."""
        doubts: list[str] = []
        if self.state != "known":
            doubts.append(f"this picture is {self.state} to the model: {self.details}")
            if self.caption_read:
                doubts.append("the captioner was not trained on such images")
        if not self.caption_fits:
            doubts.append("the caption does not fit the picture: the model denoises it better without any")
        return tuple(doubts)


def denoising_losses(
    backbone: Backbone,
    z: Float[Tensor, "b *latent"],
    texts: Sequence[Condition],
    *,
    level: float,
    pairs: int,
    seed: Seed,
    purpose: str,
) -> Float[Tensor, "texts b"]:
    """``loss(z, c) = mean |x_hat(z_s, c) - z|^2`` of clean latents under each text, small where z is likely under c.

    All texts have the same noises, in antithetic pairs; it costs ``2 pairs`` evaluations per latent and text.
    """
    noise = noise_like(z, seed=seed, purpose=purpose, count=pairs)
    noise = torch.cat([noise, -noise])
    noised = ((1 - level) * z + level * noise).flatten(0, 1)
    losses: list[Tensor] = []
    for text in texts:
        v = backbone.velocity(noised, level_batch(level, noised), text.expand(len(z)).repeat(len(noise)))
        error = noised - level * v - z.repeat(len(noise), *[1] * (z.ndim - 1))
        losses.append(error.flatten(1).square().mean(1).unflatten(0, (len(noise), len(z))).mean(0))
    return torch.stack(losses)

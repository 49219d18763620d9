"""Unconditional diffusion models on pixels (DDPM, DDIM) as a velocity field: the ``google/ddpm-*`` class.

Conventions of the family, confined to this module and `vp` (times, levels, sampler):

- Latent: the picture itself in [-1, 1]; encoding and decoding change nothing.
- Text: none. Every text is one token of zeros, and `DDPMBackbone.caption_notes` says so.
- Clipping: the stock configurations clip x_hat to [-1, 1] in every step (``clip_sample``). That is no flow: it cannot
  be inverted, and its derivative is zero where it acts. It is not done here, so samples are those of the stock pipeline
  with ``clip_sample`` false.
- Learnt variances (twice the channels out): the first half, the mean, is taken.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.unet import UNetBackbone

_COLOURS = 3


class DDPMBackbone(UNetBackbone):
    """A ``UNet2DModel`` on pixels."""

    parts: ClassVar[tuple[str, ...]] = ("unet",)

    def _check_parts(self) -> None:
        taken, given = self._network.config.in_channels, self._network.config.out_channels
        if taken != _COLOURS or given not in (_COLOURS, 2 * _COLOURS):
            raise ModelError(
                f"the U-Net has {taken} channels in and {given} out, and not 3 colours in and 3 out (6 with variances)"
            )

    def embed(self, texts: Sequence[str]) -> Condition:
        """One token of width 1, zero, for each text: the model reads none."""
        if not texts:
            raise ConfigError(
                "there is no text to embed. Give at least one text; the empty one, '', is the unconditional one"
            )
        count = len(texts)
        zeros = torch.zeros(count, 1, 1, device=self.device, dtype=self.dtype)
        return Condition(tokens=zeros, pooled=zeros.new_zeros(count, 0))

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """That captions are not read, where there are any."""
        return ["the caption was not read: this model takes no text"] if any(text.strip() for text in texts) else []

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The pixels themselves."""
        self._check_pixels(pixels)
        return pixels.to(self.dtype)

    def decode(self, z: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The latents themselves."""
        self._check_latents(z)
        self._check_device(z)
        return z.to(self.dtype)

    def _predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        del condition
        return self._network(x_t.to(self.network_dtype), time, return_dict=False)[0][:, :_COLOURS]

"""Stable Diffusion 1 and 2 as a velocity field, and every smaller model of the same classes.

Conventions of the family, confined to this module, `vp` (times, levels, sampler) and `sd_text`:

- Latent: ``x = mode of the VAE's posterior * scaling_factor``. The stock pipeline knows no shift: a ``shift_factor`` in
  the VAE's configuration is not read, here as there.
- Guidance: weight w is ``e(n) + w (e(c) - e(n))`` with n the empty text; on velocities it is the same.
- Sampler: DDIM, whatever scheduler the folder names; the stock pipeline takes ``steps_offset`` for 1 in every folder.

The network and the text encoder run in the dtype that is asked for; coordinates, guidance and the VAE in float32.
Parameters are frozen and nothing is computed under ``no_grad``: latents can be differentiated through.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ShapeError
from latentedit.models.loading import ModelFolder
from latentedit.models.placement import existing_device, known_dtype, placed
from latentedit.models.sd_parts import SDParts, load_sd_parts
from latentedit.models.sd_text import SDText
from latentedit.models.text_part import word_pieces
from latentedit.models.unet import UNetBackbone
from latentedit.models.vp import VPSchedule
from latentedit.models.weights import fingerprint

PUBLISHED_GUIDANCE = 7.5
"""The default weight of the stock pipeline, which the model cards use."""


class StableDiffusionBackbone(UNetBackbone):
    """SD 1.x, SD 2.x and their miniatures: a U-Net that predicts noise, v or x, with one CLIP for the text.

    Args:
        parts: the networks; they are moved to the device and frozen.
        name: for messages and records.
        fingerprint: of the weights.
        settings: content of the folder's ``latentedit.json``. Read here: "guidance" (default weight), "sizes"
            (smallest, preferred and largest side in pixels), "vocabulary" (words seen in training).
        device: None is CUDA where there is one, else the CPU.
        dtype: of the U-Net and the text encoder; None is float32.

    Raises:
        ConfigError: a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts that do not fit together.
    """

    def __init__(
        self,
        parts: SDParts,
        *,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        known: Mapping[str, Any] = dict(settings or {})
        vocabulary = known.get("vocabulary")
        self._text = SDText(
            part=parts.text,
            width=parts.width,
            vocabulary=None if vocabulary is None else word_pieces(vocabulary),
        )
        super().__init__(
            unet=parts.unet,
            schedule=VPSchedule.from_config(parts.scheduler, steps_offset=1),
            scale=2 ** (len(parts.vae.config.block_out_channels) - 1),
            guidance=PUBLISHED_GUIDANCE,
            name=name,
            fingerprint=fingerprint,
            settings=known,
            device=device,
            dtype=dtype,
        )
        self._vae = placed(parts.vae, self.device, self.dtype)
        self._vae.enable_slicing()  # one at a time: memory and rounding do not depend on the batch
        placed(parts.text.encoder, self.device, self.network_dtype)

    @classmethod
    def from_folder(
        cls,
        folder: ModelFolder,
        *,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "StableDiffusionBackbone":
        """Load the parts of a checked folder.

        Raises:
            ModelError: weights that do not match their configuration, and what the class itself raises.
        """
        chosen = existing_device(device)
        parts = load_sd_parts(folder, known_dtype(dtype))
        marks = fingerprint(folder.weights)
        return cls(parts, name=name, fingerprint=marks, settings=folder.settings, device=chosen, dtype=dtype)

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them; see `sd_text`."""
        return self._text.embed(texts)

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        return self._text.notes(texts)

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """``mode * scaling_factor`` of the VAE's posterior.

        Raises:
            ShapeError: not [b, 3, h, w], or sides that do not fit the network.
            DeviceError: on another device.
        """
        self._check_pixels(pixels)
        mode: Tensor = self._vae.encode(pixels.to(self.dtype)).latent_dist.mode()
        return mode * self._vae.config.scaling_factor

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The VAE's picture of ``z / scaling_factor``."""
        self._check_latents(z)
        self._check_device(z)
        return self._vae.decode(z.to(self.dtype) / self._vae.config.scaling_factor, return_dict=False)[0]

    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        widths = (condition.tokens.shape[-1], condition.pooled.shape[-1])
        if widths != (self._text.width, 0):
            raise ShapeError(
                f"expected a condition of widths {self._text.width} (tokens) and 0 (pooled); "
                f"got {widths[0]} and {widths[1]}"
            )
        dtype = self.network_dtype
        return self._unet(x_t.to(dtype), time, condition.tokens.to(dtype), return_dict=False)[0]

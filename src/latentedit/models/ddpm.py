"""Unconditional diffusion models on pixels (DDPM, DDIM) as a velocity field: the ``google/ddpm-*`` class.

Conventions of the family, confined to this module and `vp` (times, levels, sampler):

- Latent: the picture itself in [-1, 1]; encoding and decoding change nothing.
- Text: none. Every text is one token of zeros, and `DDPMBackbone.caption_notes` says so.
- Clipping: the stock configurations clip x_hat to [-1, 1] in every step (``clip_sample``). That is no flow: it cannot
  be inverted, and its derivative is zero where it acts. It is not done here, so samples are those of the stock pipeline
  with ``clip_sample`` false.
- Learnt variances (twice the channels out): the first half, the mean, is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DModel
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.loading import ModelFolder, load_network
from latentedit.models.placement import existing_device, known_dtype
from latentedit.models.unet import UNetBackbone, check_plain
from latentedit.models.vp import VPSchedule
from latentedit.models.weights import fingerprint, read_json

_COLOURS = 3


class DDPMBackbone(UNetBackbone):
    """A ``UNet2DModel`` on pixels.

    Args:
        unet: moved to the device and frozen.
        scheduler: content of ``scheduler_config.json``, of any class that runs on trained betas.
        name: for messages and records.
        fingerprint: of the weights.
        settings: content of the folder's ``latentedit.json``. Read here: "sizes" (smallest, preferred and largest side
            in pixels).
        device: None is CUDA where there is one, else the CPU.
        dtype: of the U-Net; None is float32.

    Raises:
        ConfigError: a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: a U-Net that does not map colours to colours, or wants more than pixels and a time.
    """

    def __init__(
        self,
        unet: Any,
        scheduler: Mapping[str, Any],
        *,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_plain(unet)
        config = unet.config
        if config.in_channels != _COLOURS or config.out_channels not in (_COLOURS, 2 * _COLOURS):
            raise ModelError(
                f"expected a U-Net on pictures in colour, 3 channels in and 3 out (6 with variances); got "
                f"{config.in_channels} in and {config.out_channels} out"
            )
        super().__init__(
            unet=unet,
            schedule=VPSchedule.from_config(scheduler),
            scale=1,
            guidance=1.0,
            name=name,
            fingerprint=fingerprint,
            settings=settings or {},
            device=device,
            dtype=dtype,
        )

    @classmethod
    def from_folder(
        cls,
        folder: ModelFolder,
        *,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "DDPMBackbone":
        """Load the parts of a checked folder.

        Raises:
            ModelError: weights that do not match their configuration, and what the class itself raises.
        """
        chosen = existing_device(device)
        return cls(
            load_network(UNet2DModel, folder, "unet", known_dtype(dtype)),
            read_json(folder.place("scheduler") / "scheduler_config.json"),
            name=name,
            fingerprint=fingerprint(folder.weights),
            settings=folder.settings,
            device=chosen,
            dtype=dtype,
        )

    def embed(self, texts: Sequence[str]) -> Condition:
        """One token of width 1, zero, for each text: the model reads none.

        Raises:
            ConfigError: no text at all.
        """
        if not texts:
            raise ConfigError("expected at least one text; got none. The empty text '' is the unconditional one")
        count = len(texts)
        zeros = torch.zeros(count, 1, 1, device=self.device, dtype=self.dtype)
        return Condition(tokens=zeros, pooled=zeros.new_zeros(count, 0))

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """That captions are not read, where there are any."""
        return ["the caption was not read: this model takes no text"] if any(text.strip() for text in texts) else []

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The pixels themselves.

        Raises:
            ShapeError: not [b, 3, h, w], or sides that do not fit the network.
            DeviceError: on another device.
        """
        self._check_pixels(pixels)
        return pixels.to(self.dtype)

    def decode(self, z: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The latents themselves."""
        self._check_latents(z)
        self._check_device(z)
        return z.to(self.dtype)

    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        del condition
        return self._unet(x_t.to(self.network_dtype), time, return_dict=False)[0][:, :_COLOURS]

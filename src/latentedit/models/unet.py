"""What adapters of U-Nets share: sizes, feature sites, and the velocity of a variance-preserving network."""

import abc
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError, ShapeError
from latentedit.core.levels import LevelGrid
from latentedit.models.base import Capabilities
from latentedit.models.network import NetworkBackbone
from latentedit.models.placement import placed
from latentedit.models.sites import Site
from latentedit.models.vp import VPSchedule


class UNetBackbone(NetworkBackbone):
    """A U-Net of diffusers with a `VPSchedule`. Adapters add text, the picture codec and the call of the network.

    Args:
        unet: moved to the device and frozen.
        schedule: its trained times.
        scale: pixels a side of one latent.
        guidance: weight that its makers publish.
        name: for messages and records.
        fingerprint: of the weights.
        settings: content of the folder's ``latentedit.json``. Read here: "guidance" and "sizes" (smallest, preferred
            and largest side in pixels).
        device: None is CUDA where there is one, else the CPU.
        dtype: of the network; None is float32.

    Raises:
        ConfigError: a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: settings that do not fit the U-Net.
    """

    def __init__(
        self,
        *,
        unet: Any,
        schedule: VPSchedule,
        scale: int,
        guidance: float,
        name: str,
        fingerprint: str,
        settings: Mapping[str, Any],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        self._settle(settings, device, dtype)
        self.schedule = schedule
        self._unet = placed(unet, self._device, self._network_dtype)
        self._scale = scale
        self._stride = 2 ** (len(unet.down_blocks) - 1)
        capabilities = Capabilities(
            s_min=schedule.s_min,
            s_max=schedule.s_max,
            start_std=schedule.start_std,
            guidance=float(self.defaults.get("guidance", guidance)),
            size_multiple=self._multiple,
            sizes=self._sizes(),
        )
        super().__init__(name=name, fingerprint=fingerprint, capabilities=capabilities)

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / scale, width / scale)``.

        Raises:
            ShapeError: sides that the U-Net cannot halve as often as it does, all of them without remainder.
        """
        multiple = self._multiple
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"expected picture sides in multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock DDIM sampler, then 0; see `latentedit.models.vp`."""
        del height_px, width_px
        return self.schedule.grid(steps)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        self._check_device(condition.tokens)
        return self.schedule.velocity(lambda x_t, time: self._predict(x_t, time, condition), z, s)

    @abc.abstractmethod
    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        """The network's output at latents in its own coordinates."""

    def _sites(self) -> Mapping[str, Site]:
        """The blocks: "down.0", ..., "mid" (the h-space), "up.0", ...

        A down block also gives what the skip connections carry; its feature is what goes on downwards.
        """
        down = {f"down.{index}": Site(module=block, item=0) for index, block in enumerate(self._unet.down_blocks)}
        mid = {} if self._unet.mid_block is None else {"mid": Site(module=self._unet.mid_block)}
        return {
            **down,
            **mid,
            **{f"up.{index}": Site(module=block) for index, block in enumerate(self._unet.up_blocks)},
        }

    @property
    def _channels(self) -> int:
        return int(self._unet.config.in_channels)

    @property
    def _multiple(self) -> int:
        return self._scale * self._stride

    def _sizes(self) -> tuple[int, int, int]:
        """A quarter of the trained size to one and a half times it, unless the folder says otherwise."""
        side, multiple = self._unet.config.sample_size, self._multiple
        trained = 0 if side is None else int(side if isinstance(side, int) else max(side)) * self._scale
        preferred = max(multiple, trained // multiple * multiple)
        smallest = max(multiple, preferred // 4 // multiple * multiple)
        largest = max(preferred, preferred * 3 // 2 // multiple * multiple)
        sizes = [int(side) for side in self.defaults.get("sizes", (smallest, preferred, largest))]
        if len(sizes) != 3 or sizes != sorted(sizes) or sizes[0] < multiple:
            raise ModelError(f"expected three rising sides of at least {multiple} px as 'sizes'; got {sizes}")
        return (sizes[0], sizes[1], sizes[2])

    def _check_latents(self, z: Tensor) -> None:
        if z.ndim != 4 or z.shape[1] != self._channels or any(side % self._stride for side in z.shape[-2:]):
            raise ShapeError(
                f"expected latents [b, {self._channels}, h, w] with h and w in multiples of {self._stride}; "
                f"got {list(z.shape)}"
            )


def check_plain(unet: Any) -> None:
    """Refuse a U-Net that wants more than latents, a time and text.

    Raises:
        ModelError: class labels, additional embeddings (SDXL, image prompts), the guidance weight as an input
            (latent consistency), or times that are not counted.
    """
    config = unet.config
    wants = {
        "class_embed_type": "class labels",
        "num_class_embeds": "class labels",
        "addition_embed_type": "additional embeddings, as Stable Diffusion XL's",
        "encoder_hid_dim_type": "an image prompt or projected text",
        "time_cond_proj_dim": "the guidance weight as an input, as a latent consistency model",
    }
    for setting, what in wants.items():
        if config.get(setting) is not None:
            raise ModelError(
                f"expected a U-Net that takes latents, a time and text only; this one takes {what} "
                f"({setting} = {config[setting]!r}). It is not supported"
            )
    kind = config.get("time_embedding_type", "positional")
    if kind != "positional":
        raise ModelError(
            f"expected a U-Net whose times are counted (time_embedding_type 'positional'); got {kind!r}, as "
            "variance-exploding and latent score models have it. It is not supported"
        )

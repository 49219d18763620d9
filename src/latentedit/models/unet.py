"""What adapters of U-Nets share: sizes, feature sites, and the velocity of a variance-preserving network."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.core.levels import LevelGrid
from latentedit.models.base import Capabilities, GuidanceKind
from latentedit.models.network import NetworkBackbone
from latentedit.models.sites import Site
from latentedit.models.vp import VPSchedule


class VPBackbone(NetworkBackbone):
    """A network of diffusers on a `VPSchedule`. Adapters add text, the picture codec and the call of the network."""

    schedule: VPSchedule

    @property
    def compute_dtype(self) -> torch.dtype:
        """That of the network: a U-Net in float64 is so throughout."""
        return self.network_dtype

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock DDIM sampler, then 0; see `latentedit.models.vp`."""
        del height_px, width_px
        return self.schedule.grid(steps)

    def _declare_vp(self, *, guidance: float, kind: GuidanceKind, trained_px: int, largest_px: int) -> None:
        """Say what the model can do: its schedule's range, a guidance weight, sizes."""
        self._declare(
            Capabilities(
                s_min=self.schedule.s_min,
                s_max=self.schedule.s_max,
                start_std=self.schedule.start_std,
                guidance=float(self.defaults.get("guidance", guidance)),
                guidance_kind=kind,
                size_multiple=self._multiple,
                sizes=self._sizes(trained_px, largest_px),
            )
        )

    def _network_velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        return self.schedule.velocity(lambda x_t, time: self._predict(x_t, time, condition), z, s)

    @abc.abstractmethod
    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        """The network's output at latents in its own coordinates."""


class UNetBackbone(VPBackbone):
    """A U-Net of diffusers; see `VPBackbone`."""

    denoiser: ClassVar[str] = "unet"
    half: ClassVar[torch.dtype] = torch.float16

    def _build(
        self,
        components: Mapping[str, Any],
        schedule: VPSchedule,
        *,
        scale: int,
        guidance: float,
        kind: GuidanceKind = "cfg",
        **placement: Any,
    ) -> None:
        """Take the U-Net as it is and say what it can do.

        Args:
            components: of the pipeline by name.
            schedule: its trained times.
            scale: pixels a side of one latent.
            guidance: weight that its makers publish.
            kind: how it acts.
            placement: name, fingerprint, settings, device, pipeline, configuration and widths; see `NetworkBackbone`.
        """
        config, blocks = components["unet"].config, len(components["unet"].down_blocks)
        self.schedule = schedule
        self._settle(components, channels=int(config.in_channels), scale=scale, stride=2 ** (blocks - 1), **placement)
        multiple, side = self._multiple, config.sample_size
        trained = 0 if side is None else int(side if isinstance(side, int) else max(side)) * scale
        preferred = max(multiple, trained // multiple * multiple)
        largest = max(preferred, preferred * 3 // 2 // multiple * multiple)
        self._declare_vp(guidance=guidance, kind=kind, trained_px=preferred, largest_px=largest)

    def _sites(self) -> Mapping[str, Site]:
        """The blocks: "down.0", ..., "mid" (the h-space), "up.0", ...

        A down block also gives what the skip connections carry; its feature is what goes on downwards.
        """
        down = {f"down.{index}": Site(module=block, item=0) for index, block in enumerate(self._network.down_blocks)}
        mid = {} if self._network.mid_block is None else {"mid": Site(module=self._network.mid_block)}
        return {
            **down,
            **mid,
            **{f"up.{index}": Site(module=block) for index, block in enumerate(self._network.up_blocks)},
        }


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
                f"the U-Net takes {what} ({setting} = {config[setting]!r}), and not latents, a time and text only. "
                "It is not supported"
            )
    kind = config.get("time_embedding_type", "positional")
    if kind != "positional":
        raise ModelError(
            f"the U-Net's times are not counted: time_embedding_type is {kind!r}, as variance-exploding and latent "
            "score models have it. It is not supported"
        )

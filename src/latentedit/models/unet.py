"""What adapters of U-Nets share: sizes, feature sites, and the call of those that read text."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.prompts import PromptBackbone
from latentedit.models.sites import Site
from latentedit.models.vp import VPBackbone


class UNetBackbone(VPBackbone):
    """A U-Net of diffusers; see `latentedit.models.vp`."""

    denoiser: ClassVar[str] = "unet"
    half: ClassVar[torch.dtype] = torch.float16
    additions: ClassVar[str | None] = None
    """Additional input of the U-Net: its ``addition_embed_type``."""

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        config, blocks, scale = self._network.config, len(self._network.down_blocks), self._scale_px()
        check_plain(self._network, additions=self.additions)
        self._check_parts()
        stride, widths = 2 ** (blocks - 1), self._text_widths()
        self._set_shape(channels=int(config.in_channels), scale=scale, stride=stride, widths=widths)
        multiple, side = self._multiple, self._trained_side(config)
        trained = 0 if side is None else int(side if isinstance(side, int) else max(side)) * scale
        preferred = max(multiple, trained // multiple * multiple)
        largest = max(preferred, preferred * 3 // 2 // multiple * multiple)
        self._set_capabilities(trained_px=preferred, largest_px=largest)

    def _check_parts(self) -> None:
        """Check that the parts belong to one model."""

    def _scale_px(self) -> int:
        """Side of one latent in pixels."""
        return 1

    def _text_widths(self) -> tuple[int, int] | None:
        """Widths of a token and of the pooled text; None if conditions are not checked."""
        return None

    @staticmethod
    def _trained_side(config: Any) -> Any:
        """Latents a side in training, or height and width; None where a configuration does not say."""
        return config.sample_size

    def _named_blocks(self) -> dict[str, Any]:
        network = self._network
        blocks = {f"down.{index}": block for index, block in enumerate(network.down_blocks)}
        blocks |= {} if network.mid_block is None else {"mid": network.mid_block}
        return blocks | {f"up.{index}": block for index, block in enumerate(network.up_blocks)}

    def _sites(self) -> Mapping[str, Site]:
        """The blocks: "down.0", ..., "mid" (the h-space), "up.0", ...

        A down block also gives what the skip connections carry; its feature is what goes on downwards.
        """
        return {
            name: Site(module=block, item=0 if name.startswith("down") else None)
            for name, block in self._named_blocks().items()
        }

    def _attention(self) -> Mapping[str, Site]:
        """Self-attention of each transformer block, "down.1.0.0" being block 0 of transformer 0 of the second block."""
        return {
            f"{name}.{place}.{index}": Site(module=layer.attn1)
            for name, block in self._named_blocks().items()
            for place, transformer in enumerate(getattr(block, "attentions", ()))
            for index, layer in enumerate(getattr(transformer, "transformer_blocks", ()))
        }


class TextUNetBackbone(UNetBackbone, PromptBackbone):
    """A U-Net that reads text, on the latents of an autoencoder."""

    def __init__(self, pipeline: Any, **facts: Any) -> None:
        super().__init__(pipeline, **facts)
        self.window = int(getattr(pipeline, self.tokenizer).model_max_length)

    def _scale_px(self) -> int:
        return self._codec.scale_px

    @abc.abstractmethod
    def _text_widths(self) -> tuple[int, int]:
        """Widths of a token and of the pooled text, as the text encoders give them."""

    def _check_parts(self) -> None:
        config, channels, text = self._network.config, self._codec.channels, self._text_widths()[0]
        taken, given, width = config.in_channels, config.out_channels, config.cross_attention_dim
        if taken != channels == given:
            raise ModelError(
                f"the U-Net takes {taken} channels, and not the VAE's {channels}, as models for inpainting and "
                "upscaling do. Use the text-to-image model"
            )
        if not taken == given == channels:
            raise ModelError(f"the U-Net has {taken} channels in and {given} out, the VAE's latents have {channels}")
        if not isinstance(width, int) and len(set(width)) != 1:
            raise ModelError(f"the U-Net takes text of one width in every block; this one has {list(width)}")
        width = int(width if isinstance(width, int) else width[0])
        if text != width:
            raise ModelError(
                f"the U-Net reads text of width {width}, and the text encoders give {text}: parts of two models. "
                "Use those of one"
            )

    def _predict(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        dtype = self.network_dtype
        return self._network(
            x_t.to(dtype),
            time,
            condition.tokens.to(dtype),
            added_cond_kwargs=self._added_conditions(x_t, condition),
            return_dict=False,
        )[0]

    def _added_conditions(self, x_t: Float[Tensor, "b c h w"], condition: Condition) -> dict[str, Tensor] | None:
        """What `additions` stands for, by the names of diffusers."""
        del x_t, condition
        return None


def check_plain(unet: Any, *, additions: str | None = None) -> None:
    """Refuse a U-Net that takes more than latents, a time and text, except for the given additional embeddings."""
    config = unet.config
    wants = {
        "class_embed_type": "class labels",
        "num_class_embeds": "class labels",
        "addition_embed_type": "additional embeddings, as Stable Diffusion XL's",
        "encoder_hid_dim_type": "an image prompt or projected text",
        "time_cond_proj_dim": "the guidance weight as an input, as a latent consistency model",
    }
    for setting, what in wants.items():
        if config.get(setting) not in (None, additions if setting == "addition_embed_type" else None):
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

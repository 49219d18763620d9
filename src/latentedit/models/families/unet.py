"""U-Nets as velocity fields: Stable Diffusion 1, 2 and XL, and unconditional models on pixels (DDPM, DDIM).

Times, levels and sampler are those of `latentedit.models.vp`, whichever scheduler a folder names.

Source:
    Rombach et al. 2022, arXiv 2112.10752; Podell et al. 2023, SDXL, arXiv 2307.01952; Ho et al. 2020, DDPM, arXiv
    2006.11239; all as in diffusers 0.42.1.
"""

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.models.network import LATENT_CHANNELS, check_sizes
from latentedit.models.prompts import PromptBackbone
from latentedit.models.sites import Site
from latentedit.models.vp import VPBackbone
from latentedit.numerics.condition import Condition

TRAINED_LATENTS = 64
"""Side of the training latents, in latent pixels; folders older than diffusers 0.9 state too few."""

_BEFORE_0_9 = re.compile(r"0\.[0-8]\.")

# Number of sizes that are inputs of SDXL.
_SIZES = 6

_COLORS = 3

# Published settings of editors for SD and SDXL.
_BOTH: Mapping[str, Mapping[str, Any]] = {
    "masactrl": {"steps": 50, "guidance": 7.5, "under": "empty"},
    "chordedit": {"levels": (0.893, 0.3), "gap": 0.09},  # times 900 and 750
}


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
        self._set_capabilities(preferred, preferred * 3 // 2 // multiple * multiple)

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
            f"{name}.{number}.{index}": Site(module=layer.attn1)
            for name, block in self._named_blocks().items()
            for number, transformer in enumerate(getattr(block, "attentions", ()))
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
        config, channels = self._network.config, self._codec.channels
        for own in (config.in_channels, config.out_channels):
            check_sizes(LATENT_CHANNELS, own, channels)
        width = config.cross_attention_dim
        for own in (width,) if isinstance(width, int) else width:  # one for each block
            check_sizes("text width", own, self._text_widths()[0])

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
        """The inputs of `additions`, by their names in diffusers."""
        return None


def check_plain(unet: Any, *, additions: str | None = None) -> None:
    """Refuse a U-Net that takes more than latents, a time and text, except for the given additional embeddings."""
    supported = {
        "class_embed_type": None,
        "num_class_embeds": None,
        "addition_embed_type": additions,
        "encoder_hid_dim_type": None,
        "time_cond_proj_dim": None,
        "time_embedding_type": "positional",
    }
    for setting, value in supported.items():
        if (given := unet.config.get(setting)) not in (None, value):
            raise ModelError(
                f"the U-Net takes inputs other than latents, a timestep and text: its configuration has {setting} = "
                f"{given!r}. Use a model without them"
            )


class StableDiffusionBackbone(TextUNetBackbone):
    """Stable Diffusion 1 and 2: ``unet(x_t, t, tokens)`` predicts noise, v or x.

    Tokens are the last hidden state of CLIP, normalized, as many as its tokenizer says (77). Folders of Stable
    Diffusion 2 have an encoder that ends one layer early. The stock pipeline sets ``steps_offset`` to 1 for every
    folder.
    """

    family: ClassVar[str] = "Stable Diffusion 1, 2, XL"
    license: ClassVar[str] = "CreativeML OpenRAIL-M and OpenRAIL++-M"
    parts: ClassVar[tuple[str, ...]] = ("tokenizer", "text_encoder", "unet", "vae")
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionPipeline",)
    guidance: ClassVar[float] = 7.5
    scheduler_changes: ClassVar[Mapping[str, Any]] = {"steps_offset": 1}
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Levels are those of a time of SD 1.5, rounded down: 781 (mask: 481), 842 (34 steps), 631 (100 steps).
        "sdedit": {"level": 0.8243, "steps": 50, "guidance": 7.5},
        "diffedit": {"level": 0.8243, "steps": 50, "mask_level": 0.603, "guidance": 7.5},
        "ledits": {"level": 0.8616, "steps": 34},
        "edit-friendly-ddpm": {"level": 0.7189, "steps": 100, "source_guidance": 3.5, "target_guidance": 15.0},
        "dds": {"levels": (0.916, 0.184), "steps": 200, "step_size": 0.0488, "guidance": 7.5},
        "sega": {"steps": 50},
        **_BOTH,
    }

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> type[TextUNetBackbone]:
        """Stable Diffusion XL takes sizes and pooled text too."""
        sizes = config.get("addition_embed_type") == "text_time"
        return StableDiffusionXLBackbone if sizes else StableDiffusionBackbone

    def _text_widths(self) -> tuple[int, int]:
        return int(self.pipeline.text_encoder.config.hidden_size), 0

    @staticmethod
    def _trained_side(config: Any) -> Any:
        side, old = config.sample_size, _BEFORE_0_9.match(str(config.get("_diffusers_version")))
        return max(side, TRAINED_LATENTS) if old and isinstance(side, int) else side


class StableDiffusionXLBackbone(TextUNetBackbone):
    """SDXL base, Turbo, Lightning and fine-tunes: ``unet(x_t, t, tokens, pooled, sizes)`` predicts noise or v.

    Tokens are the last hidden state but one of two CLIPs, concatenated, and the projected text of the second is the
    pooled part. The sizes, ``(h, w, 0, 0, h, w)``, are those of the original, the crop and the target in pixels.
    Guidance starts from zeros unless the pipeline's ``force_zeros_for_empty_prompt`` is false.
    """

    parts: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "unet", "vae")
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2")
    additions: ClassVar[str | None] = "text_time"
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionXLPipeline",)
    guidance: ClassVar[float] = 5.0
    pooled_at: ClassVar[int | None] = 2
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"turboedit": {"level": 0.8357, "steps": 5}, **_BOTH}  # 799

    def _text_widths(self) -> tuple[int, int]:
        first, second = self.pipeline.text_encoder.config, self.pipeline.text_encoder_2.config
        return int(first.hidden_size) + int(second.hidden_size), int(second.projection_dim)

    def _check_parts(self) -> None:
        super()._check_parts()
        config = self._network.config
        given = self._text_widths()[1] + _SIZES * int(config.addition_time_embed_dim)
        check_sizes("features of sizes and pooled text", int(config.projection_class_embeddings_input_dim), given)

    def _null(self, like: Condition) -> Condition:
        """Zeros, or the empty text where the pipeline says so."""
        return 0.0 * like[:1] if self.pipeline.config.get("force_zeros_for_empty_prompt", True) else self.embed([""])

    def _added_conditions(self, x_t: Float[Tensor, "b c h w"], condition: Condition) -> dict[str, Tensor]:
        height, width = (side * self._scale for side in x_t.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=x_t.device, dtype=torch.float32)
        return {"text_embeds": condition.pooled.to(self.network_dtype), "time_ids": sizes.expand(len(x_t), -1)}


class DDPMBackbone(UNetBackbone):
    """A ``UNet2DModel`` on pixels in [-1, 1], without text: the ``google/ddpm-*`` class.

    A network with learned variances has twice the channels out; the first half counts. The stock configurations clip
    x_hat to [-1, 1] in every step (``clip_sample``), which cannot be inverted and has derivative zero where it acts. It
    is not done here: samples equal those of the stock pipeline with ``clip_sample`` false.
    """

    family: ClassVar[str] = "DDPM in pixels"
    pipelines: ClassVar[tuple[str, ...]] = ("DDPMPipeline",)
    parts: ClassVar[tuple[str, ...]] = ("unet",)
    reads_text: bool = False

    def _check_parts(self) -> None:
        taken, given = self._network.config.in_channels, self._network.config.out_channels
        if taken != _COLORS or given not in (_COLORS, 2 * _COLORS):
            raise ModelError(
                f"the U-Net has {taken} channels in and {given} out, and not 3 colors in and 3 out (6 with variances)"
            )

    def embed(self, texts: Sequence[str]) -> Condition:
        """One token of width 1, zero, for each text: the model reads none."""
        count = len(texts)
        zeros = torch.zeros(count, 1, 1, device=self.device, dtype=self.dtype)
        return Condition(tokens=zeros, pooled=zeros.new_zeros(count, 0))

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """A note that this model ignores captions, if there are any."""
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
        return self._network(x_t.to(self.network_dtype), time, return_dict=False)[0][:, :_COLORS]

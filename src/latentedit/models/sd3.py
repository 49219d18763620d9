"""Stable Diffusion 3 and 3.5 as a velocity field, and every smaller model of the same classes.

Conventions of the family, all confined to this module and `sd3_text`:

- Time: the network takes ``t = s * num_train_timesteps`` (1000), s itself being the noise fraction; no reversal.
- Sign: its output is ``E[e - x | z, c]``, the velocity of this package; no negation. Euler falls from s = 1 to 0.
- Latent: ``x = (mode of the VAE's posterior - shift_factor) * scaling_factor``.
- Guidance: weight w is ``v(n) + w (v(c) - v(n))`` with n the empty text; w = 1 is the conditional velocity.
- Levels: FlowMatchEulerDiscreteScheduler shifts its smallest level once when it is built and again when it makes the
  grid (shift 3: 0.0030 becomes 0.0089), so a grid is taken from a scheduler built afresh from its configuration.
- Text: see `sd3_text`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError, ShapeError
from latentedit.models.flow import FlowBackbone
from latentedit.models.loading import ModelFolder
from latentedit.models.network import CLIP_TOKENIZERS
from latentedit.models.sd3_text import SD3Text
from latentedit.models.sites import Site
from latentedit.models.text_part import TextPart

T5_TOKENS = 256
"""Text tokens that T5 reads, as many as in the stock pipeline."""

ZERO_TOKENS = 1
"""Zero tokens in place of a T5 that a model never had; real SD3 was trained with 256 there."""


class StableDiffusion3Backbone(FlowBackbone):
    """SD3, SD3.5 and their miniatures: ``v(z, s, c) = transformer(z, 1000 s, tokens, pooled)``.

    Of the settings it reads "zero_tokens" too.

    Args:
        components: of a ``StableDiffusion3Pipeline`` by name, see `parts`; the scheduler may be its configuration.
        placement: name, fingerprint, settings, device, pipeline and configuration, see `NetworkBackbone`.
        max_sequence_length: number of T5 tokens, or of zero tokens in place of an absent T5. None is 256 with T5 and,
            without, ``settings["zero_tokens"]`` or 1, which is several times faster on small pictures.

    Raises:
        ConfigError: a length that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts that do not fit together.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
        "tokenizer": CLIP_TOKENIZERS,
        "tokenizer_2": CLIP_TOKENIZERS,
        "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
    }
    nodes: ClassVar[Literal["even", "scheduler"]] = "scheduler"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "flowedit": {"level": 0.85, "steps": 50, "source_guidance": 3.5, "target_guidance": 13.5},  # 33 of 50, shift 3
    }
    optional_parts: ClassVar[frozenset[str]] = frozenset({"tokenizer_3", "text_encoder_3"})

    def __init__(
        self, components: Mapping[str, Any], *, max_sequence_length: int | None = None, **placement: Any
    ) -> None:
        transformer, vae = components["transformer"], components["vae"]
        config = transformer.config
        texts = {
            suffix: (components[f"tokenizer{suffix}"], components[f"text_encoder{suffix}"])
            for suffix in ("", "_2", "_3")
            if components.get(f"text_encoder{suffix}") is not None
        }
        _check_fit(config, vae.config, [texts[suffix][1] for suffix in texts if suffix != "_3"])
        scale, patch = 2 ** (len(vae.config.block_out_channels) - 1), int(config.patch_size)
        self.trained_px = int(config.sample_size) * scale
        largest = int(config.pos_embed_max_size) * scale * patch if config.pos_embed_max_size else self.trained_px
        self._begin(
            components,
            patch=patch,
            widths=(int(config.joint_attention_dim), int(config.pooled_projection_dim)),
            guidance=_published_guidance(config, str(placement.get("name", ""))),
            largest_px=largest,
            **placement,
        )
        if self.capabilities.sizes[2] > largest:
            raise ModelError(f"'sizes' go up to {self.capabilities.sizes[2]} px, the network to {largest} px")
        made = {
            suffix: TextPart(tokenizer=tokenizer, encoder=encoder.eval(), device=self.device)
            for suffix, (tokenizer, encoder) in texts.items()
        }
        t5 = made.pop("_3", None)
        if max_sequence_length is None:
            max_sequence_length = int(self.defaults.get("zero_tokens", ZERO_TOKENS)) if t5 is None else T5_TOKENS
        self._text = SD3Text(
            clips=tuple(made.values()),
            t5=t5,
            width=int(config.joint_attention_dim),
            length=max_sequence_length,
            vocabulary=self._vocabulary(),
        )

    @classmethod
    def _build_from(cls, folder: ModelFolder, components: Mapping[str, Any], **settings: Any) -> Self:
        """Real SD3 whose T5 is left out gets the stock pipeline's 256 zero tokens."""
        if "text_encoder_3" in folder.left_out and "zero_tokens" not in folder.settings:
            settings = {"max_sequence_length": T5_TOKENS, **settings}
        return super()._build_from(folder, components, **settings)

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them; see `sd3_text`."""
        with torch.no_grad():
            return self._text.embed(texts)

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        return self._text.notes(texts)

    def _ask(
        self, z: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        return self._network(
            hidden_states=z,
            timestep=time,
            encoder_hidden_states=condition.tokens,
            pooled_projections=condition.pooled,
            return_dict=False,
        )[0]

    def _sites(self) -> Mapping[str, Site]:
        """The two streams after each block; the last block has no text stream."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._network.transformer_blocks):
            if not block.context_pre_only:
                sites[f"block.{index}.text"] = Site(module=block, item=0)
            sites[f"block.{index}.image"] = Site(module=block, item=1)
        return sites

    def _check_latents(self, z: Tensor) -> None:
        super()._check_latents(z)
        limit = self._network.config.pos_embed_max_size
        largest = int(limit) * self._stride if limit else max(z.shape[-2:])
        if max(z.shape[-2:]) > largest:
            raise ShapeError(
                f"latents are at most {largest} x {largest} ({largest * self._scale} px); got {list(z.shape)}"
            )


def _published_guidance(config: Any, name: str) -> float:
    """The weight in the model cards' examples: SD3.5 Turbo none, SD3.5 Medium 4.5, SD3.5 Large 3.5, SD3 7."""
    if "turbo" in name.lower():
        return 1.0
    if config.dual_attention_layers:
        return 4.5
    return 3.5 if config.qk_norm else 7.0


def _check_fit(transformer: Any, vae: Any, clips: Sequence[Any]) -> None:
    """Refuse parts whose configurations do not belong together.

    Raises:
        ModelError: another width of the pooled texts, or another number of latent channels.
    """
    pooled = sum(int(clip.config.projection_dim) for clip in clips)
    if pooled != transformer.pooled_projection_dim:
        raise ModelError(
            f"the transformer takes {transformer.pooled_projection_dim} pooled features; CLIP gives {pooled}"
        )
    if not transformer.in_channels == transformer.out_channels == vae.latent_channels:
        raise ModelError(
            f"the transformer has {transformer.in_channels} channels in and {transformer.out_channels} out, the VAE's "
            f"latents have {vae.latent_channels}"
        )

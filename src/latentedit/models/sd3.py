"""Stable Diffusion 3 and 3.5 as a velocity field, and every smaller model of the same classes.

Conventions of the family, all confined to this module and `sd3_text`:

- Time: the network takes ``t = s * num_train_timesteps`` (1000), s itself being the noise fraction; no reversal.
- Sign: its output is ``E[e - x | z, c]``, the velocity of this package; no negation. Euler falls from s = 1 to 0.
- Latent: ``x = (mode of the VAE's posterior - shift_factor) * scaling_factor``.
- Guidance: weight w is ``v(n) + w (v(c) - v(n))`` with n the empty text; w = 1 is the conditional velocity.
- Levels: FlowMatchEulerDiscreteScheduler shifts its smallest level once when it is built and again when it makes the
  grid (shift 3: 0.0030 becomes 0.0089), so a grid is taken from a scheduler built afresh from its configuration.
- Text: see `sd3_text`.

The network and the text encoders run in the dtype that is asked for; coordinates, guidance and the VAE in float32.
Parameters are frozen and nothing is computed under ``no_grad``: latents can be differentiated through.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import CoordinateError, ModelError, ShapeError
from latentedit.core.levels import LevelGrid
from latentedit.models.base import Capabilities
from latentedit.models.libraries import library_class, quiet_libraries
from latentedit.models.loading import ModelFolder
from latentedit.models.network import CLIP_TOKENIZERS, CodecBackbone, placed, vae_scale
from latentedit.models.sd3_text import SD3Text
from latentedit.models.sites import Site
from latentedit.models.text_part import TextPart

T5_TOKENS = 256
"""Text tokens that T5 reads, as many as in the stock pipeline."""

ZERO_TOKENS = 1
"""Zero tokens in place of a T5 that a model never had; real SD3 was trained with 256 there."""


class StableDiffusion3Backbone(CodecBackbone):
    """SD3, SD3.5 and their miniatures: ``v(z, s, c) = transformer(z, 1000 s, tokens, pooled)``.

    Of the settings it reads "zero_tokens" too.

    Args:
        components: of a ``StableDiffusion3Pipeline`` by name, see `parts`; the scheduler may be its configuration.
            Networks are moved to the device and frozen.
        placement: name, fingerprint, settings, device and dtype, see `NetworkBackbone`.
        max_sequence_length: number of T5 tokens, or of zero tokens in place of an absent T5. None is 256 with T5 and,
            without, ``settings["zero_tokens"]`` or 1, which is several times faster on small pictures.

    Raises:
        ConfigError: a dtype or length that makes no sense.
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
    optional_parts: ClassVar[frozenset[str]] = frozenset({"tokenizer_3", "text_encoder_3"})

    def __init__(
        self,
        components: Mapping[str, Any],
        *,
        max_sequence_length: int | None = None,
        **placement: Any,
    ) -> None:
        transformer, vae = components["transformer"], components["vae"]
        texts = {
            suffix: TextPart(tokenizer=components[f"tokenizer{suffix}"], encoder=components[f"text_encoder{suffix}"])
            for suffix in ("", "_2", "_3")
            if components.get(f"text_encoder{suffix}") is not None
        }
        self._scheduler = _whole_scheduler(components["scheduler"])
        t5 = texts.pop("_3", None)
        _check_fit(transformer.config, vae.config, list(texts.values()))
        self._settle(
            channels=int(transformer.config.in_channels),
            scale=vae_scale(vae),
            stride=int(transformer.config.patch_size),
            **placement,
        )
        self._transformer = placed(transformer, self._device, self._network_dtype)
        self._place_codec(vae, shift=float(vae.config.shift_factor or 0.0))
        for part in (*texts.values(), *([t5] if t5 else [])):
            placed(part.encoder, self._device, self._network_dtype)
        if max_sequence_length is None:
            max_sequence_length = int(self.defaults.get("zero_tokens", ZERO_TOKENS)) if t5 is None else T5_TOKENS
        self._text = SD3Text(
            clips=tuple(texts.values()),
            t5=t5,
            width=int(transformer.config.joint_attention_dim),
            length=max_sequence_length,
            vocabulary=self._vocabulary(),
        )
        self._declare(self._make_capabilities())

    @classmethod
    def _build_from(cls, folder: ModelFolder, components: Mapping[str, Any], **settings: Any) -> Self:
        """Real SD3 whose T5 is left out gets the stock pipeline's 256 zero tokens."""
        if "text_encoder_3" in folder.left_out and "zero_tokens" not in folder.settings:
            settings = {"max_sequence_length": T5_TOKENS, **settings}
        return super()._build_from(folder, components, **settings)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The levels of the stock scheduler, dynamic shifting by picture size included where it asks for that.

        ``mu = base_shift + (max_shift - base_shift) (n - n_base) / (n_max - n_base)`` for n image tokens.
        """
        if steps < 1:
            raise CoordinateError(f"expected at least one step; got {steps}")
        scheduler: Any = _fresh_scheduler(self._scheduler)
        config = scheduler.config
        mu = None
        if config.use_dynamic_shifting:
            preferred = self.capabilities.sizes[1]
            _, height, width = self.latent_shape(height_px or preferred, width_px or preferred)
            tokens = (height // self._stride) * (width // self._stride)
            slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
            mu = tokens * slope + config.base_shift - slope * config.base_image_seq_len
        scheduler.set_timesteps(steps, device="cpu", mu=mu)
        return LevelGrid(levels=tuple(min(float(level), 1.0) for level in scheduler.sigmas))

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them; see `sd3_text`."""
        return self._text.embed(texts)

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        return self._text.notes(texts)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        self._check_latents(z)
        config = self._transformer.config
        widths = (condition.tokens.shape[-1], condition.pooled.shape[-1])
        if widths != (config.joint_attention_dim, config.pooled_projection_dim):
            raise ShapeError(
                f"expected a condition of widths {config.joint_attention_dim} (tokens) and "
                f"{config.pooled_projection_dim} (pooled); got {widths[0]} and {widths[1]}"
            )
        self._check_device(condition.tokens)
        dtype = self._network_dtype
        v: Tensor = self._transformer(
            hidden_states=z.to(dtype),
            timestep=s.to(torch.promote_types(s.dtype, torch.float32)) * int(self._scheduler["num_train_timesteps"]),
            encoder_hidden_states=condition.tokens.to(dtype),
            pooled_projections=condition.pooled.to(dtype),
            return_dict=False,
        )[0]
        return v.to(z.dtype)

    def _sites(self) -> Mapping[str, Site]:
        """The two streams after each block; the last block has no text stream."""
        sites: dict[str, Site] = {}
        for index, block in enumerate(self._transformer.transformer_blocks):
            if not block.context_pre_only:
                sites[f"block.{index}.text"] = Site(module=block, item=0)
            sites[f"block.{index}.image"] = Site(module=block, item=1)
        return sites

    def _make_capabilities(self) -> Capabilities:
        config = self._transformer.config
        preferred = int(config.sample_size) * self._scale
        largest = int(config.pos_embed_max_size) * self._multiple if config.pos_embed_max_size else preferred
        sizes = self._sizes(preferred, largest)
        if sizes[2] > largest:
            raise ModelError(f"'sizes' go up to {sizes[2]} px, the network to {largest} px")
        guidance = float(self.defaults.get("guidance", _published_guidance(config, self.name)))
        return Capabilities(guidance=guidance, size_multiple=self._multiple, sizes=sizes)

    def _check_latents(self, z: Tensor) -> None:
        super()._check_latents(z)
        limit = self._transformer.config.pos_embed_max_size
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


def _check_fit(transformer: Any, vae: Any, clips: Sequence[TextPart]) -> None:
    """Refuse parts whose configurations do not belong together.

    Raises:
        ModelError: another width of the pooled texts, or another number of latent channels.
    """
    pooled = sum(int(part.encoder.config.projection_dim) for part in clips)
    if pooled != transformer.pooled_projection_dim:
        raise ModelError(
            f"the transformer takes {transformer.pooled_projection_dim} pooled features; CLIP gives {pooled}"
        )
    if not transformer.in_channels == transformer.out_channels == vae.latent_channels:
        raise ModelError(
            f"the transformer has {transformer.in_channels} channels in and {transformer.out_channels} out, the VAE's "
            f"latents have {vae.latent_channels}"
        )


def _whole_scheduler(scheduler: Any) -> dict[str, Any]:
    """The configuration of a scheduler, or one, with defaults filled in.

    Raises:
        ModelError: a configuration that the scheduler refuses, or levels that rise.
    """
    config = _fresh_scheduler(getattr(scheduler, "config", scheduler)).config
    if config["invert_sigmas"]:
        raise ModelError("the scheduler's levels rise (invert_sigmas), and SD3's fall")
    return {key: config[key] for key in config if not key.startswith("_")}


def _fresh_scheduler(config: Mapping[str, Any]) -> Any:
    """A scheduler that no earlier call has changed."""
    try:
        with quiet_libraries():
            return library_class("diffusers", "FlowMatchEulerDiscreteScheduler").from_config(dict(config))
    except Exception as error:  # configurations fail in as many ways as they have settings
        raise ModelError(f"a FlowMatchEulerDiscreteScheduler does not take its configuration: {error}") from error

"""The networks of a stock Stable Diffusion 3 pipeline, without the pipeline."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast, T5EncoderModel, T5Tokenizer

from latentedit.core.errors import ModelError
from latentedit.models.loading import ModelFolder, load_network, load_tokenizer, quiet_libraries
from latentedit.models.text_part import TextPart
from latentedit.models.weights import read_json


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SD3Parts:
    """What a ``StableDiffusion3Pipeline`` is made of.

    Args:
        transformer: ``SD3Transformer2DModel``.
        vae: ``AutoencoderKL``.
        scheduler: configuration of a ``FlowMatchEulerDiscreteScheduler``; defaults are filled in.
        clips: two ``CLIPTextModelWithProjection`` with their tokenizers.
        t5: ``T5EncoderModel`` with its tokenizer, or None.

    Raises:
        ModelError: parts that do not fit together.
    """

    transformer: Any
    vae: Any
    scheduler: Mapping[str, Any]
    clips: tuple[TextPart, ...]
    t5: TextPart | None = None

    def __post_init__(self) -> None:
        config = fresh_scheduler(self.scheduler).config
        object.__setattr__(self, "scheduler", {key: config[key] for key in config if not key.startswith("_")})
        if self.scheduler["invert_sigmas"]:
            raise ModelError("expected a scheduler whose levels fall, as SD3's; this one has invert_sigmas")
        transformer, vae = self.transformer.config, self.vae.config
        pooled = sum(int(part.encoder.config.projection_dim) for part in self.clips)
        if pooled != transformer.pooled_projection_dim:
            raise ModelError(f"expected CLIPs that pool to {transformer.pooled_projection_dim} features; got {pooled}")
        if not transformer.in_channels == transformer.out_channels == vae.latent_channels:
            raise ModelError(
                f"expected one number of latent channels; got {transformer.in_channels} into and "
                f"{transformer.out_channels} out of the transformer, {vae.latent_channels} from the VAE"
            )


def load_sd3_parts(folder: ModelFolder, dtype: torch.dtype) -> SD3Parts:
    """Load every part on the CPU; the VAE in float32, the other networks in ``dtype``.

    Raises:
        ModelError: weights that do not match their configuration.
    """

    def text_part(tokenizer: Any, encoder: Any, suffix: str) -> TextPart:
        return TextPart(
            tokenizer=load_tokenizer(tokenizer, folder, f"tokenizer{suffix}"),
            encoder=load_network(encoder, folder, f"text_encoder{suffix}", dtype),
        )

    return SD3Parts(
        transformer=load_network(SD3Transformer2DModel, folder, "transformer", dtype),
        vae=load_network(AutoencoderKL, folder, "vae", torch.float32),
        scheduler=read_json(folder.path / "scheduler" / "scheduler_config.json"),
        clips=tuple(text_part(CLIPTokenizerFast, CLIPTextModelWithProjection, suffix) for suffix in ("", "_2")),
        t5=text_part(T5Tokenizer, T5EncoderModel, "_3") if "text_encoder_3" in folder.parts else None,
    )


def fresh_scheduler(config: Mapping[str, Any]) -> Any:
    """A scheduler that no earlier call has changed.

    Raises:
        ModelError: a configuration that the scheduler refuses.
    """
    try:
        with quiet_libraries():
            return FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    except (ValueError, TypeError, ImportError) as error:
        raise ModelError(f"expected the configuration of a FlowMatchEulerDiscreteScheduler; {error}") from error

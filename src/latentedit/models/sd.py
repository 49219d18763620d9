"""Stable Diffusion 1 and 2 as a velocity field, and every smaller model of the same classes.

Conventions of the family, confined to this module, `vp` (times, levels, sampler) and `sd_text`:

- Latent: ``x = mode of the VAE's posterior * scaling_factor``.
- Guidance: weight w is ``e(n) + w (e(c) - e(n))`` with n the empty text; on velocities it is the same.
- Sampler: DDIM, whatever scheduler the folder names; the stock pipeline takes ``steps_offset`` for 1 in every folder.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.codec import Codec
from latentedit.models.network import CLIP_TOKENIZERS, CodecBackbone
from latentedit.models.sd_text import SDText
from latentedit.models.text_part import TextPart
from latentedit.models.unet import UNetBackbone, check_plain
from latentedit.models.vp import TRAINED_BETAS, VPSchedule

PUBLISHED_GUIDANCE = 7.5
"""The default weight of the stock pipeline, which the model cards use."""


class StableDiffusionBackbone(UNetBackbone, CodecBackbone):
    """SD 1.x, SD 2.x and their miniatures: a U-Net that predicts noise, v or x, with one CLIP for the text.

    Args:
        components: of a ``StableDiffusionPipeline`` by name; its scheduler is of any class that runs on trained betas.
        placement: name, fingerprint, settings, device, pipeline and configuration, see `NetworkBackbone`.

    Raises:
        ConfigError: a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts that do not fit together.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "scheduler": TRAINED_BETAS,
        "tokenizer": CLIP_TOKENIZERS,
        "text_encoder": ("CLIPTextModel",),
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
    }

    def __init__(self, components: Mapping[str, Any], **placement: Any) -> None:
        width = _text_width(components)
        schedule = VPSchedule.from_config(components["scheduler"], steps_offset=1)
        dtype = torch.promote_types(components["unet"].dtype, torch.float32)
        self._codec = Codec(components["vae"], dtype)
        self._build(
            components,
            schedule,
            scale=self._codec.scale_px,
            guidance=PUBLISHED_GUIDANCE,
            widths=(width, 0),
            **placement,
        )
        encoder = components["text_encoder"].eval()
        text = TextPart(tokenizer=components["tokenizer"], encoder=encoder, device=self.device)
        self._text = SDText(part=text, width=width, vocabulary=self._vocabulary())

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as the stock pipeline embeds them; see `sd_text`."""
        with torch.no_grad():
            return self._text.embed(texts)

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Words dropped for length, and words that training never showed, as sentences."""
        return self._text.notes(texts)

    def _predict(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b c h w"]:
        dtype = self.network_dtype
        return self._network(x_t.to(dtype), time, condition.tokens.to(dtype), return_dict=False)[0]


def _text_width(components: Mapping[str, Any]) -> int:
    """The width of a text token, after U-Net and VAE were found to fit together.

    Raises:
        ModelError: they do not, or the U-Net wants more than latents, a time and text.
    """
    unet, vae = components["unet"], components["vae"]
    check_plain(unet)
    channels, width = vae.config.latent_channels, unet.config.cross_attention_dim
    taken, given = unet.config.in_channels, unet.config.out_channels
    if taken != channels == given:
        raise ModelError(
            f"the U-Net takes {taken} channels, and not the VAE's {channels}, as models for inpainting and upscaling "
            "do. Use the text-to-image model"
        )
    if not taken == given == channels:
        raise ModelError(f"the U-Net has {taken} channels in and {given} out, the VAE's latents have {channels}")
    if not isinstance(width, int) and len(set(width)) != 1:
        raise ModelError(f"the U-Net takes text of one width in every block; this one has {list(width)}")
    return int(width if isinstance(width, int) else width[0])

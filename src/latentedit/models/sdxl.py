"""Stable Diffusion XL as a velocity field: base, Turbo, Lightning and fine-tunes that predict noise or v.

Conventions of the family: latents are the VAE's mode, scaled, with a mean and deviation a channel where its
configuration has them; text is the last hidden state but one of two CLIPs side by side, and the projected text of the
second is the pooled part. The network is also told sizes: ``(h, w, 0, 0, h, w)`` of the picture in pixels, original,
crop and target, so they follow from the latents. Guidance starts from zeros where the pipeline's
``force_zeros_for_empty_prompt`` says so (it is true unless stated), else from the empty text. Times, levels, sampler,
and how distilled models are told from others: see `latentedit.models.vp`.

Source:
    Podell et al. 2023, SDXL, arXiv 2307.01952, as diffusers 0.42.1 has it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ModelError
from latentedit.models.unet import TextUNetBackbone

_SIZES = 6
"""Numbers about sizes that the network is told."""


class StableDiffusionXLBackbone(TextUNetBackbone):
    """SDXL: ``e_hat(x_t, t, c) = unet(x_t, t, tokens, pooled, sizes)``, or v-prediction, in flow coordinates."""

    parts: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "unet", "vae")
    additions: ClassVar[str | None] = "text_time"
    prompt_pipeline: ClassVar[str] = "StableDiffusionXLPipeline"
    guidance: ClassVar[float] = 5.0
    pooled_at: ClassVar[int | None] = 2
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"masactrl": {"steps": 50, "guidance": 7.5}}

    def _text_widths(self) -> tuple[int, int]:
        first, second = self.pipeline.text_encoder.config, self.pipeline.text_encoder_2.config
        return int(first.hidden_size) + int(second.hidden_size), int(second.projection_dim)

    def _check_parts(self) -> None:
        super()._check_parts()
        config, pooled = self._network.config, self._text_widths()[1]
        room = int(config.projection_class_embeddings_input_dim) - pooled
        wanted = _SIZES * int(config.addition_time_embed_dim)
        if room != wanted:
            raise ModelError(
                f"the U-Net has room for {room} features beside a pooled text of {pooled}, and six sizes take "
                f"{wanted}. It is the refiner, or a part of another model: use the base model"
            )

    def _null(self, like: Condition) -> Condition:
        """Zeros, or the empty text where the pipeline says so."""
        return 0.0 * like[:1] if self.pipeline.config.get("force_zeros_for_empty_prompt", True) else self.embed([""])

    def _added_conditions(self, x_t: Float[Tensor, "b c h w"], condition: Condition) -> dict[str, Tensor]:
        height, width = (side * self._scale for side in x_t.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=x_t.device, dtype=torch.float32)
        return {"text_embeds": condition.pooled.to(self.network_dtype), "time_ids": sizes.expand(len(x_t), -1)}

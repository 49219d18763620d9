"""Stable Diffusion 1 and 2 as a velocity field, and every smaller model of the same classes.

Conventions of the family, confined to this module and `vp` (times, levels, sampler):

- Latent: ``x = mode of the VAE's posterior * scaling_factor``.
- Text: the last hidden state of CLIP, normalised, of as many tokens as its tokenizer says (77). There is no pooled
  part, so ``pooled`` has width 0. Folders of Stable Diffusion 2 hold an encoder that ends one layer early.
- Guidance: weight w is ``e(n) + w (e(c) - e(n))`` with n the empty text; on velocities it is the same.
- Sampler: DDIM, whatever scheduler the folder names; the stock pipeline takes ``steps_offset`` for 1 in every folder.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from latentedit.models.unet import TextUNetBackbone

TRAINED_LATENTS = 64
"""Latents a side, also where a folder from before diffusers 0.9 says fewer; the stock pipeline takes it so."""

_BEFORE_0_9 = re.compile(r"0\.[0-8]\.")


class StableDiffusionBackbone(TextUNetBackbone):
    """SD 1.x, SD 2.x and their miniatures: a U-Net that predicts noise, v or x, with one CLIP for the text."""

    parts: ClassVar[tuple[str, ...]] = ("tokenizer", "text_encoder", "unet", "vae")
    prompt_pipeline: ClassVar[str] = "StableDiffusionPipeline"
    guidance: ClassVar[float] = 7.5
    scheduler_changes: ClassVar[Mapping[str, Any]] = {"steps_offset": 1}
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"masactrl": {"steps": 50, "guidance": 7.5}}

    def _text_widths(self) -> tuple[int, int]:
        return int(self.pipeline.text_encoder.config.hidden_size), 0

    @staticmethod
    def _trained_side(config: Any) -> Any:
        side, old = config.sample_size, _BEFORE_0_9.match(str(config.get("_diffusers_version")))
        return max(side, TRAINED_LATENTS) if old and isinstance(side, int) else side

"""Latents drawn by the stock pipelines, to compare with."""

from typing import Any

from torch import Tensor

from latentedit.core.rng import draw
from latentedit.models.base import Backbone

CAPTION = "a person with red hair and glasses"
PARITY = 1e-4  # what is left is float32 rounding over the steps, about 1e-6


def start(backbone: Backbone, height_px: int = 64, width_px: int = 64) -> Tensor:
    return draw((1, *backbone.latent_shape(height_px, width_px)), seed=3, purpose="start")


def stock(pipeline: Any, backbone: Backbone, guidance: float, steps: int, **settings: Any) -> Tensor:
    latents = start(backbone, settings.get("height", 64), settings.get("width", 64))
    return pipeline(
        prompt=CAPTION,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=latents,
        output_type="latent",
        **settings,
    ).images

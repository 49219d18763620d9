"""A backbone for the pipeline that model_index.json names; `models.families.unet` shows a family of its own."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from latentedit.models import StableDiffusion3Backbone

FOLDER = Path(__file__).parent / "weights"
"""The diffusers folder that comes with this package."""


class NegativeBackbone(StableDiffusion3Backbone):
    """Stable Diffusion 3 that was trained on negatives: images are turned on the way in and on the way out."""

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """The clean latents of images in [-1, 1]."""
        return super().encode(-pixels)

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The images of clean latents, about in [-1, 1]."""
        return -super().decode(z)

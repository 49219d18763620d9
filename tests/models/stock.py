"""A caption and starting noise for the miniatures."""

from torch import Tensor

from latentedit.core.rng import draw
from latentedit.models.base import Backbone

CAPTION = "a person with red hair and glasses"


def start(backbone: Backbone, height_px: int = 64, width_px: int = 64) -> Tensor:
    return draw((1, *backbone.latent_shape(height_px, width_px)), seed=3, purpose="start")

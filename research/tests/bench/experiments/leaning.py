"""The color model at images of variance 1, and local bases of which one vector leans by a known angle."""

import math
from typing import Any

import torch
from torch import Tensor

from latentedit import Condition, LocalBasis
from tests.editing.discoveries import halves, known_basis
from tests.editors.colors import ColorBackbone


def wide_model(captioner: str = "") -> ColorBackbone:
    """The model expects images of variance 1, like latents, so that large changes are undamaged."""
    model: Any = ColorBackbone()

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        level, mean = s[:, None, None, None], condition.tokens[:, 0, :, None, None]
        return (2 * level - 1) / ((1 - level) ** 2 + level**2) * (z - (1 - level) * mean) - mean

    model._velocity = velocity
    model.defaults = {"captioner": captioner} if captioner else {}
    return model


def leaning_basis(model: ColorBackbone, radians: float) -> LocalBasis:
    """The basis of `halves`, whose first vector leans."""
    extra = torch.zeros(1, 3, 8, 8)
    extra[0, 1] = 1 / 8
    top, bottom = halves().split(1)
    return known_basis(model, torch.cat([math.cos(radians) * top + math.sin(radians) * extra, bottom]))

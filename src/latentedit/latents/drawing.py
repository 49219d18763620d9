"""Pictures as a model draws them from captions alone."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers import EulerSolver, sample
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField

STEPS = 28
"""Of a picture, unless told."""


@torch.no_grad()
def draw_pictures(
    model: Backbone, captions: Sequence[str], *, steps: int = STEPS, seed: int = 0, first: int = 0
) -> Float[Tensor, "b 3 h w"]:
    """Pictures from captions, of the size and at the guidance that the model prefers, in [-1, 1].

    Each has noise of its own, drawn from (seed, its position).

    Args:
        model: the backbone.
        captions: one a picture.
        steps: of the model's own grid.
        seed: of the noises.
        first: position of the first picture among all that are drawn with this seed.

    Cost:
        ``steps`` evaluations a picture, twice as many where guidance takes two.
    """
    field = GuidedField(backbone=model, condition=model.embed(captions), guidance=model.capabilities.guidance)
    side = model.capabilities.sizes[1]
    shape = model.latent_shape(side, side)
    noise = torch.stack([draw(shape, seed=seed, purpose="sample", index=first + i) for i in range(len(captions))])
    grid = model.grid(steps)
    start = math.hypot(1 - grid.levels[0], grid.levels[0]) * noise  # of unit variance in the model's own coordinates
    final = sample(field, start.to(model.device, model.dtype), grid, EulerSolver()).final
    return model.decode(final).clamp(-1, 1)


def in_8_bits(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Pictures in [-1, 1] as a file of 8 bits has them."""
    return pixels.add(1).mul(127.5).round().div(127.5).sub(1)

"""The no-op instruction of a model that edits by instructions: the wording that is measured to change least.

A flow model with a picture x as its reference, and an instruction to change nothing, ought to lead any noised picture
``z = (1 - s) x + s e`` straight back to x: its velocity ought to be ``e - x``. How far it is from that,

    residual(i) = mean |v(z, s | x, i) - (e - x)|^2        over levels s and noises e

is 0 for an instruction i that means exactly "no change"; the model's no-op is the wording with the least. In units of
the latent's variance, which is about 1. Derived here; the target velocity is SliderEdit's (arXiv 2511.09715), which
trains a model towards it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.core.settings import check
from latentedit.core.solvers import level_batch
from latentedit.models.base import Backbone
from latentedit.models.model_settings import NO_CHANGE, calibration_of

# The first, SliderEdit's, is the default without a measurement.
WORDINGS = ("keep the image the same", "change nothing", "do not change the picture", "")
LEVELS = (0.5, 0.7, 0.9)  # noise levels of the measurement: where instructions act


def no_change(model: Backbone) -> str:
    """The wording with the least measured residual; the first of `WORDINGS` without a measurement."""
    measured: Mapping[str, float] = calibration_of(model).get(NO_CHANGE, {})
    check(dict[str, float], no_change=measured)
    return min(measured, key=measured.__getitem__) if measured else WORDINGS[0]


@torch.no_grad()
def no_change_residuals(
    model: Backbone, z: Float[Tensor, "b *latent"], wordings: Sequence[str] = WORDINGS, *, seed: int = 0
) -> dict[str, float]:
    """The residual of each wording on clean latents, by an evaluation per picture, level and wording."""
    check_instructs(model)
    noise = draw((len(LEVELS), *z.shape), seed=seed, purpose="no change").to(z)
    residuals = dict.fromkeys(wordings, 0.0)
    for wording in residuals:
        condition = dataclasses.replace(model.embed([wording]).expand(len(z)), reference=(z,))
        for level, e in zip(LEVELS, noise, strict=True):
            v = model.velocity((1 - level) * z + level * e, level_batch(level, z), condition)
            residuals[wording] += float((v - (e - z)).square().mean()) / len(LEVELS)
    return residuals


def check_instructs(model: Backbone) -> None:
    """Raise a `ConfigError` for a model that takes no reference pictures."""
    if not model.capabilities.references:
        raise ConfigError(
            f"the model {model.name!r} edits by captions, and takes no instructions. Use a change of the caption "
            '(`change="OLD => NEW"`), or a model that takes instructions'
        )

"""Instructions that change nothing: their wordings, and how far each is from "no change" on a model."""

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import check_value
from latentedit.models.base import Backbone
from latentedit.models.model_settings import NO_CHANGE, calibration_of
from latentedit.numerics.flow import level_batch
from latentedit.numerics.rng import draw

# Wordings that portraits-kontext was trained on; the first, SliderEdit's, is the default without a measurement.
NO_CHANGE_WORDINGS: tuple[str, ...] = ("keep the image the same", "change nothing", "do not change the picture", "")
LEVELS = (0.5, 0.7, 0.9)  # noise levels of the measurement: where instructions act


def no_change(model: Backbone) -> str:
    """The wording with the least measured residual; without a measurement the first of `NO_CHANGE_WORDINGS`."""
    measured: Mapping[str, float] = calibration_of(model).get(NO_CHANGE, {})
    check_value(dict[str, float], no_change=measured)
    return min(measured, key=measured.__getitem__) if measured else NO_CHANGE_WORDINGS[0]


@torch.no_grad()
def no_change_residuals(model: Backbone, z: Float[Tensor, "b *latent"]) -> dict[str, float]:
    """How far each wording is from "no change" on clean latents x, by an evaluation per image and level.

    A flow model with x as its reference and an instruction to change nothing ought to lead any noised image
    ``z = (1 - s) x + s e`` straight back to x. The residual ``mean |v(z, s | x, i) - (e - x)|^2`` over levels and
    noises is 0 for such an instruction i, in units of the latent's variance. Derived here; the target velocity is that
    of SliderEdit (arXiv 2511.09715), which trains a model towards it.
    """
    check_instructs(model)
    # The same noises for all wordings, so that they differ by their text alone.
    noise = draw((len(LEVELS), *z.shape), seed=0, purpose="no change").to(z)
    residuals = dict.fromkeys(NO_CHANGE_WORDINGS, 0.0)
    for wording in residuals:
        condition = dataclasses.replace(model.embed([wording]).expand(len(z)), reference=(z,))
        for level, e in zip(LEVELS, noise, strict=True):
            s = model.capabilities.level(level)
            v = model.velocity((1 - s) * z + s * e, level_batch(s, z), condition)
            residuals[wording] += float((v - (e - z)).square().mean()) / len(LEVELS)
    return residuals


def check_instructs(model: Backbone) -> None:
    """Raise a `ConfigError` for a model that takes no reference images."""
    if not model.capabilities.references:
        raise ConfigError(
            f"the model {model.name!r} edits by captions, and takes no instructions. Use a change of the caption "
            '(`change="OLD => NEW"`), a chat model that writes both captions (`captioner="openai:MODEL"`), or a model '
            "that takes instructions"
        )

"""Which instruction leaves a picture as it is, to a model that edits by instructions: measured, not believed.

A flow model that is shown a picture x beside its latents, and told to change nothing, ought to lead any noised picture
``z = (1 - s) x + s e`` straight back to x: its velocity ought to be ``e - x``. How far it is from that,

    residual(i) = mean |v(z, s | x, i) - (e - x)|^2        over levels s and noises e

is 0 for an instruction i that means "no change" exactly; the wording with the least is the model's. In units of the
latent's variance, which is about 1. Derived here; the velocity that it is held against is SliderEdit's (arXiv
2511.09715), which trains a model towards it.
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
from latentedit.models.calibrations import calibration_of

WORDINGS = ("keep the image the same", "change nothing", "do not change the picture", "")
"""What is tried. The first, SliderEdit's, is taken to mean no change where nothing was measured."""

LEVELS = (0.5, 0.7, 0.9)
"""Of noise, at which it is measured: where instructions act."""

KEY = "no_change"
"""Of a model's calibration: the residual of each wording."""


def no_change(model: Backbone) -> str:
    """The wording that was measured to leave pictures most as they are; the first of `WORDINGS` where none was.

    Raises:
        FileFormatError, ConfigError: a calibration that is damaged.
    """
    measured: Mapping[str, float] = calibration_of(model).get(KEY, {})
    check(dict[str, float], no_change=measured)
    return min(measured, key=measured.__getitem__) if measured else WORDINGS[0]


@torch.no_grad()
def no_change_residuals(
    model: Backbone, z: Float[Tensor, "b *latent"], wordings: Sequence[str] = WORDINGS, *, seed: int = 0
) -> dict[str, float]:
    """The residual of each wording, see the module; kept under `KEY` of a calibration it decides `no_change`.

    Args:
        model: that takes references.
        z: clean latents of pictures.
        wordings: to be compared, on the same noises.
        seed: of the noises.

    Raises:
        ConfigError: a model that takes none.

    Cost:
        An evaluation a picture, level and wording.
    """
    check_instructs(model)
    noise = draw((len(LEVELS), *z.shape), seed=seed, purpose="no change").to(z)
    found = dict.fromkeys(wordings, 0.0)
    for wording in found:
        told = dataclasses.replace(model.embed([wording]).expand(len(z)), reference=(z,))
        for level, e in zip(LEVELS, noise, strict=True):
            v = model.velocity((1 - level) * z + level * e, level_batch(level, z), told)
            found[wording] += float((v - (e - z)).square().mean()) / len(LEVELS)
    return found


def check_instructs(model: Backbone) -> None:
    """Refuse a model that reads captions alone.

    Raises:
        ConfigError: it takes no reference pictures.
    """
    if not model.capabilities.references:
        raise ConfigError(
            f"the model {model.name!r} edits by captions, and takes no instructions. Say what changes in the caption "
            '(`change="OLD => NEW"`), or name a model that takes them'
        )

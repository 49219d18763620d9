"""Images sampled from captions alone, and the stored sample by which a model folder is verified."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ModelError
from latentedit.encoding.captions.base import to_images
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.models.model_settings import read_settings, write_settings
from latentedit.models.registry import load
from latentedit.numerics.rng import draw
from latentedit.numerics.solvers import EulerSolver, integrate
from latentedit.photo.saving import save_image

STEPS = 28  # default number of sampling steps
_REFERENCE, _CAPTION = "reference.png", "reference_caption"
_TOLERANCE = 2  # levels of 255 by which the mean pixel may differ: kernels of other machines round differently
_CURE = "Install the package again"


@torch.no_grad()
def draw_images(
    model: Backbone, captions: Sequence[str], *, steps: int = STEPS, seed: int = 0, first: int = 0
) -> Float[Tensor, "b 3 h w"]:
    """Images from captions, at the model's preferred size and guidance, in [-1, 1].

    Each has its own noise, from the seed and its index; ``first`` is the index of the first one. An image costs
    ``steps`` evaluations, twice as many if guidance takes two.
    """
    field = GuidedField(backbone=model, condition=model.embed(captions), guidance=model.capabilities.guidance)
    side = model.capabilities.sizes[1]
    shape = model.latent_shape(side, side)
    noise = torch.stack([draw(shape, seed=seed, purpose="sample", index=first + i) for i in range(len(captions))])
    grid = model.grid(steps)
    start = math.hypot(1 - grid.levels[0], grid.levels[0]) * noise  # the variance is 1 in the model's own coordinates
    final = integrate(field, start.to(model.device, model.dtype), grid.levels, EulerSolver())
    return model.decode(final).clamp(-1, 1)


def in_8_bits(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Images in [-1, 1], rounded to 8 bits."""
    return pixels.add(1).mul(127.5).round().div(127.5).sub(1)


def write_reference(folder: Path, caption: str) -> None:
    """Store the fingerprint and an image sampled from a caption with a finished model."""
    model = load(folder, device="cpu")
    save_image(Image.fromarray(_sampled(model, caption)), folder / _REFERENCE)
    write_settings(folder, {"fingerprint": model.fingerprint, _CAPTION: caption})


def verify_drawings(folder: Path) -> list[str]:
    """Check a model folder against its stored fingerprint and sample; returns one line per check, or a `ModelError`."""
    model = load(folder, device="cpu")
    settings, path = read_settings(folder), folder / _REFERENCE
    stored, found = settings.get("fingerprint"), model.fingerprint
    if stored != found:
        raise ModelError(f"The weights in {folder} have changed: {stored} became {found}. {_CURE}")
    if not path.exists() or _CAPTION not in settings:
        raise ModelError(f"The sampled image {path} is missing. {_CURE}")
    reference = np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)
    difference = float(np.abs(reference - _sampled(model, settings[_CAPTION])).mean())
    if difference > _TOLERANCE:
        raise ModelError(
            f"The model in {folder} samples an image that is not the stored one: the mean pixel differs by "
            f"{difference:.1f} levels, where {_TOLERANCE} are allowed. {_CURE}"
        )
    return [
        f"fingerprint {found}, as stored",
        f"a sampled image differs from the stored one by {difference:.2f} of 255 levels in the mean",
    ]


def _sampled(model: Backbone, caption: str) -> np.ndarray:
    return np.asarray(to_images(draw_images(model, [caption]))[0])

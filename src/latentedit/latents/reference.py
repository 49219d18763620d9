"""Is this the model that was trained: its fingerprint, and a sampled picture against the one stored with it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentedit.core.errors import ModelError
from latentedit.latents.drawing import draw_pictures
from latentedit.models.base import Backbone
from latentedit.models.model_settings import read_settings, write_settings
from latentedit.models.registry import load
from latentedit_keep.pictures import save_image

_REFERENCE, _CAPTION = "reference.png", "reference_caption"
_TOLERANCE = 2  # levels of 255 by which the mean pixel may differ: kernels of other machines round differently
_CURE = "Install the package again"


def write_reference(folder: Path, caption: str) -> None:
    """Store the fingerprint and a picture sampled from a caption with a finished model."""
    model = load(folder, device="cpu")
    save_image(Image.fromarray(_sampled(model, caption)), folder / _REFERENCE)
    write_settings(folder, {"fingerprint": model.fingerprint, _CAPTION: caption})


def verify(folder: Path) -> list[str]:
    """Check a model folder against what was stored when it was made.

    Returns:
        what was checked, a line each.

    Raises:
        ModelError: another fingerprint, or another picture.
    """
    model = load(folder, device="cpu")
    settings, place = read_settings(folder), folder / _REFERENCE
    stored = settings.get("fingerprint")
    if stored != model.fingerprint:
        raise ModelError(f"The weights in {folder} have changed: {stored} became {model.fingerprint}. {_CURE}")
    if not place.exists() or _CAPTION not in settings:
        raise ModelError(f"The sampled picture {place} is missing. {_CURE}")
    reference = np.asarray(Image.open(place).convert("RGB"), dtype=np.int16)
    difference = float(np.abs(reference - _sampled(model, settings[_CAPTION])).mean())
    if difference > _TOLERANCE:
        raise ModelError(
            f"The model in {folder} samples another picture than the stored one: the mean pixel differs by "
            f"{difference:.1f} levels, where {_TOLERANCE} are allowed. {_CURE}"
        )
    return [
        f"fingerprint {model.fingerprint}, as stored",
        f"a sampled picture differs from the stored one by {difference:.2f} of 255 levels in the mean",
    ]


def _sampled(model: Backbone, caption: str) -> np.ndarray:
    pixels = draw_pictures(model, [caption])[0]
    return pixels.add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()

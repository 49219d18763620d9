"""Is this the model that was trained: its fingerprint, and a sampled picture against the one stored with it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentedit.core.errors import ModelError
from latentedit.core.files.pictures import save_image
from latentedit.latents.drawing import draw_pictures
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.models.settings_file import read_settings, write_settings
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption

_REFERENCE = "reference.png"
_TOLERANCE = 2  # levels of 255 by which the mean pixel may differ: kernels of other machines round differently
_CURE = "Install the package again"


def write_reference(folder: Path) -> None:
    """Store the fingerprint and a sampled picture with a finished model."""
    model = load(folder, device="cpu")
    save_image(Image.fromarray(_sampled(model)), folder / _REFERENCE)
    write_settings(folder, {"fingerprint": model.fingerprint})


def verify(folder: Path) -> list[str]:
    """Check a model folder against what was stored when it was made.

    Returns:
        what was checked, a line each.

    Raises:
        ModelError: another fingerprint, or another picture.
    """
    model = load(folder, device="cpu")
    stored, place = read_settings(folder).get("fingerprint"), folder / _REFERENCE
    if stored != model.fingerprint:
        raise ModelError(f"The weights in {folder} have changed: {stored} became {model.fingerprint}. {_CURE}")
    if not place.exists():
        raise ModelError(f"The sampled picture {place} is missing. {_CURE}")
    reference = np.asarray(Image.open(place).convert("RGB"), dtype=np.int16)
    difference = float(np.abs(reference - _sampled(model)).mean())
    if difference > _TOLERANCE:
        raise ModelError(
            f"The model in {folder} samples another picture than the stored one: the mean pixel differs by "
            f"{difference:.1f} levels, where {_TOLERANCE} are allowed. {_CURE}"
        )
    return [
        f"fingerprint {model.fingerprint}, as stored",
        f"a sampled picture differs from the stored one by {difference:.2f} of 255 levels in the mean",
    ]


def _sampled(model: Backbone) -> np.ndarray:
    attributes = draw_split("test", 1, seed=2)[0]
    pixels = draw_pictures(model, [full_caption(attributes)])[0]
    return pixels.add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()

"""Is this the model that was trained: its fingerprint, and a sampled picture against the one stored with it."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentedit.backbones.registry import load
from latentedit.errors import ModelError
from latentedit.portraits.attributes import draw_split
from latentedit.portraits.captions import full_caption
from latentedit.portraits.quality import sample_pictures

_REFERENCE = "reference.png"
_SETTINGS = "latentedit.json"
_TOLERANCE = 2
"""Levels of 255 by which the mean pixel may differ: kernels of other machines round differently."""


def write_reference(folder: Path) -> None:
    """Store the fingerprint and a sampled picture with a finished model."""
    Image.fromarray(_sampled(folder)).save(folder / _REFERENCE)
    path = folder / _SETTINGS
    settings = json.loads(path.read_text()) | {"fingerprint": load(folder, device="cpu").fingerprint}
    path.write_text(json.dumps(settings, indent=1) + "\n")


def verify(folder: Path) -> list[str]:
    """Check a model folder against what was stored when it was made.

    Returns:
        what was checked, a line each.

    Raises:
        ModelError: another fingerprint, or another picture.
    """
    model = load(folder, device="cpu")
    settings = json.loads((folder / _SETTINGS).read_text())
    stored = settings.get("fingerprint")
    if stored != model.fingerprint:
        raise ModelError(
            f"expected the fingerprint {stored} in {folder}; got {model.fingerprint}. Install the package again"
        )
    if not (folder / _REFERENCE).exists():
        raise ModelError(
            f"expected the sampled picture {folder / _REFERENCE}; it is missing. Install the package again"
        )
    reference = np.asarray(Image.open(folder / _REFERENCE).convert("RGB"), dtype=np.int16)
    difference = float(np.abs(reference - _sampled(folder)).mean())
    if difference > _TOLERANCE:
        raise ModelError(
            f"expected a sampled picture within {_TOLERANCE} levels of the stored one; it differs by {difference:.1f}. "
            "Install the package again"
        )
    return [
        f"fingerprint {model.fingerprint}, as stored",
        f"a sampled picture differs from the stored one by {difference:.2f} of 255 levels in the mean",
    ]


def _sampled(folder: Path) -> np.ndarray:
    attributes = draw_split("test", 1, seed=2)[0]
    pixels = sample_pictures(load(folder, device="cpu"), [full_caption(attributes)])[0]
    return pixels.add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()

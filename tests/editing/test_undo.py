"""Undoing edits from their file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.editing.outputs import same_image
from latentedit.editing.verbs import edit, manipulate
from latentedit.encoding.encode import encode
from latentedit.identification.direction import Direction
from latentedit.keeping.undoing import undo
from latentedit.models.base import Backbone
from latentedit.photo.containers import taken_apart
from latentedit.photo.provenance import IPTC, declared
from latentedit.photo.saving import save_image
from latentedit.photo.xmp import with_property
from tests.editors.colors import ColorBackbone
from tests.editors.edits import noisy


def half_mask(size: tuple[int, int]) -> Image.Image:
    """A mask of the left half."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def shift(model: Backbone, amount: Tensor, caption: str = "gray") -> Direction:
    """A direction with this displacement."""
    source = model.embed([caption])
    return Direction(
        z=amount,
        condition=source - source,
        level=1.0,
        method="by hand",
        settings={},
        model_name=model.name,
        model_fingerprint=model.fingerprint,
    )


def redder(model: Backbone, amount: float) -> Direction:
    return shift(model, torch.tensor([amount, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8).clone())


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_source_is_restored_from_the_file_without_a_model(colors: ColorBackbone, tmp_path: Path, mode: str) -> None:
    """For any editor, clipped or not, with a mask, twice in a row; with color profile and alpha."""
    source = noisy(1, (60, 40), mode, mean=(250, 128, 128), deviation=2)
    source.info["icc_profile"] = b"a profile" * 20
    first = edit(colors, source, prompt="red", source_prompt="gray", mask=half_mask((60, 40)))
    again = manipulate(first.latent, redder(colors, 0.4), auto_mask=False)
    for made in (
        first,
        again,
        edit(colors, source, prompt="red", source_prompt="gray", method="sdedit", strength=0.5),
    ):
        assert not same_image(made.image, source)
        made.save(tmp_path / "edited.png")
        found = undo(tmp_path / "edited.png")
        assert same_image(found, source)
        assert same_image(made.undo(), source)
        assert found.info["icc_profile"] == source.info["icc_profile"]
        assert not found.info.keys() & {"exif", "xmp", "dpi", "comment"}


@pytest.mark.parametrize("before", [None, "digitalCapture"])
def test_an_edit_declares_ai_until_it_is_undone(colors: ColorBackbone, tmp_path: Path, before: str | None) -> None:
    source = noisy((24, 24))
    if before is not None:
        source.info["xmp"] = with_property(None, IPTC, "Iptc4xmpExt", "DigitalSourceType", before)
    latent = encode(colors, source, source_prompt="gray")
    result = manipulate(latent, redder(colors, 0.2))
    path, same = tmp_path / "x.png", tmp_path / "same.png"
    result.save(path, sheet=tmp_path / "sheet.png")
    for file in (path, tmp_path / "sheet.png"):
        found = declared(taken_apart(file.read_bytes()))
        assert found is not None
        assert (found.ai, found.source_types) == (True, ("compositeWithTrainedAlgorithmicMedia",))
    save_image(undo(path), tmp_path / "undone.png")
    found = declared(taken_apart((tmp_path / "undone.png").read_bytes()))
    assert (found and found.source_types) == (before and (before,))
    assert undo(path).info.get("xmp") == result.source.info.get("xmp")
    manipulate(latent, redder(colors, 0.2), strength=0.0).save(same)
    found = declared(taken_apart(same.read_bytes()))
    assert (found and found.source_types) == (before and (before,))

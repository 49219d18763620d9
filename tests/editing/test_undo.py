"""Undoing edits from their file, and by a direction."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.editing import undo as undoing
from latentedit.editing.outputs import same_image
from latentedit.editing.undo import undo_direction
from latentedit.editing.verbs import edit, identify, manipulate
from latentedit.editors.strength import effect_along
from latentedit.encoding.encode import encode
from latentedit.encoding.images import SourceImage
from latentedit.identification.direction import Direction
from latentedit.keeping.undoing import undo
from latentedit.models.base import Backbone
from latentedit.photo.containers import taken_apart
from latentedit.photo.provenance import IPTC, declared
from latentedit.photo.saving import save_image
from latentedit.photo.xmp import with_property
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, levels, noisy


def half_mask(size: tuple[int, int]) -> Image.Image:
    """A mask of the left half."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def unclipped(image: Image.Image) -> np.ndarray:
    values = levels(image)
    return (values > 0) & (values < 255)


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


@pytest.mark.slow_except("size0-RGB-True-1.0")
@pytest.mark.parametrize(
    ("size", "mode", "local", "strength"),
    [
        ((8, 8), "RGB", True, 1.0),
        ((8, 8), "RGB", False, 0.4),
        ((37, 21), "RGBA", True, 0.4),
        ((37, 21), "RGBA", False, -0.3),
        ((5, 30), "RGB", True, -0.3),
        ((5, 30), "RGB", False, 1.0),
    ],
)
def test_an_edit_is_undone_by_its_direction(
    colors: ColorBackbone, size: tuple[int, int], mode: str, local: bool, strength: float
) -> None:
    source = gray(4, size, mode)
    latent = encode(colors, source, source_prompt="gray")
    direction = identify(latent, prompt="red")
    result = manipulate(latent, direction, strength=strength, auto_mask=local)
    assert unclipped(result.image.convert("RGB")).all()
    made = float(effect_along(result.latent.z[None] - latent.z, direction.z))  # the requested strength, or its limit
    with colors.count() as cost:
        found = undo_direction(colors, SourceImage.from_image(result.image), direction, strength=made, auto_mask=local)
    assert cost.evaluations == 0
    assert np.abs(levels(found) - levels(source)).max() <= 1
    assert (levels(found) == levels(source)).mean() > 0.99


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_a_lossy_nonlinear_codec_needs_fixed_point_iterations(
    colors: Any, monkeypatch: pytest.MonkeyPatch, local: bool, kept: float
) -> None:
    """If E = sinh and D = asinh, the same displacement changes a dark image more than a bright one.

    A lossless codec is undone by -d; one that keeps only a part of the contrast needs the fixed point.
    """
    colors.encode = lambda pixels: (3 * pixels).sinh()
    colors.decode = lambda z: kept * z.asinh() / 3
    source = noisy(4, mean=(120, 110, 150), deviation=12)
    ramp = torch.linspace(-0.9, 0.9, 8)[None, None, None].expand(1, 3, 8, 8).clone()
    direction = shift(colors, ramp)
    result = manipulate(encode(colors, source, source_prompt="gray"), direction, auto_mask=local)
    assert unclipped(result.image).all()

    def error(rounds: int) -> int:
        monkeypatch.setattr(undoing, "ROUNDS", rounds)
        found = undo_direction(colors, SourceImage.from_image(result.image), direction, auto_mask=local)
        return int(np.abs(levels(found) - levels(source)).max())

    assert error(undoing.ROUNDS) <= 2
    assert error(0) <= 2 if kept == 1 else error(0) > 3


def test_directions_and_strengths_that_do_not_fit_are_rejected(colors: ColorBackbone) -> None:
    image, red = SourceImage.from_image(gray()), redder(colors, 0.1)
    with pytest.raises(ConfigError, match="another-2"):
        undo_direction(colors, image, dataclasses.replace(red, model_fingerprint="another-2"))
    with pytest.raises(ConfigError):
        undo_direction(colors, image, red, strength=math.nan)
    for shape in ((2, 3, 8, 8), (1, 3, 4, 4)):
        with pytest.raises(ShapeError):
            undo_direction(colors, image, shift(colors, torch.zeros(shape)))


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

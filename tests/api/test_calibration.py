"""A direction to keep: one for any picture, with what it does measured and shown."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.api.calibration import PREVIEW_STRENGTHS, calibrate_direction
from latentedit.api.verbs import identify, manipulate
from latentedit.directions.direction import Direction
from latentedit.editors.slider import BELOW, BEYOND, WITHIN, Arm
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, levels

SIZE = (300, 150)


@pytest.fixture
def latent(colours: ColourBackbone) -> JointLatent:
    return encode(colours, [grey(1, SIZE), grey(2, SIZE)], caption="grey")


@pytest.fixture
def direction(latent: JointLatent) -> Direction:
    return identify(latent, to=["red", "blue"], seed=3)


def opened(preview: bytes) -> Image.Image:
    with Image.open(io.BytesIO(preview), formats=["PNG"]) as image:
        return image.convert("RGB")


def told(direction: Direction) -> dict[str, Any]:
    assert direction.calibration is not None
    return dataclasses.asdict(direction.calibration)


@pytest.mark.nightly
def test_the_mean_of_several_pictures_is_kept(latent: JointLatent, direction: Direction) -> None:
    found = calibrate_direction(latent, direction, licence="CC0-1.0")
    assert torch.equal(found.z, direction.z.mean(0, keepdim=True))
    assert torch.equal(found.condition.tokens, direction.condition.tokens.mean(0, keepdim=True))
    assert len(found) == len(found.condition) == 1
    assert found.licence == "CC0-1.0"
    assert found.target_captions == ("red", "blue")
    assert found.pictures == direction.pictures
    assert calibrate_direction(latent, direction).licence == ""
    one = encode(latent.backbone, grey(), caption="grey")
    alone = identify(one, to="red")
    assert calibrate_direction(one, alone).z is alone.z


@pytest.mark.nightly
@pytest.mark.parametrize("arm", [None, "joint"])
def test_its_strength_is_calibrated_on_the_arm(latent: JointLatent, direction: Direction, arm: Arm | None) -> None:
    known = calibrate_direction(latent, direction, arm=arm).calibration
    assert known is not None
    assert known.arm == (arm or "image")
    assert known.scales == (*BELOW, 0.0, *WITHIN, *BEYOND)
    assert known.effects[known.scales.index(1.0)] == pytest.approx(1)
    assert known.lowest <= 1e-9
    assert known.highest >= 1 - 1e-9


@pytest.mark.slow
def test_the_preview_shows_three_strengths_of_the_first_picture(latent: JointLatent, direction: Direction) -> None:
    """128 pixels wide each, and as bright as what they show: no change, half of it, all of it."""
    shown = opened(calibrate_direction(latent, direction).preview)
    assert shown.size == (3 * 128, 64)
    mean, first = direction.mean(), encode(latent.backbone, grey(1, SIZE), caption="grey")
    panels = np.split(levels(shown), 3, axis=1)
    for panel, strength in zip(panels, PREVIEW_STRENGTHS, strict=True):
        image = manipulate(first, dataclasses.replace(mean, source_captions=()), strength=strength).image
        image.thumbnail((128, 128), Image.Resampling.LANCZOS)
        assert np.abs(panel - levels(image)).max() <= 1
    assert np.abs(panels[0] - panels[2]).max() > 20


def test_a_small_picture_is_shown_at_its_size_and_transparent_on_white(colours: ColourBackbone) -> None:
    source = grey(1, (20, 10), "RGBA")
    source.putalpha(0)
    latent = encode(colours, source, caption="grey")
    shown = opened(calibrate_direction(latent, identify(latent, to="red")).preview)
    assert shown.size == (60, 10)
    assert (levels(shown) == 255).all()

"""Edits by a U-Net, whose levels reach neither 0 nor 1."""

import pytest
import torch

from latentedit.editors import SDEdit
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.numerics.rng import draw
from tests.miniatures.noise import miniature_sd
from tests.testing.tolerances import relative_error

TEXTS = ("a person with red hair", "a face on a black wall")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load(miniature_sd(tmp_path_factory.mktemp("unet") / "v", prediction="v_prediction"), device="cpu")


@pytest.fixture
def latent(backbone: Backbone) -> JointLatent:
    z = draw((2, *backbone.latent_shape(64, 64)), seed=0, purpose="clean")
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed(TEXTS), captions=TEXTS)


@pytest.mark.slow
def test_a_weak_sdedit_starts_below_the_lowest_level(latent: JointLatent) -> None:
    with torch.no_grad():
        edited = SDEdit(steps=20).edit(latent, latent.condition, [0.02])[0].z
    assert latent.backbone.capabilities.s_min > 0.02 * 0.7
    assert 0 < relative_error(edited, latent.z) < 0.1


def test_levels_of_a_search_are_limited_to_the_highest_level(latent: JointLatent) -> None:
    target = latent.backbone.embed(["a person with glasses"])
    highest = latent.backbone.capabilities.s_max
    wished = find_direction(latent, target, HSDS(levels=(1.0, 1.0), steps=1), seed=0)
    cut = find_direction(latent, target, HSDS(levels=(highest, highest), steps=1), seed=0)
    assert torch.equal(wished.z, cut.z)
    assert wished.level == cut.level == highest

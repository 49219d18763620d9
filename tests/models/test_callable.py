"""A model that is given as functions keeps the laws, and is edited like any other."""

import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.models.base import Backbone
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.gaussian_mixture import example_mixture
from tests.editors.colours import ColourBackbone


class TestContract(BackboneContract):
    texts = ("a", "b")

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        """The functions of the analytic mixture, whose answers are known."""
        mixture = example_mixture()
        return le.CallableBackbone(
            mixture.velocity,
            embed=mixture.embed,
            latent_shape=mixture.latent_shape,
            capabilities=mixture.capabilities,
            dtype=mixture.dtype,
        )


def test_pictures_are_edited_by_functions_alone() -> None:
    colours = ColourBackbone(sizes=(4, 8, 12))
    model = le.CallableBackbone(
        colours.velocity,
        embed=colours.embed,
        latent_shape=colours.latent_shape,
        encode=colours.encode,
        decode=colours.decode,
        capabilities=colours.capabilities,
        dtype=colours.dtype,
        name="mine",
    )
    picture = Image.new("RGB", (8, 8), (90, 90, 90))
    edits = [
        le.edit(made, picture, caption="red", to="blue", method=FlowEdit(steps=3)).image for made in (model, colours)
    ]
    assert edits[0].tobytes() == edits[1].tobytes()
    assert edits[0].tobytes() != picture.tobytes()


def test_a_model_without_pictures_says_so() -> None:
    mixture = example_mixture()
    model = le.CallableBackbone(mixture.velocity, embed=mixture.embed, latent_shape=mixture.latent_shape, name="mine")
    assert not model.capabilities.pixels
    with pytest.raises(ConfigError, match="mine has no pictures: it was made without decode"):
        model.decode(torch.zeros(1, *mixture.latent_shape(1, 1)))

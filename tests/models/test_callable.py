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


def small_device(most: int) -> tuple[le.CallableBackbone, list[int]]:
    """A model on a device that has memory for so many rows, and the rows of each call that was tried."""
    mixture, tried = example_mixture(), list[int]()

    def velocity(z: torch.Tensor, s: torch.Tensor, condition: le.Condition) -> torch.Tensor:
        tried.append(len(z))
        if len(z) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB")
        return mixture.velocity(z, s, condition)

    model = le.CallableBackbone(
        velocity,
        embed=mixture.embed,
        latent_shape=mixture.latent_shape,
        capabilities=mixture.capabilities,
        dtype=mixture.dtype,
    )
    return model, tried


def rows(model: Backbone, count: int) -> tuple[torch.Tensor, torch.Tensor, le.Condition]:
    """So many different latents, levels and texts."""
    numbers = torch.Generator().manual_seed(count)
    z = torch.randn(count, *model.latent_shape(8, 8), generator=numbers, dtype=model.dtype)
    return z, torch.linspace(0.2, 0.9, count, dtype=model.dtype), model.embed(["ab"[i % 2] for i in range(count)])


def test_a_batch_too_large_for_the_device_goes_in_parts() -> None:
    """Every row once, in its order, and what fits is tried first the next time."""
    mixture = example_mixture()
    model, tried = small_device(3)
    z, s, condition = rows(model, 11)
    with model.count() as cost:
        found = model.velocity(z, s, condition)
    assert torch.allclose(found, mixture.velocity(z, s, condition), rtol=1e-12, atol=0)
    assert tried == [11, 6, 3, 3, 3, 2]
    assert cost.evaluations == 11
    tried.clear()
    model.velocity(z, s, condition)
    assert tried == [3, 3, 3, 2]
    assert torch.equal(model.velocity(*rows(model, 2)), mixture.velocity(*rows(model, 2))), "a small one as it is"
    model, tried = small_device(0)
    with pytest.raises(torch.OutOfMemoryError):
        model.velocity(*rows(model, 4))
    assert tried == [4, 2, 1]
    assert not model.capabilities.pixels
    with pytest.raises(ConfigError, match="has no pictures: it was made without decode"):
        model.decode(torch.zeros(1, *mixture.latent_shape(1, 1)))

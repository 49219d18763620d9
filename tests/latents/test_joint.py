import dataclasses

import pytest
import torch
from PIL import Image

from latentedit.core.errors import CoordinateError, ShapeError
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import mixture_latent
from tests.editors.colors import ColorBackbone


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=4))


def test_batch_sizes_must_match_and_paths_start_at_a_level(latent: JointLatent) -> None:
    assert len(latent) == 3
    with pytest.raises(ShapeError):
        dataclasses.replace(latent, captions=("a", "b"))
    with pytest.raises(ShapeError):
        dataclasses.replace(latent, condition=latent.condition[:1])
    assert latent.path(4).levels == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert latent.path(4, 0.6).levels == (0.6, 0.5, 0.25, 0.0)
    assert latent.path(4, 0.5).levels == (0.5, 0.25, 0.0)
    with pytest.raises(CoordinateError):
        latent.path(4, 0.0)


def test_repeat_keeps_the_order_of_the_batch(latent: JointLatent) -> None:
    captioned = dataclasses.replace(latent, captions=("a", "b", "c"), condition=latent.backbone.embed(["a", "b", "c"]))
    repeated = captioned.repeat(2)
    assert len(repeated) == 6
    for index in range(6):
        assert torch.equal(repeated.z[index], captioned.z[index % 3])
        assert torch.equal(repeated.condition.tokens[index], captioned.condition.tokens[index % 3])
        assert repeated.captions[index] == captioned.captions[index % 3]
    assert repeated.backbone is captioned.backbone
    assert repeated.path(4).levels == captioned.path(4).levels
    images = encode(ColorBackbone(sizes=(4, 8, 12)), [Image.new("RGB", (12, 4))] * 2, source_prompt="red")
    repeated_images = images.repeat(3)
    assert repeated_images.frames == images.frames * 3
    assert images.images == (images.frames[0].image.fingerprint,) * 2
    assert dataclasses.replace(images, references=(images.frames[0].image,)).images != images.images
    assert repeated_images.decoded is None
    assert repeated_images.z.shape == (6, 3, 4, 12)


def test_with_prompt_keeps_the_images(latent: JointLatent) -> None:
    other = latent.with_prompt("b")
    assert other.z is latent.z
    assert other.captions == ("b",) * 3
    assert torch.equal(other.condition.tokens, latent.backbone.embed(["b", "b", "b"]).tokens)

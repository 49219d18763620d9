import dataclasses

import pytest
import torch
from PIL import Image

from latentedit.core.errors import CoordinateError, ShapeError
from latentedit.encoding.encode import encode
from latentedit.encoding.joint import JointLatent, denoising_losses
from latentedit.numerics.rng import draw
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone
from tests.identification.mixtures import mixture_latent
from tests.testing.gaussian_mixture import example_mixture


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


def test_losses_match_the_posterior_mean() -> None:
    """For z = m + d: x_hat - z = (k (1-s) - 1) d + k s e, k = (1-s) var / ((1-s)^2 var + s^2); e and -e cancel."""
    model, s = ColorBackbone(), 0.6
    z = 0.3 * draw((4, 3, 8, 8), seed=1, purpose="test")
    noise = draw((2, 3, 8, 8), seed=5, purpose="here")
    texts = [model.embed(["red"]), model.embed([""])]
    result = denoising_losses(model, z, texts, level=s, pairs=2, seed=5, purpose="here")
    k = (1 - s) * VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)
    for row, name in zip(result, ("red", "gray"), strict=True):
        d = z - torch.tensor(COLORS[name])[:, None, None]
        expected = (1 - k * (1 - s)) ** 2 * d.square().mean((1, 2, 3)) + (k * s) ** 2 * noise.square().mean()
        assert torch.allclose(row, expected, rtol=1e-5)


def test_losses_cost_two_evaluations_per_pair_and_do_not_depend_on_the_batch() -> None:
    model, z = ColorBackbone(), draw((3, 3, 8, 8), seed=2, purpose="test")
    with model.count() as cost:
        batch = denoising_losses(model, z, [model.embed(["red"])] * 2, level=0.5, pairs=2, seed=0, purpose="x")
    assert cost.evaluations == 2 * 2 * 3 * 2
    single = denoising_losses(model, z[:1], [model.embed(["red"])], level=0.5, pairs=2, seed=0, purpose="x")
    assert torch.allclose(batch[:1, :1], single, rtol=1e-6)

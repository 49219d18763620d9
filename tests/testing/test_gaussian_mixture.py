"""The analytic backbone passes the contract; words are log-weights; shapes are free."""

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.gaussian_mixture import TEXT_TOKENS, GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error


class TestGaussianMixture(BackboneContract):
    @pytest.fixture
    def backbone(self) -> GaussianMixtureBackbone:
        return example_mixture()


class TestGaussianMixtureInFloat32WithPictureShape(BackboneContract):
    @pytest.fixture
    def backbone(self) -> GaussianMixtureBackbone:
        return example_mixture(dimension=12, latent=(3, 2, 2), dtype=torch.float32)


def test_words_add_to_log_weights_and_the_empty_text_is_the_prior() -> None:
    backbone = example_mixture()
    weights = backbone.weights.log_weights(backbone.embed(["", "a", "a a", "a b"]))
    assert torch.allclose(weights[0].exp(), torch.full((3,), 1 / 3, dtype=torch.float64))
    odds = weights[:, 0] - weights[:, 2]
    assert odds.tolist() == pytest.approx([0, 3, 6, 3])
    assert float(weights[3, 0] - weights[3, 1]) == pytest.approx(0)


def test_the_order_of_words_does_not_matter_to_the_velocity() -> None:
    backbone = example_mixture()
    z, s = draw((1, 5), seed=0, purpose="order").double(), torch.tensor([0.5], dtype=torch.float64)
    one, other = (backbone.velocity(z, s, backbone.embed([text])) for text in ("a b", "b a"))
    assert relative_error(one, other) <= 1e-14


def test_only_leaves_one_component() -> None:
    backbone = example_mixture()
    assert backbone.weights.log_weights(backbone.only(1)).exp().tolist() == [[0, 1, 0]]


def test_ignored_words_are_named() -> None:
    backbone = example_mixture()
    notes = backbone.caption_notes(["a zebra", " ".join("b" * (TEXT_TOKENS + 1))])
    assert len(notes) == 2
    assert "zebra" in notes[0]
    assert str(TEXT_TOKENS) in notes[1]
    assert backbone.caption_notes(["a b c"]) == []


def test_latents_of_another_shape_are_the_same_numbers() -> None:
    flat, square = example_mixture(dimension=12), example_mixture(dimension=12, latent=(3, 2, 2))
    z, s = draw((2, 12), seed=0, purpose="shape").double(), torch.tensor([0.3, 0.8], dtype=torch.float64)
    v = square.velocity(z.reshape(2, 3, 2, 2), s, square.embed(["a"]))
    assert torch.equal(v.flatten(1), flat.velocity(z, s, flat.embed(["a"])))
    assert square.counterfactual(z.reshape(2, 3, 2, 2), 0, 1).shape == (2, 3, 2, 2)
    with pytest.raises(ShapeError):
        example_mixture(dimension=12, latent=(3, 2))
    with pytest.raises(ShapeError):
        square.velocity(z.reshape(2, 2, 2, 3), s, square.embed(["a"]))


def test_there_are_no_pictures() -> None:
    backbone = example_mixture()
    assert not backbone.capabilities.pixels
    with pytest.raises(ConfigError, match="latents only"):
        backbone.encode(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ConfigError, match="latents only"):
        backbone.decode(torch.zeros(1, 5))


def test_fingerprints_tell_mixtures_apart() -> None:
    assert example_mixture().fingerprint == example_mixture().fingerprint
    assert example_mixture().fingerprint != example_mixture(seed=1).fingerprint

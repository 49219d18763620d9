"""The analytic backbone passes the contract; words are log-weights; shapes are free."""

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.gaussian_mixture import TEXT_TOKENS, GaussianMixtureBackbone, example_mixture


class TestGaussianMixture(BackboneContract):
    @pytest.fixture(params=[{}, {"dimension": 12, "latent": (3, 2, 2), "dtype": torch.float32}])
    def backbone(self, request: pytest.FixtureRequest) -> GaussianMixtureBackbone:
        return example_mixture(**request.param)


def test_words_add_to_log_weights_in_any_order_and_the_empty_text_is_the_prior() -> None:
    backbone = example_mixture()
    weights = backbone.weights.log_weights(backbone.embed(["", "a", "a a", "a b", "b a"]))
    assert torch.allclose(weights[0].exp(), torch.full((3,), 1 / 3, dtype=torch.float64))
    odds = weights[:, 0] - weights[:, 2]
    assert odds.tolist() == pytest.approx([0, 3, 6, 3, 3])
    assert (weights[3:, 0] - weights[3:, 1]).tolist() == pytest.approx([0, 0])
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

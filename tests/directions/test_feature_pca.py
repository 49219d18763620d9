"""Principal components against a full decomposition, directions against a full Jacobian, samples of their seed."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, ShapeError, UnsupportedDerivativeError
from latentedit.core.rng import stream
from latentedit.core.solvers.base import level_batch
from latentedit.directions import feature_pca as feature_pca_module
from latentedit.directions.at_level import clean_share, lives_at_level
from latentedit.directions.feature_pca import FeaturePCA, feature_pca
from latentedit.latents.inversion import invert
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.networks import NetworkBackbone, network_latent


def samples_by_hand(backbone: NetworkBackbone, count: int, levels: tuple[float, ...], prompt: str) -> Tensor:
    """Features at the last level of latents that Euler carries down from the model's own start."""
    z = backbone.draw_start((count, 2, 3), generator=stream(4, "feature pca samples"))
    text = backbone.embed([prompt])
    for s, s_next in itertools.pairwise(levels):
        z = z + (s_next - s) * backbone.velocity(z, level_batch(s, z), text)
    return backbone.features(z, level_batch(levels[-1], z), text, "mid")


@pytest.fixture
def backbone() -> NetworkBackbone:
    return NetworkBackbone(hidden=9)


@pytest.mark.parametrize("count", [5, 40])
def test_components_are_those_of_a_full_decomposition(
    backbone: NetworkBackbone, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer samples than numbers, and with more."""
    monkeypatch.setattr(feature_pca_module, "ROWS", 16)
    with backbone.count() as cost:
        found = feature_pca(backbone, samples=count, components=3, level=0.55, prompt="abc", steps=10, seed=4)
        levels = (1.0, 0.9, 0.8, 0.7, 0.6, 0.55)
    assert cost.evaluations == found.evaluations == count * len(levels)
    features = samples_by_hand(backbone, count, levels, "abc")
    _, singular, right = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    assert relative_error(found.mean, features.mean(0)) < 1e-12
    assert relative_error(found.variances, singular[:3] ** 2 / (count - 1)) < 1e-9
    assert found.total_variance == pytest.approx(float(features.var(0).sum()))
    assert float(found.explained.sum()) < 1
    signs = (found.components * right[:3]).sum(1).sign()
    assert relative_error(found.components * signs[:, None], right[:3]) < 1e-7
    assert all(float(row[row.abs().argmax()]) > 0 for row in found.components)
    assert (found.site, found.level, len(found)) == ("mid", 0.55, 3)


def test_samples_are_of_their_seed_and_begin_alike(backbone: NetworkBackbone) -> None:
    first, again = (feature_pca(backbone, samples=6, components=2, level=0.9, steps=4, seed=1) for _ in range(2))
    assert torch.equal(first.components, again.components)
    other = feature_pca(backbone, samples=6, components=2, level=0.9, steps=4, seed=2)
    assert relative_error(other.components, first.components) > 1e-2


def test_the_level_is_cut_to_the_models_highest() -> None:
    backbone = NetworkBackbone(s_max=0.8)
    found = feature_pca(backbone, samples=4, components=1, level=1.0, steps=4)
    assert (found.level, found.evaluations) == (0.8, 4)


def test_a_direction_is_the_component_pulled_back(backbone: NetworkBackbone) -> None:
    found = feature_pca(backbone, samples=20, components=2, level=0.5, prompt="abc", steps=10)
    latent = network_latent(backbone, 1)
    trace = invert(latent, latent.path(10, 0.5))

    def feature(z: Tensor) -> Tensor:
        return backbone.features(z, level_batch(0.5, z), backbone.embed(["abc"]), "mid")

    jacobian = torch.autograd.functional.jacobian(feature, trace.top).reshape(9, 6)
    v = jacobian.T @ found.components[1]
    with backbone.count() as counted:
        direction = found.direction(latent, trace, 1, step=0.3)
    assert counted.evaluations == 3
    assert relative_error(direction.z.flatten() * clean_share(0.5), 0.3 * v / v.norm()) < 1e-12
    assert (direction.method, direction.level, direction.settings["steps"]) == ("feature pca", 0.5, 10)
    assert lives_at_level(direction)
    ahead = feature(trace.top + 1e-3 * direction.z) - feature(trace.top)
    assert float((ahead.flatten() * found.components[1]).sum()) > 0  # the feature grows along its component
    assert not direction.z.requires_grad


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"components": 0}, "components must be at least 1"),
        ({"samples": 5, "components": 5}, "at most 4 components of 5 samples of 9 numbers; got 5"),
        ({"samples": 64, "components": 10}, "at most 9 components"),
        ({"level": 0.0}, "level must be above 0"),
        ({"site": "mud"}, "did you mean 'mid'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    backbone: NetworkBackbone, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        feature_pca(backbone, **{"samples": 4, "components": 2, "steps": 2, **settings})  # pyright: ignore[reportArgumentType]


def known(backbone: NetworkBackbone) -> FeaturePCA:
    return feature_pca(backbone, samples=4, components=2, level=0.5, steps=4)


def test_pictures_that_do_not_fit_are_refused(backbone: NetworkBackbone) -> None:
    found, latent, two = known(backbone), network_latent(backbone, 1), network_latent(backbone, 2)
    trace = invert(latent, latent.path(4, 0.5))
    with pytest.raises(ConfigError, match="index of one of 2 components; got 2"):
        found.direction(latent, trace, 2)
    with pytest.raises(ShapeError, match="one picture; got 2"):
        found.direction(two, invert(two, two.path(4, 0.5)), 0)
    with pytest.raises(ConfigError, match=r"up to level 0.5; got one up to 0.7"):
        found.direction(latent, invert(latent, latent.path(4, 0.7)), 0)
    idle = dataclasses.replace(found, components=0 * found.components)
    with pytest.raises(ConfigError, match="number 0 is none"):
        idle.direction(latent, trace, 0)
    backbone.capabilities = dataclasses.replace(backbone.capabilities, derivatives=frozenset({"jvp"}))
    with pytest.raises(UnsupportedDerivativeError, match="network"):
        found.direction(latent, trace, 0)


def test_a_model_without_insides_has_features_of_its_output() -> None:
    mixture = example_mixture(dimension=6)
    found = feature_pca(mixture, samples=12, components=2, level=0.5, steps=6)
    assert found.site == "clean"
    assert found.components.shape == (2, 6)


def test_a_damaged_network_is_named(backbone: NetworkBackbone) -> None:
    backbone.layers.latent.fill_(torch.nan)
    with pytest.raises(ModelError, match="not finite"):
        known(backbone)

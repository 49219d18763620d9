"""The checks of the public methods; the laws are in latentedit.testing.contracts.backbone."""

import pytest
import torch

from latentedit.core.errors import CoordinateError, ShapeError
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture


@pytest.fixture
def backbone() -> GaussianMixtureBackbone:
    return example_mixture()


def test_a_level_outside_the_range_is_named(backbone: GaussianMixtureBackbone) -> None:
    z = torch.zeros(1, *backbone.latent_shape(1, 1), dtype=backbone.dtype)
    with backbone.count() as cost, pytest.raises(CoordinateError, match=r"expected levels s in \[0, 1\]"):
        backbone.velocity(z, torch.tensor([1.5], dtype=backbone.dtype), backbone.embed([""]))
    assert cost.evaluations == 0  # a refused call costs nothing


def test_levels_must_match_the_batch(backbone: GaussianMixtureBackbone) -> None:
    z = torch.zeros(2, *backbone.latent_shape(1, 1), dtype=backbone.dtype)
    with pytest.raises((ShapeError, TypeError)):  # jaxtyping, which is on in tests, sees it first
        backbone.velocity(z, torch.tensor([0.5], dtype=backbone.dtype), backbone.embed([""]))


def test_starts_have_the_stated_deviation_and_come_from_the_generator(backbone: GaussianMixtureBackbone) -> None:
    first, again = (backbone.draw_start((4000, 2), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    # 8000 numbers: standard error of the deviation is std / sqrt(2 n) = 0.8 %
    assert first.std().item() == pytest.approx(backbone.capabilities.start_std, rel=0.032)

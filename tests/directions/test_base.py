import dataclasses

import pytest
import torch

from latentedit.directions.base import Direction
from latentedit.errors import ConfigError
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture


def direction_of(mixture: GaussianMixtureBackbone) -> Direction:
    return Direction(
        z=torch.zeros(1, 2),
        condition=mixture.embed(["a"]),
        level=0.5,
        method="test",
        settings={},
        fingerprint=mixture.fingerprint,
    )


def test_a_direction_knows_its_model() -> None:
    mixture, other = example_mixture(dimension=2), example_mixture(dimension=2, seed=1)
    direction = direction_of(mixture)
    direction.check_model(mixture.name, mixture.fingerprint)
    with pytest.raises(ConfigError, match="Identify it again"):
        direction.check_model(other.name, other.fingerprint)


def test_the_length_of_a_direction_is_that_of_each_picture() -> None:
    direction = dataclasses.replace(
        direction_of(example_mixture(dimension=2)), z=torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    )
    assert direction.length.tolist() == [5, 0]
    assert direction.curvature is None
    assert direction.notes == ()

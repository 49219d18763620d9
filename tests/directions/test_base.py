import pytest
import torch

from latentedit.directions.base import Direction
from latentedit.errors import ConfigError
from latentedit.testing.gaussian_mixture import example_mixture


def test_a_direction_knows_its_model() -> None:
    mixture, other = example_mixture(dimension=2), example_mixture(dimension=2, seed=1)
    direction = Direction(
        z=torch.zeros(1, 2),
        condition=mixture.embed(["a"]),
        level=0.5,
        method="test",
        settings={},
        fingerprint=mixture.fingerprint,
    )
    direction.check_model(mixture.name, mixture.fingerprint)
    with pytest.raises(ConfigError, match="Identify it again"):
        direction.check_model(other.name, other.fingerprint)

import dataclasses

import pytest

from latentedit.encoding.joint import JointLatent
from latentedit.errors import CoordinateError, ShapeError
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=4))


def test_parts_belong_to_one_batch(latent: JointLatent) -> None:
    assert len(latent) == 3
    with pytest.raises(ShapeError, match="2 captions"):
        dataclasses.replace(latent, captions=("a", "b"))
    with pytest.raises(ShapeError, match="1 texts"):
        dataclasses.replace(latent, condition=latent.condition[:1])


def test_the_path_is_the_models_own_grid_from_a_level_down(latent: JointLatent) -> None:
    assert latent.path(4).levels == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert latent.path(4, 0.6).levels == (0.6, 0.5, 0.25, 0.0)
    assert latent.path(4, 0.5).levels == (0.5, 0.25, 0.0)
    with pytest.raises(CoordinateError, match="above 0"):
        latent.path(4, 0.0)

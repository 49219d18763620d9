"""Displacements at a level written as displacements of the clean latent, and the rule that says where they move."""

import dataclasses

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.directions.at_level import clean_share, direction_at, lives_at_level, random_direction
from latentedit.directions.composition import compose
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import identify
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def displacement(rows: int) -> Tensor:
    return torch.arange(6.0 * rows).double().reshape(rows, 6)


@pytest.mark.parametrize(("level", "share"), [(0.3, 0.7), (0.98, 0.02), (0.995, 0.01), (1.0, 0.01)])
def test_what_is_added_at_the_level_is_the_displacement(latent: JointLatent, level: float, share: float) -> None:
    assert clean_share(level) == pytest.approx(share)
    for rows in (1, 3):
        v = displacement(rows)
        found = direction_at(latent, v, level=level, method="by hand", settings={"steps": 9})
        assert relative_error(found.z * clean_share(level), v) < 1e-15
        assert (len(found), len(found.condition), len(found.source_captions)) == (rows, rows, rows)
        assert (found.level, found.method, found.settings) == (level, "by hand", {"level": level, "steps": 9})
        assert found.model_fingerprint == latent.backbone.fingerprint


def test_what_moves_no_text_and_names_steps_lives_at_its_level(latent: JointLatent) -> None:
    found = direction_at(latent, displacement(1), level=0.5, method="by hand", settings={"steps": 4})
    other = direction_at(latent, displacement(1).flip(1), level=0.5, method="by hand", settings={"steps": 6})
    assert lives_at_level(found)
    assert not lives_at_level(dataclasses.replace(found, settings={})), "a displacement of the clean latent"
    assert compose([found, other], [0.5, -0.5]).settings["steps"] == 6
    assert lives_at_level(-found)
    assert lives_at_level(compose([found, other], [0.5, -0.5]))
    worded = identify(latent, latent.backbone.embed(["c"]), HSDS(steps=2), seed=0)
    assert not lives_at_level(worded)
    assert not lives_at_level(dataclasses.replace(worded, source_captions=(), target_captions=()))


def test_random_directions_are_as_long_as_asked_and_of_their_seed(latent: JointLatent) -> None:
    found = random_direction(latent, level=0.6, steps=7, step=0.3, seed=2)
    assert float(found.length) == pytest.approx(0.3 / 0.4, rel=1e-6)
    assert (len(found), found.method, found.level, found.settings["steps"]) == (1, "random", 0.6, 7)
    assert torch.equal(found.z, random_direction(latent, level=0.6, step=0.3, seed=2).z)
    for other in ({"seed": 3}, {"seed": 2, "index": 1}):
        assert abs(float((random_direction(latent, level=0.6, step=0.3, **other).z * found.z).sum())) < 0.5
    many = torch.cat([random_direction(latent, level=0.6, seed=0, index=index).z for index in range(300)]) * 0.4
    spread = many.T @ many / len(many) * 6  # the identity, for directions that prefer none
    assert float((spread - torch.eye(6)).abs().max()) < 0.35  # 4 standard deviations of 1.1 / sqrt(300) at most


def test_levels_outside_the_range_and_other_shapes_are_refused(latent: JointLatent) -> None:
    for level in (0.0, -0.5, 1.5):
        with pytest.raises(ConfigError, match=r"level must lie in \(0, 1\]; got"):
            direction_at(latent, displacement(1), level=level, method="by hand", settings={})
    for shape in ((2, 6), (1, 5), (3, 6, 1)):
        with pytest.raises(ShapeError, match=r"latents of shape \[3, 6\]; got one of"):
            direction_at(latent, torch.zeros(shape).double(), level=0.5, method="by hand", settings={})

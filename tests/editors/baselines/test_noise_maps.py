import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.levels import LevelGrid
from latentedit.core.rng import draw
from latentedit.core.schedule import scaled_linear_schedule
from latentedit.core.solvers.stochastic import fresh_share
from latentedit.editors.baselines.noise_maps import follow_maps, noise_maps
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from latentedit.testing.vp_mixture import VariancePreservingMixture
from tests.directions.mixtures import levels_of, mixture_latent

GRID = LevelGrid(levels=(1.0, 0.75, 0.4, 0.1, 0.0))


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def test_states_are_noised_independently_and_end_at_the_picture(latent: JointLatent) -> None:
    maps = noise_maps(latent, GRID, seed=7)
    for index, s in enumerate(GRID.levels[:-1]):
        noise = draw((6,), seed=7, purpose="noise maps", index=index).double()
        assert torch.equal(maps.states[index], (1 - s) * latent.z + s * noise)
    assert maps.states[-1] is latent.z
    assert maps.steps == 4


def test_the_missed_noise_leads_from_each_state_to_the_next(latent: JointLatent) -> None:
    """The step in a model's own coordinates, alpha and sigma, arrives at the next state with the noise z_k."""
    maps = noise_maps(latent, GRID, seed=7)
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        z = maps.states[index]
        v = latent.backbone.velocity(z, levels_of(z, s), latent.condition)
        missed = maps.missed(index, v)
        norm = math.hypot(1 - s_next, s_next)
        sigma_next, kept = s_next / norm, 0.0
        if s_next > 0:
            ratio = s_next * (1 - s) / ((1 - s_next) * s)  # of noise to signal, after over before
            fresh = sigma_next * math.sqrt(1 - ratio**2)
            kept = math.sqrt(sigma_next**2 - fresh**2)
            noise = missed / fresh_share(s, s_next)
            step = (1 - s_next) / norm * (z - s * v) + kept * (z + (1 - s) * v) + fresh * noise
        else:
            step = (z - s * v) + missed
        assert relative_error(step * norm, maps.states[index + 1]) < 1e-12


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_following_without_a_difference_is_the_picture_bit_for_bit(latent: JointLatent, shift: int) -> None:
    maps = noise_maps(latent, GRID, seed=7, shift=shift)
    assert torch.equal(follow_maps(latent, maps, lambda a, b, levels: b - a, name="nothing"), latent.z)


def test_following_is_the_walk_with_the_missed_noise(latent: JointLatent) -> None:
    """``y' = mu(y, v(y, c1)) + r`` against the displacement form; the two differ by rounding."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    maps = noise_maps(latent, GRID, seed=7)

    def velocity(z: Tensor, s: Tensor, *, source: bool) -> Tensor:
        return backbone.velocity(z, s, latent.condition if source else target)

    y = maps.states[0]
    for index, s in enumerate(GRID.levels[:-1]):
        at = levels_of(y, s)
        missed = maps.missed(index, velocity(maps.states[index], at, source=True))
        y = maps.mean(index, y, velocity(y, at, source=False)) + missed
    found = follow_maps(
        latent, maps, lambda a, b, at: velocity(b, at, source=False) - velocity(a, at, source=True), name="walk"
    )
    assert relative_error(found, y) < 1e-12
    assert relative_error(found, latent.z) > 1e-2


def test_a_shifted_state_is_x_t_of_a_cleaner_time(latent: JointLatent) -> None:
    """In coordinates of alpha and sigma: noised at the next level, then divided by the scale of this one."""
    maps = noise_maps(latent, GRID, seed=7, shift=1)
    for index, (s, t) in enumerate(itertools.pairwise(GRID.levels)):
        noise = draw((6,), seed=7, purpose="noise maps", index=index).double()
        alpha, sigma = ((1 - t) / math.hypot(1 - t, t), t / math.hypot(1 - t, t))
        x_t = alpha * latent.z + sigma * noise
        assert relative_error(maps.states[index] / math.hypot(1 - s, s), x_t) < 1e-14
    past = noise_maps(latent, GRID, seed=7, shift=9)
    assert relative_error(past.states[1], math.hypot(0.25, 0.75) * latent.z) < 1e-14
    assert past.states[-1] is latent.z


def test_on_a_grid_that_ends_above_zero_the_last_step_goes_to_the_picture() -> None:
    flow = example_mixture(dimension=6)
    backbone = VariancePreservingMixture(
        mixture=flow.mixture, weights=flow.weights, schedule=scaled_linear_schedule(), prediction="epsilon"
    )
    latent = mixture_latent(backbone)
    grid = latent.path(5)
    assert grid.levels[-1] > 0
    maps = noise_maps(latent, grid, seed=0)
    assert maps.levels == (*grid.levels[:-1], 0.0)
    assert maps.states[-1] is latent.z


def test_no_level_below_the_models_lowest_is_asked_for(latent: JointLatent) -> None:
    flow = example_mixture(dimension=6)
    backbone = VariancePreservingMixture(
        mixture=flow.mixture, weights=flow.weights, schedule=scaled_linear_schedule(), prediction="epsilon"
    )
    low = mixture_latent(backbone)
    asked = list[Tensor]()

    def difference(a: Tensor, b: Tensor, levels: Tensor) -> Tensor:
        asked.append(levels)
        return b - a

    maps = noise_maps(low, LevelGrid(levels=(0.5, 0.01, 0.0)), seed=0)
    follow_maps(low, maps, difference, name="low")
    assert [float(levels[0]) for levels in asked] == pytest.approx([0.5, backbone.capabilities.s_min])

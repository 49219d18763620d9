"""Sampling and inversion over the same levels; rows 15, 19 and 20 with an independent fourth-order integrator."""

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import CoordinateError
from latentedit.core.levels import LevelGrid, shifted_grid, uniform_grid
from latentedit.core.rng import draw
from latentedit.core.solvers.base import Field, Solver, level_batch
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import integrate, invert, sample
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.models.guidance import GuidedField
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.core.solvers.test_base import every_solver


def rk4(field: Field, z: Tensor, start: float, end: float, steps: int) -> Tensor:
    """The classical fourth-order method, written here so that it shares nothing with the package's solvers."""
    h = (end - start) / steps
    for index in range(steps):
        s = start + index * h
        k1 = field(z, level_batch(s, z))
        k2 = field(z + h / 2 * k1, level_batch(s + h / 2, z))
        k3 = field(z + h / 2 * k2, level_batch(s + h / 2, z))
        k4 = field(z + h * k3, level_batch(min(max(s + h, 0.0), 1.0), z))
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return z


def latents(count: int = 4) -> Tensor:
    return draw((count, 5), seed=0, purpose="integrate").double()


def only(backbone: GaussianMixtureBackbone, component: int) -> Field:
    return GuidedField(backbone=backbone, condition=backbone.only(component))


@every_solver
def test_sampling_and_inversion_walk_the_same_levels(solver: Solver) -> None:
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]))
    grid = shifted_grid(6, 3.0)
    with backbone.count() as cost:
        down = sample(field, latents(), grid, solver)
        up = invert(field, down.final, grid, solver)
    assert down.levels == grid.levels
    assert up.levels == grid.levels[::-1]
    assert (up.levels[0], up.levels[-1]) == (down.levels[-1], down.levels[0])
    assert up.states[0] is down.final
    assert torch.equal(down.states[0], latents())
    assert len(down.states) == len(down.levels)
    assert cost.evaluations == 2 * len(latents()) * grid.steps * solver.evaluations_per_step


def test_states_are_those_of_single_steps() -> None:
    field = only(example_mixture(), 0)
    told: list[tuple[str, int, int]] = []
    walk = integrate(field, latents(), (0.9, 0.6, 0.2), MidpointSolver(), progress=lambda *what: told.append(what))
    assert told == [("integrate", 1, 2), ("integrate", 2, 2)]
    middle = MidpointSolver().step(field, latents(), 0.9, 0.6)
    assert torch.equal(walk.states[1], middle)
    assert torch.equal(walk.final, MidpointSolver().step(field, middle, 0.6, 0.2))
    walk = integrate(only(example_mixture(), 0), latents(), [0.4], EulerSolver())
    assert torch.equal(walk.final, latents())


@pytest.mark.parametrize("levels", [(), (0.2, 0.2), (0.2, 0.5, 0.4), (0.9, 0.5, 0.6)])
def test_levels_that_turn_back_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(CoordinateError):
        integrate(only(example_mixture(), 0), latents(), levels, EulerSolver())


@pytest.mark.slow
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.0, 1.0), (0.7, 0.2)])
def test_row_15_flow_map_of_one_gaussian(start: float, end: float) -> None:
    backbone = example_mixture(narrowest=0.3)
    expected = backbone.flow_map(latents(), start, end, 1)
    got = rk4(only(backbone, 1), latents(), start, end, 128)
    assert relative_error(got, expected) <= tolerance("flow_map", torch.float64)
    assert relative_error(got, backbone.flow_map(latents(), start, end, 0)) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "bound"), [(EulerSolver(), 0.2), (MidpointSolver(), 5e-3)])
def test_row_19_round_trip_of_each_solver(solver: Solver, bound: float) -> None:
    """A bound and not a decrease: Euler's round trip is O(h) only asymptotically."""
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]))
    x, grid = 0.5 * latents(), uniform_grid(100)
    there = invert(field, x, grid, solver).final
    assert relative_error(sample(field, there, grid, solver).final, x) <= bound
    wrong = GuidedField(backbone=backbone, condition=backbone.embed(["b b"]))
    assert relative_error(sample(wrong, there, grid, solver).final, x) > 2 * bound


def invert_and_sample(backbone: GaussianMixtureBackbone, x: Tensor, solver: Solver, grid: LevelGrid) -> Tensor:
    noise = invert(only(backbone, 0), x, grid, solver).final
    return sample(only(backbone, 1), noise, grid, solver).final


@pytest.mark.slow
def test_row_20_edit_by_inversion_between_different_covariances_is_the_composed_flow_map() -> None:
    backbone = example_mixture()
    x = backbone.draw_clean(backbone.only(0).repeat(4), generator=torch.Generator().manual_seed(0))
    expected = backbone.flow_map(backbone.flow_map(x, 0.0, 1.0, 0), 1.0, 0.0, 1)
    edited = invert_and_sample(backbone, x, MidpointSolver(), uniform_grid(100))
    assert relative_error(edited, expected) <= 5e-3
    assert relative_error(backbone.counterfactual(x, 0, 1), expected) > 1e-2

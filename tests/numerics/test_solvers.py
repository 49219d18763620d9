"""Laws of all solvers, convergence on mixtures, sampling and inversion, and the stochastic step against DDIM."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import CoordinateError
from latentedit.models.guidance import GuidedField
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, shifted_grid, uniform_grid
from latentedit.numerics.rng import draw
from latentedit.numerics.solvers import (
    EulerSolver,
    Field,
    MidpointSolver,
    Solver,
    fresh_share,
    integrate,
    stochastic_step,
)
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error

SOLVERS: dict[Solver, int] = {
    EulerSolver(): 1,
    MidpointSolver(): 2,
}  # a solver's order, which is also its evaluations in a step
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)


def latents(count: int = 4, dimension: int = 5) -> Tensor:
    return draw((count, dimension), seed=0, purpose="solvers").double()


class RecordingField:
    """A field that records the levels of its calls."""

    def __init__(self, field: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.field = field
        self.levels: list[float] = []

    def __call__(self, z: Tensor, s: Tensor) -> Tensor:
        assert s.shape == (len(z),)
        self.levels.append(float(s[0]))
        return self.field(z, s)


@every_solver
@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.6), (0.2, 0.9), (0.1, 0.0)])
def test_steps_evaluate_between_their_two_levels(solver: Solver, s: float, s_next: float) -> None:
    field = RecordingField(lambda z, level: z)
    solver.step(field, latents(), s, s_next)
    assert len(field.levels) == SOLVERS[solver]
    assert all(min(s, s_next) <= level <= max(s, s_next) for level in field.levels)
    assert field.levels[0] == s


@every_solver
def test_law_1_constant_fields_are_integrated_exactly(solver: Solver) -> None:
    z, v = latents(), latents().flip(0)
    assert relative_error(solver.step(lambda _z, _s: v, z, 0.9, 0.2), latents() - 0.7 * v) <= 1e-14
    assert torch.equal(z, latents())


@every_solver
def test_law_2_batch_elements_are_independent(solver: Solver) -> None:
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]))
    together = solver.step(field, latents(), 0.9, 0.5)
    alone = torch.cat([solver.step(field, z[None], 0.9, 0.5) for z in latents()])
    assert relative_error(together, alone) <= 1e-13


@pytest.fixture(scope="module")
def exact_flow() -> Tensor:
    """The result of the mixture's flow from noise to data, by SciPy's eighth-order method."""
    backbone = example_mixture(narrowest=0.3)
    condition = backbone.embed(["a"])

    def field(s: float, state: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(state).reshape(latents().shape)
        return backbone.at(z, level_batch(s, z), condition).velocity.flatten().numpy()

    start = latents().flatten().numpy()
    solution = scipy.integrate.solve_ivp(field, (1.0, 0.0), start, method="DOP853", rtol=1e-10, atol=1e-12)
    return torch.from_numpy(solution.y[:, -1]).reshape(latents().shape)


@pytest.mark.slow_except("MidpointSolver")
@every_solver
def test_order_of_convergence_on_a_mixture(solver: Solver, exact_flow: Tensor) -> None:
    """Not on a single Gaussian, where the midpoint rule has order 3."""
    backbone = example_mixture(narrowest=0.3)
    field, steps = GuidedField(backbone=backbone, condition=backbone.embed(["a"])), (32, 64, 128)
    errors = [
        relative_error(integrate(field, latents(), uniform_grid(count).levels, solver), exact_flow) for count in steps
    ]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(SOLVERS[solver], abs=0.15)


def point_field(x: Tensor):
    """For data at the single point x, the clean estimate is x, so the velocity is (z - x) / s."""
    return lambda z, s: (z - x) / s[:, None]


@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.0), (0.9, 0.1), (0.2, 1.0)])
def test_one_euler_step_is_exact_for_a_single_data_point(s: float, s_next: float) -> None:
    x, e = draw((2, 3, 5), seed=0, purpose="point").double()
    z = EulerSolver().step(point_field(x), (1 - s) * x + s * e, s, s_next)
    assert relative_error(z, (1 - s_next) * x + s_next * e) <= 1e-12


def rf_solver_step(field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
    """The published RF-Solver: a Taylor step, its second derivative a difference quotient over half the step."""
    h = s_next - s
    v = field(z, level_batch(s, z))
    v_middle = field(z + h / 2 * v, level_batch(s + h / 2, z))
    return z + h * v + h**2 / 2 * (v_middle - v) / (h / 2)


@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.7), (0.3, 0.0), (0.1, 0.6)])
def test_t4_rf_solver_is_the_midpoint_rule(s: float, s_next: float) -> None:
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["b"]))
    z = draw((4, 5), seed=0, purpose="midpoint").double()
    expected = rf_solver_step(field, z, s, s_next)
    assert relative_error(MidpointSolver().step(field, z, s, s_next), expected) <= 1e-14
    assert relative_error(EulerSolver().step(field, z, s, s_next), expected) > 1e-4


pairs = st.tuples(st.floats(0.01, 0.99), st.floats(0.0, 0.99)).filter(lambda pair: pair[1] < pair[0] - 1e-3)


def as_column(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def vp(s: float) -> tuple[float, float]:
    """Alpha and sigma of a variance-preserving model at a level."""
    norm = math.hypot(1 - s, s)
    return (1 - s) / norm, s / norm


@given(pair=pairs, eta=st.floats(0, 1), z=st.floats(-3, 3), v=st.floats(-3, 3), noise=st.floats(-3, 3))
def test_stochastic_step_is_ddim_in_model_coordinates(
    pair: tuple[float, float], eta: float, z: float, v: float, noise: float
) -> None:
    """Eta is squared; the public code of Park et al. omits the square, which is right only for eta 0 and 1."""
    (a, b), (a_next, b_next) = vp(pair[0]), vp(pair[1])
    x, e = z - pair[0] * v, z + (1 - pair[0]) * v
    variance = (1 - a**2 / a_next**2) * b_next**2 / b**2
    x_t = a_next * x + math.sqrt(max(0.0, b_next**2 - eta**2 * variance)) * e + eta * math.sqrt(variance) * noise
    result = stochastic_step(as_column(z), as_column(v), *pair, eta=eta, noise=as_column(noise))
    assert float(result) == pytest.approx(x_t / (a_next + b_next), abs=1e-7)  # a difference of nearly equal squares


@given(pair=pairs, noise=st.floats(-1e3, 1e3))
def test_stochastic_step_without_eta_is_bitwise_the_euler_step(pair: tuple[float, float], noise: float) -> None:
    z, v = draw((3, 5), seed=0, purpose="tests"), draw((3, 5), seed=1, purpose="tests")
    result = stochastic_step(z, v, *pair, eta=0.0, noise=torch.full((1, 5), noise))
    assert torch.equal(result, z + (pair[1] - pair[0]) * v)


@given(pair=pairs, eta=st.floats(0, 1))
def test_stochastic_step_keeps_the_marginal_of_a_single_data_point(pair: tuple[float, float], eta: float) -> None:
    """Noise of variance s^2 becomes noise of variance s'^2, for any eta."""
    s, s_next = pair
    x, one = 0.7, as_column(1.0)

    def step(e: float, noise: float) -> float:
        z = (1 - s) * x + s * e
        return float(stochastic_step(z * one, (e - x) * one, s, s_next, eta=eta, noise=noise * one))

    middle = step(0, 0)
    kept, fresh = step(1, 0) - middle, step(0, 1) - middle
    assert middle == pytest.approx((1 - s_next) * x, abs=1e-12)
    assert kept**2 + fresh**2 == pytest.approx(s_next**2, rel=1e-9, abs=1e-12)


def test_fresh_share_at_the_ends() -> None:
    assert fresh_share(1.0, 0.4) == 0.4
    assert fresh_share(0.5, 0.0) == 0


def start_latents() -> Tensor:
    return draw((4, 5), seed=0, purpose="integrate").double()


def component_field(backbone: GaussianMixtureBackbone, component: int) -> Field:
    return GuidedField(backbone=backbone, condition=backbone.only(component))


@every_solver
def test_sampling_and_inversion_visit_the_same_levels(solver: Solver) -> None:
    backbone = example_mixture()
    field = GuidedField(backbone=backbone, condition=backbone.embed(["a"]))
    grid = shifted_grid(6, 3.0)
    levels: list[float] = []

    def recording_field(z: Tensor, s: Tensor) -> Tensor:
        levels.append(float(s[0]))
        return field(z, s)

    with backbone.count() as cost:
        integrate(
            recording_field, integrate(recording_field, start_latents(), grid.levels, solver), grid.levels[::-1], solver
        )
    visited = [s for s in levels if s in grid.levels]
    assert visited == [*grid.levels[:-1], *grid.levels[:0:-1]]
    assert cost.evaluations == 2 * len(start_latents()) * grid.steps * SOLVERS[solver]


def test_integrate_composes_single_steps() -> None:
    field = component_field(example_mixture(), 0)
    reports: list[tuple[str, int, int]] = []
    result = integrate(
        field, start_latents(), (0.9, 0.6, 0.2), MidpointSolver(), progress=lambda *report: reports.append(report)
    )
    assert reports == [("integrate", 1, 2), ("integrate", 2, 2)]
    middle = MidpointSolver().step(field, start_latents(), 0.9, 0.6)
    assert torch.equal(result, MidpointSolver().step(field, middle, 0.6, 0.2))
    assert torch.equal(integrate(field, start_latents(), [0.4], EulerSolver()), start_latents())


@pytest.mark.parametrize("levels", [(), (0.2, 0.2), (0.2, 0.5, 0.4), (0.9, 0.5, 0.6)])
def test_levels_must_be_monotonic(levels: tuple[float, ...]) -> None:
    with pytest.raises(CoordinateError):
        integrate(component_field(example_mixture(), 0), start_latents(), levels, EulerSolver())


def test_euler_steps_with_a_flow_map_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two steps, in either direction; the midpoint rule uses the velocity."""
    backbone, plain = example_mixture(narrowest=0.3), example_mixture(narrowest=0.3)

    def velocity_or_map(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if condition.arrival is None:
            return plain.velocity(z, s, condition)
        return (plain.flow_map(z, float(s[0]), condition.arrival, 1) - z) / (condition.arrival - s[:, None])

    monkeypatch.setattr(backbone, "_velocity", velocity_or_map)
    backbone.capabilities = dataclasses.replace(plain.capabilities, flow_map=True)
    for levels in ((1.0, 0.6, 0.0), (0.0, 0.6, 1.0)):
        expected = plain.flow_map(start_latents(), levels[0], levels[-1], 1)
        assert (
            relative_error(integrate(component_field(backbone, 1), start_latents(), levels, EulerSolver()), expected)
            <= 1e-9
        )
        assert (
            relative_error(integrate(component_field(backbone, 1), start_latents(), levels, MidpointSolver()), expected)
            > 1e-3
        )

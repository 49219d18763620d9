"""Level grids and discrete schedules: published ranges, the tables of diffusers, exact inverses."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, CoordinateError
from latentedit.numerics.flow import LevelGrid, alpha_sigma_from_level, shift_level, shifted_grid, uniform_grid
from latentedit.numerics.schedule import DiscreteSchedule, scaled_linear_schedule, schedule_from_betas
from tests.numerics.inverse_maps import level_from_alpha_sigma
from tests.testing.tolerances import relative_error
from tests.testing.vp_mixture import linear_schedule

STEPS = st.integers(1, 200)
SHIFTS = st.floats(0.05, 20.0)


@pytest.mark.parametrize("levels", [(), (1.0,), (0.5, 0.5), (0.2, 0.7), (1.1, 0.0), (1.0, -0.1), (math.nan, 0.1)])
def test_levels_must_decrease_between_1_and_0(levels: tuple[float, ...]) -> None:
    with pytest.raises(CoordinateError):
        LevelGrid(levels=levels)


@given(steps=STEPS)
def test_uniform_grid_has_equal_steps_and_exact_ends(steps: int) -> None:
    grid = uniform_grid(steps, start=0.9, end=0.1)
    assert grid.steps == steps
    assert (grid.levels[0], grid.levels[-1]) == (0.9, 0.1)
    gaps = -torch.tensor(grid.levels, dtype=torch.float64).diff()
    assert torch.allclose(gaps, torch.full_like(gaps, 0.8 / steps), rtol=1e-9)


@given(s=st.floats(0, 1), shift=SHIFTS)
def test_shift_is_inverted_by_its_reciprocal_and_keeps_the_ends(s: float, shift: float) -> None:
    assert shift_level(shift_level(s, shift), 1 / shift) == pytest.approx(s, abs=1e-12)
    assert (shift_level(0.0, shift), shift_level(1.0, shift)) == (0.0, 1.0)


def test_shift_matches_the_scheduler_of_diffusers() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plain = torch.linspace(1, 0.001, 1000, dtype=torch.float64)
    ours = torch.tensor([shift_level(s, 3.0) for s in plain.tolist()], dtype=torch.float64)
    assert torch.allclose(ours, scheduler.sigmas[: len(ours)].double(), atol=1e-6)
    assert not torch.allclose(plain, scheduler.sigmas[: len(ours)].double(), atol=1e-2)


@given(steps=STEPS, level=st.floats(0.001, 1.0))
def test_below_starts_at_the_level_and_keeps_the_lower_nodes(steps: int, level: float) -> None:
    grid = uniform_grid(steps)
    lower = grid.below(level)
    assert lower.levels[0] == level
    assert lower.levels[1:] == tuple(node for node in grid.levels if node < level - 1e-9)


def test_shifted_grids_and_levels_outside_a_grid() -> None:
    assert shifted_grid(2, 3.0).levels == (1.0, 0.75, 0.0)
    with pytest.raises(ConfigError):
        uniform_grid(0)
    with pytest.raises(CoordinateError):
        uniform_grid(4, start=0.9, end=0.2).below(0.2)
    grid = uniform_grid(4, start=0.9, end=0.2)
    assert grid.below(1.0).levels == grid.levels


SCHEDULES = [linear_schedule(), scaled_linear_schedule()]
IDS = ["linear", "scaled-linear"]


def test_schedule_ranges_match_the_documentation() -> None:
    linear, scaled = linear_schedule(), scaled_linear_schedule()
    assert (linear.s_min, linear.s_max) == (pytest.approx(0.0099, abs=5e-5), pytest.approx(0.9937, abs=5e-5))
    assert (scaled.s_min, scaled.s_max) == (pytest.approx(0.028, abs=5e-4), pytest.approx(0.936, abs=5e-4))
    assert scaled.start_std == pytest.approx(0.938, abs=5e-4)
    assert 1 / (1 - linear.s_max) == pytest.approx(158, abs=1)


@pytest.mark.parametrize(("betas", "ours"), [("linear", linear_schedule), ("scaled_linear", scaled_linear_schedule)])
def test_tables_match_the_scheduler_of_diffusers(betas: str, ours: type) -> None:
    ends = {"linear": (1e-4, 0.02), "scaled_linear": (8.5e-4, 0.012)}[betas]
    stock = DDIMScheduler(beta_schedule=betas, beta_start=ends[0], beta_end=ends[1])
    loaded = DiscreteSchedule.from_alphas_cumprod(stock.alphas_cumprod)
    # The stock table is a float32 product of a thousand factors; near time 0, 1 - alpha^2 cancels.
    assert relative_error(loaded.levels, ours().levels) <= 1e-4
    alpha, sigma = stock.alphas_cumprod.double().sqrt(), (1 - stock.alphas_cumprod.double()).sqrt()
    assert relative_error(loaded.levels, level_from_alpha_sigma(alpha, sigma)) <= 1e-12


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
@given(fraction=st.floats(0, 1))
def test_time_and_level_are_inverse(schedule: DiscreteSchedule, fraction: float) -> None:
    s = torch.tensor([schedule.s_min + fraction * (schedule.s_max - schedule.s_min)], dtype=torch.float64)
    s = s.clamp(schedule.s_min, schedule.s_max)
    time = schedule.time(s)
    assert float(schedule.level(time)) == pytest.approx(float(s), rel=1e-10, abs=1e-15)
    alpha, sigma = alpha_sigma_from_level(s)
    assert float(level_from_alpha_sigma(alpha, sigma)) == pytest.approx(float(s), rel=1e-12)
    assert time.dtype == s.dtype


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_integer_times_are_the_trained_levels(schedule: DiscreteSchedule) -> None:
    times = torch.arange(schedule.times, dtype=torch.float64)
    assert relative_error(schedule.level(times), schedule.levels) <= 1e-14
    assert relative_error(schedule.time(schedule.levels), times) <= 1e-9
    assert bool((schedule.levels.diff() > 0).all())


def test_log_snr_is_interpolated_between_times() -> None:
    schedule = linear_schedule()
    middle = schedule.level(torch.tensor([499.5], dtype=torch.float64))
    expected = torch.sigmoid(-(schedule.log_snr[499] + schedule.log_snr[500]) / 4)
    assert float(middle) == pytest.approx(float(expected), rel=1e-13)
    linear = (schedule.levels[499] + schedule.levels[500]) / 2
    assert abs(float(middle - linear)) > 1e-9


@pytest.mark.parametrize("steps", [1, 2, 50, 999])
def test_grids_have_equal_time_steps_and_exact_ends(steps: int) -> None:
    schedule = scaled_linear_schedule()
    grid = schedule.grid(steps)
    assert grid.steps == steps
    assert (grid.levels[0], grid.levels[-1]) == (schedule.s_max, schedule.s_min)
    times = schedule.time(torch.tensor(grid.levels, dtype=torch.float64))
    assert torch.allclose(times.diff(), torch.full_like(times[1:], -999 / steps))


def test_invalid_schedules_are_rejected() -> None:
    schedule = linear_schedule()
    for steps in (0, 1000):
        with pytest.raises(ConfigError):
            schedule.grid(steps)
    with pytest.raises(CoordinateError):
        schedule_from_betas([0.1, 1.0])
    with pytest.raises(CoordinateError):
        DiscreteSchedule.from_alphas_cumprod(torch.tensor([0.9, 0.5, 0.0]))
    with pytest.raises(CoordinateError):
        DiscreteSchedule.from_alphas_cumprod(torch.tensor([0.5, 0.9]))

"""Grids of levels, and a model's times and levels: published ranges, the stock tables, exact inverses."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, CoordinateError
from latentedit.core.flow import LevelGrid, shift_level, shifted_grid, uniform_grid
from latentedit.core.schedule import DiscreteSchedule, linear_schedule, scaled_linear_schedule, schedule_from_betas
from latentedit.testing.tolerances import relative_error
from tests.core.inverse_maps import level_from_alpha_sigma

STEPS = st.integers(1, 200)
SHIFTS = st.floats(0.05, 20.0)


@pytest.mark.parametrize("levels", [(), (1.0,), (0.5, 0.5), (0.2, 0.7), (1.1, 0.0), (1.0, -0.1), (math.nan, 0.1)])
def test_levels_that_do_not_fall_within_the_range_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(CoordinateError):
        LevelGrid(levels=levels)


@given(steps=STEPS)
def test_uniform_grid_has_equal_steps_and_exact_ends(steps: int) -> None:
    grid = uniform_grid(steps, start=0.9, end=0.1)
    assert grid.steps == steps
    assert (grid.levels[0], grid.levels[-1]) == (0.9, 0.1)
    gaps = -grid.tensor().diff()
    assert torch.allclose(gaps, torch.full_like(gaps, 0.8 / steps), rtol=1e-9)


@given(s=st.floats(0, 1), shift=SHIFTS)
def test_shift_is_undone_by_its_inverse_and_keeps_the_ends(s: float, shift: float) -> None:
    assert shift_level(shift_level(s, shift), 1 / shift) == pytest.approx(s, abs=1e-12)
    assert (shift_level(0.0, shift), shift_level(1.0, shift)) == (0.0, 1.0)


def test_shift_is_the_one_of_the_stock_scheduler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plain = torch.linspace(1, 0.001, 1000, dtype=torch.float64)
    ours = torch.tensor([shift_level(s, 3.0) for s in plain.tolist()], dtype=torch.float64)
    assert torch.allclose(ours, scheduler.sigmas[: len(ours)].double(), atol=1e-6)
    assert not torch.allclose(plain, scheduler.sigmas[: len(ours)].double(), atol=1e-2)


@given(steps=STEPS, level=st.floats(0.001, 1.0))
def test_below_starts_exactly_at_the_level_and_keeps_the_lower_nodes(steps: int, level: float) -> None:
    grid = uniform_grid(steps)
    part = grid.below(level)
    assert part.levels[0] == level
    assert part.levels[1:] == tuple(node for node in grid.levels if node < level - 1e-9)


def test_below_and_above_the_grid() -> None:
    assert shifted_grid(2, 3.0).levels == (1.0, 0.75, 0.0)
    with pytest.raises(ConfigError):
        uniform_grid(0)
    with pytest.raises(CoordinateError):
        uniform_grid(4, start=0.9, end=0.2).below(0.2)
    grid = uniform_grid(4, start=0.9, end=0.2)
    assert grid.below(1.0).levels == grid.levels


SCHEDULES = [linear_schedule(), scaled_linear_schedule()]
IDS = ["linear", "scaled-linear"]


def test_ranges_are_those_of_the_coordinates_docstring() -> None:
    linear, scaled = linear_schedule(), scaled_linear_schedule()
    assert (linear.s_min, linear.s_max) == (pytest.approx(0.0099, abs=5e-5), pytest.approx(0.9937, abs=5e-5))
    assert (scaled.s_min, scaled.s_max) == (pytest.approx(0.028, abs=5e-4), pytest.approx(0.936, abs=5e-4))
    assert scaled.start_std == pytest.approx(0.938, abs=5e-4)
    assert 1 / (1 - linear.s_max) == pytest.approx(158, abs=1)


@pytest.mark.parametrize(("betas", "ours"), [("linear", linear_schedule), ("scaled_linear", scaled_linear_schedule)])
def test_tables_are_those_of_the_stock_scheduler(betas: str, ours: type) -> None:
    ends = {"linear": (1e-4, 0.02), "scaled_linear": (8.5e-4, 0.012)}[betas]
    stock = DDIMScheduler(beta_schedule=betas, beta_start=ends[0], beta_end=ends[1])
    read = DiscreteSchedule.from_alphas_cumprod(stock.alphas_cumprod)
    # The stock table is a float32 product of a thousand factors; near time 0 it cancels in 1 - alpha^2.
    assert relative_error(read.levels, ours().levels) <= 1e-4
    alpha, sigma = stock.alphas_cumprod.double().sqrt(), (1 - stock.alphas_cumprod.double()).sqrt()
    assert relative_error(read.levels, level_from_alpha_sigma(alpha, sigma)) <= 1e-12


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
@given(part=st.floats(0, 1))
def test_laws_time_and_level_are_inverse_and_scales_fit(schedule: DiscreteSchedule, part: float) -> None:
    s = torch.tensor([schedule.s_min + part * (schedule.s_max - schedule.s_min)], dtype=torch.float64)
    s = s.clamp(schedule.s_min, schedule.s_max)
    time = schedule.time(s)
    assert float(schedule.level(time)) == pytest.approx(float(s), rel=1e-10, abs=1e-15)
    alpha, sigma = schedule.alpha_sigma(s)
    assert float(level_from_alpha_sigma(alpha, sigma)) == pytest.approx(float(s), rel=1e-12)
    assert time.dtype == s.dtype


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_whole_times_are_the_trained_levels(schedule: DiscreteSchedule) -> None:
    times = torch.arange(schedule.times, dtype=torch.float64)
    assert relative_error(schedule.level(times), schedule.levels) <= 1e-14
    assert relative_error(schedule.time(schedule.levels), times) <= 1e-9
    assert bool((schedule.levels.diff() > 0).all())


def test_between_times_log_snr_is_interpolated() -> None:
    schedule = linear_schedule()
    middle = schedule.level(torch.tensor([499.5], dtype=torch.float64))
    expected = torch.sigmoid(-(schedule.log_snr[499] + schedule.log_snr[500]) / 4)
    assert float(middle) == pytest.approx(float(expected), rel=1e-13)
    linear = (schedule.levels[499] + schedule.levels[500]) / 2
    assert abs(float(middle - linear)) > 1e-9


@pytest.mark.parametrize("steps", [1, 2, 50, 999])
def test_grids_reach_from_end_to_end_in_equal_times(steps: int) -> None:
    schedule = scaled_linear_schedule()
    grid = schedule.grid(steps)
    assert grid.steps == steps
    assert (grid.levels[0], grid.levels[-1]) == (schedule.s_max, schedule.s_min)
    times = schedule.time(grid.tensor())
    assert torch.allclose(times.diff(), torch.full_like(times[1:], -999 / steps))


def test_what_cannot_be_is_refused() -> None:
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

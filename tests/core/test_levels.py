"""Grids fall, cover what was asked for, and can be entered at any level."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import CoordinateError
from latentedit.core.levels import LevelGrid, shift_level, shifted_grid, uniform_grid

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
    with pytest.raises(CoordinateError):
        uniform_grid(0)
    with pytest.raises(CoordinateError):
        uniform_grid(4, start=0.9, end=0.2).below(0.2)
    grid = uniform_grid(4, start=0.9, end=0.2)
    assert grid.below(1.0).levels == grid.levels

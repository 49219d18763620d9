"""Leakage at equal effect, and how the effect follows the strength."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from latentedit_bench.metrics.matched import leakage_at, linearity, matched_error

Path = tuple[Float[np.ndarray, "1 k"], Float[np.ndarray, "1 k"]]


def path(*points: tuple[float, float]) -> Path:
    """One image's effects and leakages."""
    table = np.array(points, dtype=np.float64)
    return table[None, :, 0], table[None, :, 1]


numbers = st.integers(-40, 60).map(lambda value: value / 20)
points = st.lists(st.tuples(numbers, numbers.map(abs)), min_size=1, max_size=7)
rising = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=7).map(
    lambda steps: [(float(e), float(b)) for e, b in np.cumsum(np.array(steps) / 10, axis=0)]
)
wanted_effects = st.integers(1, 40).map(lambda value: value / 20)


def test_the_first_crossing_counts_and_shorter_paths_are_scaled_from_their_best_point() -> None:
    effects, leakages = path((1.0, 0.2), (0.5, 3.0), (2.0, 5.0))
    assert leakage_at(effects, leakages, 0.75)[0].item() == pytest.approx(0.15, rel=1e-12)
    assert leakage_at(effects, leakages, 1.5)[0].item() == pytest.approx(5 - 2 / 3, rel=1e-12)
    assert leakage_at(*path((0.3, 0.1), (0.5, 0.2), (0.1, 4.0)), 1.0) == (pytest.approx(0.4, rel=1e-12), False)


@pytest.mark.parametrize("effect", [0.05, 0.01, 0.0, -2.0])
def test_a_path_without_effect_leaks_infinitely(effect: float) -> None:
    found, reached = leakage_at(*path((effect, 0.0), (-1.0, 0.3)), 1.0)
    assert (math.isinf(found.item()), reached.item()) == (True, False)
    assert matched_error(*path((effect, 0.0))).item() == 1
    assert math.isfinite(leakage_at(*path((0.051, 0.1)), 1.0)[0].item())
    assert leakage_at(*path((0.04, 0.2)), 0.02) == (pytest.approx(0.1), True), "a small effect that was reached"


@given(rising, wanted_effects)
def test_on_rising_paths_it_is_numpys_interpolation(steps: list[tuple[float, float]], wanted: float) -> None:
    effects, leakages = path(*steps)
    found, reached = leakage_at(effects, leakages, wanted)
    assert reached.item() == (effects.max() >= wanted)
    if reached.item():
        expected = np.interp(wanted, [0, *effects[0]], [0, *leakages[0]])
    else:
        expected = leakages[0, -1] * wanted / effects[0, -1]
    # the interpolation divides differences of a tenth and more: 1e-15 and a factor of 10
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-13)


@given(points, points, wanted_effects)
def test_the_matched_error_follows_its_formula_for_each_image(
    first: list[tuple[float, float]], second: list[tuple[float, float]], wanted: float
) -> None:
    count = min(len(first), len(second))
    pair = [path(*steps[:count]) for steps in (first, second)]
    effects, leakages = (np.concatenate(parts) for parts in zip(*pair, strict=True))
    found = matched_error(effects, leakages, wanted)
    for error, alone in zip(found, pair, strict=True):
        leakage = leakage_at(*alone, wanted)[0].item()
        expected = 1.0 if math.isinf(leakage) else min(1, (1 - wanted) ** 2 + leakage**2)
        assert error == pytest.approx(expected, rel=1e-12)


def test_a_path_with_an_unknown_point_is_nan_and_not_reached() -> None:
    effects, leakages = np.array([[math.nan, 1.0], [0.5, 1.0]]), np.array([[0.1, 0.2], [0.1, 0.2]])
    found, reached = leakage_at(effects, leakages, 1.0)
    assert math.isnan(found[0])
    assert reached.tolist() == [False, True]
    assert np.isnan(matched_error(effects, leakages)).tolist() == [True, False]


def test_linearity_is_what_least_squares_explain() -> None:
    strengths = torch.tensor([-1.0, -0.5, 0.3, 1.0, 2.0], dtype=torch.float64)
    effects = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    effects[0] = -3 * strengths
    found = linearity(effects.numpy(), strengths.numpy()).tolist()
    assert found[0] == pytest.approx(1, rel=1e-14)
    for row, one in zip(effects.numpy(), found, strict=True):
        _, left, _, _ = np.linalg.lstsq(strengths.numpy()[:, None], row, rcond=None)
        assert one == pytest.approx(1 - left.item() / (row @ row), rel=1e-10)
    assert np.isnan(linearity(0 * effects.numpy(), strengths.numpy())).all(), "without an effect nothing is defined"

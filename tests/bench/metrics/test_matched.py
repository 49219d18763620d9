"""Leakage at equal effect, and how the effect follows the strength."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from scipy.stats import spearmanr

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.matched import _paths, leakage_at, matched_error
from latentedit_bench.metrics.strength_curve import _checked, linearity, monotonicity
from tests.bench.metrics.constructed import noise

Path = tuple[Float[np.ndarray, "1 k"], Float[np.ndarray, "1 k"]]


def path(*points: tuple[float, float]) -> Path:
    """One picture's effects and leakages."""
    table = np.array(points, dtype=np.float64)
    return table[None, :, 0], table[None, :, 1]


numbers = st.integers(-40, 60).map(lambda value: value / 20)
points = st.lists(st.tuples(numbers, numbers.map(abs)), min_size=1, max_size=7)
rising = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=7).map(
    lambda steps: [(float(e), float(b)) for e, b in np.cumsum(np.array(steps) / 10, axis=0)]
)
wanted_effects = st.integers(1, 40).map(lambda value: value / 20)


def test_the_first_crossing_counts() -> None:
    effects, leakages = path((1.0, 0.2), (0.5, 3.0), (2.0, 5.0))
    assert leakage_at(effects, leakages, 0.75)[0].item() == pytest.approx(0.15, rel=1e-12)
    assert leakage_at(effects, leakages, 1.5)[0].item() == pytest.approx(5 - 2 / 3, rel=1e-12)


def test_a_path_that_does_not_get_there_is_scaled_from_its_best_point_and_flagged() -> None:
    effects, leakages = path((0.3, 0.1), (0.5, 0.2), (0.1, 4.0))
    found, reached = leakage_at(effects, leakages, 1.0)
    assert found.item() == pytest.approx(0.4, rel=1e-12)
    assert not reached.item()


@pytest.mark.parametrize("effect", [0.05, 0.01, 0.0, -2.0])
def test_a_path_without_effect_leaks_infinitely(effect: float) -> None:
    found, reached = leakage_at(*path((effect, 0.0), (-1.0, 0.3)), 1.0)
    assert math.isinf(found.item())
    assert not reached.item()
    assert matched_error(*path((effect, 0.0))).item() == 1
    assert math.isfinite(leakage_at(*path((0.051, 0.1)), 1.0)[0].item())
    assert leakage_at(*path((0.04, 0.2)), 0.02) == (pytest.approx(0.1), True), "one that was reached, however small"


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


@given(points, wanted_effects)
def test_the_matched_error_is_bounded_and_its_formula(steps: list[tuple[float, float]], wanted: float) -> None:
    found = matched_error(*path(*steps), wanted).item()
    leak = leakage_at(*path(*steps), wanted)[0].item()
    assert 0 <= found <= 1
    assert found == (1.0 if math.isinf(leak) else pytest.approx(min(1, (1 - wanted) ** 2 + leak**2), rel=1e-12))


@pytest.mark.slow
@given(points, points)
def test_pictures_do_not_see_each_other(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> None:
    count = min(len(first), len(second))
    pair = [path(*steps[:count]) for steps in (first, second)]
    effects, leakages = (np.concatenate(parts) for parts in zip(*pair, strict=True))
    expected = [matched_error(*single).item() for single in pair]
    assert matched_error(effects, leakages).tolist() == pytest.approx(expected, rel=1e-14)


def test_a_path_that_is_not_known_is_nan_and_not_reached() -> None:
    effects, leakages = np.array([[math.nan, 1.0], [0.5, 1.0]]), np.array([[0.1, 0.2], [0.1, 0.2]])
    found, reached = leakage_at(effects, leakages, 1.0)
    assert math.isnan(found[0])
    assert reached.tolist() == [False, True]
    assert np.isnan(matched_error(effects, leakages)).tolist() == [True, False]


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a leakage is -0\.1"):
        leakage_at(*path((1.0, -0.1)), 1.0)
    for wanted in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match=r"^wanted must be"):
            matched_error(*path((1.0, 0.1)), wanted)
    for effects, leakages in [((2, 3), (2, 2)), ((3,), (3,)), ((2, 0), (2, 0))]:
        with pytest.raises(ShapeError, match="Give both as"):
            _paths(np.zeros(effects), np.zeros(leakages))


STRENGTHS = torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64)

tables = st.lists(st.integers(-5, 5), min_size=4, max_size=4)


@pytest.mark.parametrize("slope", [1.0, 0.01, -3.0])
def test_a_multiple_of_the_strength_is_linear(slope: float) -> None:
    assert linearity(slope * STRENGTHS[None], STRENGTHS).item() == pytest.approx(1, rel=1e-14)
    assert monotonicity(slope * STRENGTHS[None], STRENGTHS).item() == pytest.approx(math.copysign(1, slope), rel=1e-14)


def test_linearity_is_what_least_squares_explain() -> None:
    strengths = torch.tensor([-1.0, -0.5, 0.3, 1.0, 2.0], dtype=torch.float64)
    effects = noise(6, 5)
    for row, found in zip(effects.numpy(), linearity(effects, strengths).tolist(), strict=True):
        _, left, _, _ = np.linalg.lstsq(strengths.numpy()[:, None], row, rcond=None)
        assert found == pytest.approx(1 - left.item() / (row @ row), rel=1e-10)


@given(tables)
def test_monotonicity_is_scipys(row: list[int]) -> None:
    """Few whole numbers, so that there are many ties."""
    found = monotonicity(torch.tensor([row], dtype=torch.float64), STRENGTHS).item()
    if len(set(row)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(row, STRENGTHS.numpy()).statistic, abs=1e-12)


@given(tables, st.permutations(range(4)))
def test_the_order_of_the_strengths_does_not_matter(row: list[int], order: list[int]) -> None:
    effects = torch.tensor([row], dtype=torch.float64)
    for measure in (linearity, monotonicity):
        found = measure(effects[:, order], STRENGTHS[order])
        torch.testing.assert_close(found, measure(effects, STRENGTHS), rtol=1e-12, atol=1e-12, equal_nan=True)


def test_no_effect_is_undefined() -> None:
    for measure in (linearity, monotonicity):
        assert measure(torch.zeros(2, 4), STRENGTHS).isnan().all()


def test_what_is_no_curve_is_refused() -> None:
    for measure in (linearity, monotonicity):
        with pytest.raises(ConfigError, match=r"all strengths are 0\.5"):
            measure(torch.ones(1, 3), torch.full((3,), 0.5))
        with pytest.raises(ConfigError, match="not finite"):
            measure(torch.tensor([[1.0, math.nan]]), torch.tensor([1.0, 2.0]))
    for effects, strengths in [((2, 3), (2,)), ((2, 1), (1,)), ((3,), (3,))]:
        with pytest.raises(ShapeError, match="do not fit strengths"):
            _checked(torch.zeros(effects), torch.zeros(strengths))

"""The effect curve against independent fits, and its laws for any measurements."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.editors.strength import EffectCurve, effect_along
from latentedit.numerics.rng import draw

SHARE = st.floats(0, 1)
EFFECTS = st.lists(st.floats(-3, 3), min_size=2, max_size=9)
"""Any measurements: noise, flat stretches, decreasing values, gaps of one rounding."""

COARSE = st.lists(st.integers(-30, 30).map(lambda count: count / 10), min_size=2, max_size=9)
"""The same in tenths, so that different levels of the fit, means of up to nine, differ by 0.001 and more."""


def curve(effects: list[float], scales: list[float] | None = None) -> EffectCurve:
    """Effects of one image, by default at -1, -0.7, -0.4, ..."""
    positions = scales or [-1 + 0.3 * index for index in range(len(effects))]
    return EffectCurve(scales=tuple(positions), effects=torch.tensor(effects, dtype=torch.float64)[:, None])


def monotone(effects: list[float]) -> np.ndarray:
    """Isotonic regression by the min-max formula, ``max_{j <= i} min_{k >= i} mean(y_j ... y_k)``."""
    y, n = np.asarray(effects), len(effects)
    lowest = [[min(y[j : k + 1].mean() for k in range(i, n)) for j in range(i + 1)] for i in range(n)]
    return np.array([max(row) for row in lowest])


def blocks(effects: list[float], scales: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The levels of the fit, and the mean scale of each."""
    fit, middles, levels = monotone(effects), list[float](), list[float]()
    start = 0
    for index in range(1, len(fit) + 1):
        if index == len(fit) or fit[index] - fit[index - 1] > 1e-9:
            levels.append(float(fit[start:index].mean()))
            middles.append(float(np.mean(scales[start:index])))
            start = index
    return np.array(levels), np.array(middles)


def scalar(values: Tensor) -> float:
    assert values.shape == (1,)
    assert values.dtype == torch.float64
    return float(values[0])


@given(EFFECTS, SHARE, SHARE)
def test_law_1_scale_and_effect_never_decrease(effects: list[float], first: float, second: float) -> None:
    found, (low, high) = curve(effects), sorted((first, second))
    strengths = [-4 + 8 * share for share in (low, high)]
    assert scalar(found.scale(strengths[0])) <= scalar(found.scale(strengths[1]))
    scales = [-2 + 5 * share for share in (low, high)]
    assert scalar(found.effect(scales[0])) <= scalar(found.effect(scales[1]))


@given(COARSE)
def test_the_fit_is_an_isotonic_regression(effects: list[float]) -> None:
    found = curve(effects)
    levels, middles = blocks(effects, found.scales)
    assert found.scales[0] <= middles[0] <= middles[-1] <= found.scales[-1]
    if len(levels) > 1:
        for level, middle in zip(levels, middles, strict=True):
            assert scalar(found.scale(float(level))) == pytest.approx(middle, abs=1e-6)
            assert scalar(found.effect(float(middle))) == pytest.approx(level, abs=1e-6)


@given(COARSE.filter(lambda effects: len(set(monotone(effects).round(9))) > 1), SHARE)
def test_the_interpolation_is_scipys_monotone_cubic(effects: list[float], share: float) -> None:
    """Evaluated on a dense grid of effects, so that the effect of a scale lies between two of its nodes."""
    found = curve(effects)
    levels, middles = blocks(effects, found.scales)
    grid = np.linspace(levels[0], levels[-1], 2001)
    table = PchipInterpolator(levels, middles)(grid)
    level = levels[0] + share * (levels[-1] - levels[0])
    assert scalar(found.scale(float(level))) == pytest.approx(
        float(PchipInterpolator(levels, middles)(level)), abs=1e-6
    )
    scale = middles[0] + share * (middles[-1] - middles[0])
    above = int(np.clip(np.searchsorted(table, scale), 1, 2000))
    assert grid[above - 1] - 1e-6 <= scalar(found.effect(float(scale))) <= grid[above] + 1e-6


def test_a_flat_stretch_maps_to_its_middle() -> None:
    """Values beyond the measured range are clamped to its ends."""
    found = curve([0.0, 0.5, 0.5, 0.5, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    assert scalar(found.scale(0.5)) == pytest.approx(2.0, abs=1e-12)
    assert scalar(found.effect(2.0)) == pytest.approx(0.5, abs=1e-12)
    start = curve([0.0, 0.0, 1.0], [0.0, 1.0, 2.0])
    assert scalar(start.scale(0.0)) == 0.5
    assert scalar(start.effect(0.0)) == pytest.approx(0.0, abs=1e-15)
    assert [scalar(found.scale(effect)) for effect in (-9.0, 9.0)] == [0.0, 4.0]
    assert [scalar(found.effect(scale)) for scale in (-9.0, 9.0)] == pytest.approx([0.0, 1.0], abs=1e-12)
    # just above the lowest scale, rounding moves the roots of the cubic out of the range
    effects = [1e-6, 1.6583091520627118, 0.0, -0.8989781854559433, 1.3822819980325542, 1.3822819980325542]
    steep = curve([*effects, 1.635155029925547, 1.635155029925547, -0.96875, 0.0], [-1 + 0.25 * k for k in range(10)])
    assert scalar(steep.effect(-0.9999999999999997)) == pytest.approx(1e-6, abs=1e-9)


@pytest.mark.parametrize("effects", [[0.7, 0.7, 0.7], [0.8, 0.7, 0.6], [0.7, 0.7 + 1e-16, 0.7]])
def test_without_an_increase_strength_equals_scale(effects: list[float]) -> None:
    """Decreasing effects are fitted by their mean."""
    found = curve(effects)
    assert scalar(found.scale(0.4)) == 0.4
    assert scalar(found.effect(-0.4)) == pytest.approx(0.7, abs=1e-15)


def test_every_image_has_its_own_curve() -> None:
    effects = torch.tensor([[0.0, 0.0], [0.5, 2.0], [1.0, 4.0]], dtype=torch.float32)
    found = EffectCurve(scales=(0.0, 1.0, 2.0), effects=effects)
    assert found.scale(1.0).tolist() == pytest.approx([2.0, 0.5])
    assert found.scale(torch.tensor([0.5, 4.0])).tolist() == pytest.approx([1.0, 2.0])
    assert found.effect(torch.tensor([2.0, 0.5])).tolist() == pytest.approx([1.0, 1.0])


def test_nonincreasing_scales_and_mismatched_effects_are_rejected() -> None:
    for scales in ((1.0,), (0.0, 0.0), (1.0, 0.0), (0.0, float("nan"))):
        with pytest.raises(ConfigError):
            EffectCurve(scales=scales, effects=torch.zeros(len(scales), 1))
    with pytest.raises(ShapeError):
        EffectCurve(scales=(0.0, 1.0), effects=torch.zeros(3, 1))


@given(st.integers(0, 50), st.floats(-5, 5), st.floats(-5, 5))
def test_effects_are_projections_in_units_of_the_whole_change(seed: int, along: float, across: float) -> None:
    """``a u + b w`` with w orthogonal to u has effect a, whatever b is."""
    whole, other = draw((2, 3, 2, 4), seed=seed, purpose="effect").to(torch.float64)
    flat = whole.flatten(1)
    share = (other.flatten(1) * flat).sum(1) / flat.square().sum(1)
    orthogonal = other - share[:, None, None] * whole
    found = effect_along((along * whole + across * orthogonal)[None], whole)
    assert found.shape == (1, 3)
    assert torch.allclose(found, torch.full((1, 3), along, dtype=torch.float64), atol=1e-12)


def test_the_whole_change_has_effect_one_and_no_change_has_none() -> None:
    whole = draw((2, 5), seed=0, purpose="effect")
    whole[1] = 0  # an image in which nothing moves
    found = effect_along(torch.stack([whole, torch.zeros_like(whole), -2 * whole]), whole)
    assert found.dtype == torch.float64
    assert torch.equal(found, torch.tensor([[1, 0], [0, 0], [-2, 0]], dtype=torch.float64))

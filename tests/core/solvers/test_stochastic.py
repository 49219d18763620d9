"""The stochastic step against DDIM in a model's own coordinates, and the variances that it leaves."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers.stochastic import fresh_share, stochastic_step

pairs = st.tuples(st.floats(0.01, 0.99), st.floats(0.0, 0.99)).filter(lambda pair: pair[1] < pair[0] - 1e-3)


def column(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def vp(s: float) -> tuple[float, float]:
    """Alpha and sigma of the variance-preserving model at a level."""
    norm = math.hypot(1 - s, s)
    return (1 - s) / norm, s / norm


@given(pair=pairs, eta=st.floats(0, 1), z=st.floats(-3, 3), v=st.floats(-3, 3), noise=st.floats(-3, 3))
def test_it_is_ddim_in_the_models_own_coordinates(
    pair: tuple[float, float], eta: float, z: float, v: float, noise: float
) -> None:
    """With eta squared, where the public code of Park et al. forgot the square; equal for eta 0 and 1 only."""
    (a, b), (a_next, b_next) = vp(pair[0]), vp(pair[1])
    x, e = z - pair[0] * v, z + (1 - pair[0]) * v
    variance = (1 - a**2 / a_next**2) * b_next**2 / b**2
    x_t = a_next * x + math.sqrt(max(0.0, b_next**2 - eta**2 * variance)) * e + eta * math.sqrt(variance) * noise
    found = stochastic_step(column(z), column(v), *pair, eta=eta, noise=column(noise))
    assert float(found) == pytest.approx(x_t / (a_next + b_next), abs=1e-7)  # a difference of nearly equal squares


@given(pair=pairs, noise=st.floats(-1e3, 1e3))
def test_without_eta_it_is_the_euler_step_bit_for_bit(pair: tuple[float, float], noise: float) -> None:
    z, v = draw((3, 5), seed=0, purpose="tests"), draw((3, 5), seed=1, purpose="tests")
    found = stochastic_step(z, v, *pair, eta=0.0, noise=torch.full((1, 5), noise))
    assert torch.equal(found, z + (pair[1] - pair[0]) * v)


@given(pair=pairs, eta=st.floats(0, 1))
def test_a_point_keeps_its_marginal_whatever_eta(pair: tuple[float, float], eta: float) -> None:
    """The estimates of a single point x are exact: noise of variance s^2 becomes noise of variance s'^2."""
    s, s_next = pair
    x, one = 0.7, column(1.0)

    def step(e: float, noise: float) -> float:
        z = (1 - s) * x + s * e
        return float(stochastic_step(z * one, (e - x) * one, s, s_next, eta=eta, noise=noise * one))

    middle = step(0, 0)
    kept, fresh = step(1, 0) - middle, step(0, 1) - middle
    assert middle == pytest.approx((1 - s_next) * x, abs=1e-12)
    assert kept**2 + fresh**2 == pytest.approx(s_next**2, rel=1e-9, abs=1e-12)


def test_at_the_ends() -> None:
    assert fresh_share(1.0, 0.4) == 0.4
    assert fresh_share(0.5, 0.0) == 0

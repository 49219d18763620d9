"""Exact maps between coordinates, predictions and levels, and the DDIM step of diffusers."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.numerics import flow as coordinates
from latentedit.numerics.flow import Prediction
from latentedit.numerics.rng import draw
from tests.numerics.inverse_maps import canonical_from_model, level_from_alpha_sigma, prediction_from_velocity
from tests.testing.tolerances import relative_error, tolerance

DTYPES = [torch.float64, torch.float32]
KINDS: list[Prediction] = ["epsilon", "score", "v_prediction", "sample", "flow"]
LEVELS = st.floats(0.001, 0.999)


def noise(purpose: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return draw((6, 3, 4), seed=1, purpose=purpose).to(dtype)


def alphas_and_sigmas(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    angle = torch.linspace(0.05, math.pi / 2 - 0.05, 6, dtype=torch.float64)
    return angle.cos().to(dtype), angle.sin().to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_latents_round_trip_through_canonical_coordinates(dtype: torch.dtype) -> None:
    alpha, sigma = alphas_and_sigmas(dtype)
    x_t = noise("x_t", dtype)
    z = canonical_from_model(x_t, alpha, sigma)
    restored = coordinates.model_from_canonical(z, alpha, sigma)
    assert restored.dtype == dtype
    assert relative_error(restored, x_t) <= tolerance("coordinates", dtype)
    assert relative_error(z, x_t) > 1e-2


@given(level=LEVELS)
def test_levels_scales_and_log_snr_agree(level: float) -> None:
    s = torch.tensor([level], dtype=torch.float64)
    alpha, sigma = coordinates.alpha_sigma_from_level(s)
    rtol = tolerance("coordinates", torch.float64)
    assert float(alpha**2 + sigma**2) == pytest.approx(1, rel=rtol)
    assert relative_error(level_from_alpha_sigma(alpha, sigma), s) <= rtol
    log_snr = torch.log(alpha**2 / sigma**2)
    assert float(coordinates.log_snr_from_level(s)) == pytest.approx(float(log_snr), abs=1e-11)
    assert relative_error(coordinates.level_from_log_snr(log_snr), s) <= rtol
    assert float(s) == pytest.approx(1 / (1 + math.exp(float(log_snr) / 2)), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_round_trip_through_the_velocity(kind: Prediction, dtype: torch.dtype) -> None:
    alpha, sigma = alphas_and_sigmas(dtype)
    a, b = alpha[:, None, None], sigma[:, None, None]
    x, e = noise("x", dtype), noise("e", dtype)
    x_t = a * x + b * e
    outputs = {"epsilon": e, "score": -e / b, "v_prediction": a * e - b * x, "sample": x, "flow": e - x}
    v = coordinates.velocity_from_prediction(kind, outputs[kind], x_t, alpha, sigma)
    # Near the ends, 1 / alpha or 1 / sigma amplifies the rounding of x_t; the angles stay 0.05 away from them.
    rtol = 20 * tolerance("prediction", dtype)
    assert relative_error(v, e - x) <= rtol
    z = canonical_from_model(x_t, alpha, sigma)
    assert relative_error(prediction_from_velocity(kind, v, z, alpha, sigma), outputs[kind]) <= rtol
    others = [name for name in KINDS if name != kind]
    wrong = [coordinates.velocity_from_prediction(name, outputs[kind], x_t, alpha, sigma) for name in others]
    assert all(relative_error(other, e - x) > 0.1 for other in wrong)


PROCESSES = {
    # Alpha and sigma of a time, and the time of a level; docs/tutorials/add-a-model.md has the same formulas.
    "VP, constant rate": (
        lambda t: ((-t / 2).exp(), (1 - (-t).exp()).sqrt()),
        lambda s: -2 * coordinates.alpha_sigma_from_level(s)[0].log(),
    ),
    "VP, linear rate": (
        lambda t: ((-(19.9 * t**2 / 4 + 0.1 * t / 2)).exp(), (1 - (-(19.9 * t**2 / 2 + 0.1 * t)).exp()).sqrt()),
        lambda s: (-0.1 + (0.1**2 - 4 * 19.9 * coordinates.alpha_sigma_from_level(s)[0].log()).sqrt()) / 19.9,
    ),
    "EDM": (lambda sigma: (torch.ones_like(sigma), sigma), lambda s: s / (1 - s)),
    "flow, reversed": (lambda t: (t, 1 - t), lambda s: 1 - s),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSES)
def test_every_prediction_at_every_time_is_the_velocity_of_a_gaussian(process: str, kind: Prediction) -> None:
    """Data ``N(m, c)``: ``v = (s - (1 - s) c) (z - (1 - s) m) / ((1 - s)^2 c + s^2) - m``, and the network is exact."""
    m, c, s = 0.7, 0.3, torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    scales, time = PROCESSES[process]
    alpha, sigma = scales(time(s))
    a, b, level = alpha[:, None, None], sigma[:, None, None], s[:, None, None]
    z = noise("z")
    x_t = coordinates.model_from_canonical(z, alpha, sigma)
    clean = m + a * c * (x_t - a * m) / (a**2 * c + b**2)
    e = (x_t - a * clean) / b
    answers = {"epsilon": e, "score": -(x_t - a * m) / (a**2 * c + b**2), "v_prediction": a * e - b * clean}
    answers |= {"sample": clean, "flow": e - clean}
    v = coordinates.velocity_from_prediction(kind, answers[kind], x_t, alpha, sigma)
    expected = (level - (1 - level) * c) * (z - (1 - level) * m) / ((1 - level) ** 2 * c + level**2) - m
    assert relative_error(v, expected) < 1e-12


def test_half_precision_is_computed_in_float32() -> None:
    alpha, sigma = alphas_and_sigmas(torch.float32)
    x_t, output = noise("x_t", torch.bfloat16), noise("output", torch.bfloat16)
    v = coordinates.velocity_from_prediction("epsilon", output, x_t, alpha, sigma)
    expected = coordinates.velocity_from_prediction("epsilon", output.float(), x_t.float(), alpha, sigma)
    assert v.dtype == torch.bfloat16
    assert torch.equal(v, expected.to(torch.bfloat16))


def ddim_step(scheduler: DDIMScheduler, kind: Prediction, dtype: torch.dtype, time: int) -> tuple[Tensor, Tensor]:
    """Our Euler step and the DDIM step of diffusers, both in model coordinates."""
    table = scheduler.alphas_cumprod
    alpha_bar, alpha_bar_next = (
        table[time],
        table[time - scheduler.config.num_train_timesteps // scheduler.num_inference_steps],
    )
    alpha, sigma, alpha_next, sigma_next = (
        value.sqrt().to(dtype).expand(6) for value in (alpha_bar, 1 - alpha_bar, alpha_bar_next, 1 - alpha_bar_next)
    )
    x_t, output = noise("x_t", dtype), noise("output", dtype)
    stock = scheduler.step(output, time, x_t, eta=0.0).prev_sample
    z = canonical_from_model(x_t, alpha, sigma)
    v = coordinates.velocity_from_prediction(kind, output, x_t, alpha, sigma)
    s = level_from_alpha_sigma(alpha, sigma)
    s_next = level_from_alpha_sigma(alpha_next, sigma_next)
    ours = coordinates.model_from_canonical(z + (s_next - s)[:, None, None] * v, alpha_next, sigma_next)
    return ours, stock


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_euler_step_matches_the_ddim_scheduler(kind: Prediction, dtype: torch.dtype) -> None:
    scheduler = DDIMScheduler(clip_sample=False, prediction_type=kind, set_alpha_to_one=False)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    scheduler.set_timesteps(10)
    for time in scheduler.timesteps.tolist()[:-1]:
        ours, stock = ddim_step(scheduler, kind, dtype, time)
        assert relative_error(ours, stock) <= tolerance("ddim", dtype)

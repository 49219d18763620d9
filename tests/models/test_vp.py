"""Times, levels and sampler of variance-preserving models, against diffusers' DDIM and closed forms."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    TCDScheduler,
)
from torch import Tensor

from latentedit.core.errors import ConfigError, CoordinateError, ModelError
from latentedit.models.vp import VPSchedule
from latentedit.numerics.flow import Prediction, alpha_sigma_from_level
from latentedit.numerics.rng import draw
from tests.numerics.inverse_maps import prediction_from_velocity
from tests.testing.tolerances import relative_error

STABLE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
ZERO_SNR = {**STABLE, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 28, 999])
def test_the_grid_has_the_times_of_the_stock_sampler(spacing: str, steps: int) -> None:
    settings: dict[str, Any] = {**STABLE, "timestep_spacing": spacing}
    scheduler: Any = DDIMScheduler(**settings)
    scheduler.set_timesteps(steps)
    schedule = VPSchedule.from_scheduler(DDIMScheduler(**settings))
    grid = schedule.grid(steps)
    assert grid.steps == steps
    assert grid.levels[-1] == 0
    requested = schedule.time(torch.tensor(grid.levels[:-1]))  # in float32, as in samplers
    assert requested.tolist() == scheduler.timesteps.tolist()
    alphas = scheduler.alphas_cumprod[scheduler.timesteps].double()
    sigma = (1 - alphas).sqrt()
    assert relative_error(torch.tensor(grid.levels[:-1]), sigma / (alphas.sqrt() + sigma)) < 1e-7


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_velocities_match_every_kind_of_prediction(prediction: Prediction) -> None:
    schedule = VPSchedule.from_scheduler(DDIMScheduler(**STABLE, prediction_type=prediction))
    z, v = (draw((3, 2, 4), seed=seed, purpose="vp").double() for seed in (0, 1))
    s = torch.tensor([schedule.levels[0], 0.4, schedule.levels[-1]], dtype=torch.float64)
    alpha, sigma = alpha_sigma_from_level(s)
    output = prediction_from_velocity(prediction, v, z, alpha, sigma)
    requested: list[Tensor] = []

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        requested.append(x_t)
        assert time.dtype == torch.float32
        return output

    assert relative_error(schedule.velocity(network, z, s), v) < 1e-12
    assert relative_error(requested[0], z * (alpha + sigma)[:, None, None]) < 1e-12


def test_zero_terminal_snr_starts_in_pure_noise() -> None:
    schedule = VPSchedule.from_scheduler(DDIMScheduler(**ZERO_SNR))
    assert (schedule.levels[-1], schedule.start_std, len(schedule.levels)) == (1, 1, 1000)
    assert schedule.grid(10).levels[0] == 1
    below = schedule.levels[998]
    assert 0.999 < below < 1
    s = torch.tensor([1.0, below, (2 + below) / 3, (1 + 2 * below) / 3], dtype=torch.float64)
    assert schedule.time(s).tolist() == [999, 998, 999, 998]
    z = draw((1, 6), seed=0, purpose="vp")
    out = draw((1, 6), seed=1, purpose="vp")
    v = schedule.velocity(lambda x_t, time: out, z, torch.ones(1))
    assert relative_error(v, z + out) < 1e-6  # at alpha 0 the network predicts -x, and v = e - x


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**ZERO_SNR, "prediction_type": "epsilon"}, "epsilon"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction"),
        ({"trained_betas": [0.1, 0.0, 0.2]}, "betas"),
        (FlowMatchEulerDiscreteScheduler(shift=3.0), "FlowMatchEulerDiscreteScheduler"),
        (EDMEulerScheduler(), "EDMEulerScheduler.*EDM.*Use another model"),
        (EDMDPMSolverMultistepScheduler(), "EDMDPMSolverMultistepScheduler.*EDM.*Use another model"),
        (
            EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"),
            "timestep_type.*Use another model",
        ),
    ],
)
def test_unsupported_schedulers_are_rejected(settings: Any, message: str) -> None:
    scheduler = DDIMScheduler(**settings) if isinstance(settings, dict) else settings
    with pytest.raises(ModelError, match=message):
        VPSchedule.from_scheduler(scheduler)


def test_continuous_timesteps_count_only_where_euler_heeds_them() -> None:
    """It takes the time for a quarter of the logarithm of sigma for networks that predict v alone."""
    scheduler = EulerDiscreteScheduler(timestep_type="continuous")
    scheduler.set_timesteps(4)
    schedule = VPSchedule.from_scheduler(scheduler)
    assert schedule.time(torch.tensor(schedule.grid(4).levels[:-1])).tolist() == scheduler.timesteps.tolist()


def test_unsupported_numbers_of_steps_are_rejected() -> None:
    for settings, steps in ((STABLE, 0), (STABLE, 1000), ({}, 1001)):
        with pytest.raises((ConfigError, CoordinateError), match=str(steps)):
            VPSchedule.from_scheduler(DDIMScheduler(**settings)).grid(steps)


@pytest.mark.parametrize(
    "kind", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler, PNDMScheduler]
)
def test_missing_settings_default_to_those_of_the_schedulers_class(kind: Any) -> None:
    """Euler's times are evenly spaced up to the last one, and Heun has other betas."""
    own = kind()
    schedule = VPSchedule.from_scheduler(own)
    assert schedule.scheduler["timestep_spacing"] == own.config.get("timestep_spacing", "leading")
    last = float(own.alphas_cumprod[-1])
    assert schedule.levels[-1] == pytest.approx((1 - last) ** 0.5 / (last**0.5 + (1 - last) ** 0.5), rel=1e-6)


@pytest.mark.parametrize("kind", [LCMScheduler, TCDScheduler])
def test_consistency_models_start_in_noise_and_need_no_guidance(kind: Any) -> None:
    """Their times are counted from the last of 50: 999, 759, ...; ours differ by at most 10."""
    own = kind()
    own.set_timesteps(4)
    schedule = VPSchedule.from_scheduler(own)
    assert schedule.few_step
    requested = schedule.time(torch.tensor(schedule.grid(4).levels[:-1]))
    assert (requested - own.timesteps).abs().max() <= 10

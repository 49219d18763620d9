"""Inversion with cached velocities, and the aligned return."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

import latentedit as le
from latentedit.editors import Inversion
from latentedit.encoding.inversion import invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.numerics.rng import draw
from latentedit.numerics.solvers import EulerSolver, integrate
from tests.identification.mixtures import levels_of, mixture_latent
from tests.miniatures.noise import sd_pipeline
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error, tolerance


@pytest.fixture
def latent() -> JointLatent:
    """In float32, where rounding matters."""
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3), dtype=torch.float32))


def test_traces_are_euler_steps_with_their_velocities(latent: JointLatent) -> None:
    grid = latent.path(6, 0.7)
    trace = invert(latent, grid)
    assert trace.levels == grid.levels[::-1]
    assert trace.states[0] is latent.z
    assert trace.top is trace.states[-1]
    for index, v in enumerate(trace.velocities):
        low, high = trace.levels[index : index + 2]
        expected = latent.backbone.velocity(trace.states[index], levels_of(latent.z, low), latent.condition)
        assert torch.equal(v, expected)
        assert torch.equal(trace.states[index + 1], trace.states[index] + (high - low) * v)
    assert trace.top.dtype == latent.z.dtype


@pytest.mark.slow
@torch.no_grad()
def test_inversion_with_end_times_matches_the_inverse_scheduler_of_diffusers() -> None:
    """The U-Net predicts noise, where this is the default of editors without an aligned return."""
    backbone: Any = le.from_pipeline(sd_pipeline(), settings={"sizes": [64, 64, 96]})
    z = draw((1, *backbone.latent_shape(64, 64)), seed=0, purpose="tests").to(backbone.dtype)
    latent = JointLatent(backbone=backbone, z=z, condition=backbone.embed(["a face"]), captions=("a face",))
    scheduler: Any = DDIMInverseScheduler(**backbone.schedule.scheduler | {"set_alpha_to_one": True})
    scheduler.set_timesteps(4)
    x = latent.z
    for time in scheduler.timesteps:
        x = scheduler.step(backbone._predict(x, time, latent.condition), time, x).prev_sample
    grid = latent.path(4)
    trace, (s, *_) = invert(latent, grid, time="end"), grid.levels
    assert relative_error(trace.top, math.hypot(1 - s, s) * x) < 1e-5
    assert relative_error(invert(latent, grid).top, trace.top) > 1e-2
    for index, (low, high) in enumerate(itertools.pairwise(trace.levels)):
        assert torch.equal(trace.states[index + 1], trace.states[index] + (high - low) * trace.velocities[index])
    result, start_result = (
        Inversion(steps=4, time=end).edit(latent, latent.condition, [1.0])[0].z for end in (None, "start")
    )
    assert torch.equal(result, Inversion(steps=4, time="end").edit(latent, latent.condition, [1.0])[0].z)
    assert not torch.equal(result, start_result)


def test_flow_inversion_with_end_times_evaluates_the_noisier_level(latent: JointLatent) -> None:
    """Stable Flow does so; by default, flow models are evaluated at the start of each step."""
    grid = latent.path(4, 0.7)
    z = latent.z
    for low, high in itertools.pairwise(grid.levels[::-1]):
        z = z + (high - low) * latent.backbone.velocity(z, levels_of(z, high), latent.condition)
    assert torch.equal(invert(latent, grid, time="end").top, z)
    result, start = (Inversion(steps=4, time=end).edit(latent, latent.condition, [1.0])[0].z for end in (None, "start"))
    assert torch.equal(result, start)


@pytest.mark.parametrize("level", [1.0, 0.83, 0.4])
def test_t9_an_unchanged_trace_returns_to_the_image_bit_for_bit(latent: JointLatent, level: float) -> None:
    grid = latent.path(10, level)
    trace = invert(latent, grid)
    assert torch.equal(retrace(latent, trace, latent.condition), latent.z)
    naive = integrate(
        GuidedField(backbone=latent.backbone, condition=latent.condition), trace.top, grid.levels, EulerSolver()
    )
    assert relative_error(naive, latent.z) > 1e-3  # control: the plain return is not exact


def test_the_aligned_return_matches_directedit(latent: JointLatent) -> None:
    """The published form: ``z <- z + (s' - s) v(z + (Z_lower - Z_upper), s_lower, c)``."""
    target, offset = latent.backbone.embed(["c"]), 0.1 * torch.ones_like(latent.z)
    trace = invert(latent, latent.path(8, 0.8))
    z = trace.top + offset
    for index in reversed(range(len(trace.velocities))):
        low, high = trace.levels[index : index + 2]
        aligned = z + (trace.states[index] - trace.states[index + 1])
        z = z + (low - high) * latent.backbone.velocity(aligned, levels_of(z, low), target)
    result = retrace(latent, trace, target, offset=offset)
    assert relative_error(result, z) < 10 * tolerance("velocity", latent.z.dtype)  # eight steps
    assert relative_error(retrace(latent, trace, target), z) > 1e-3


def test_each_step_costs_one_evaluation_or_two_with_guidance(latent: JointLatent) -> None:
    with latent.backbone.count() as cost:
        trace = invert(latent, latent.path(5))
    assert cost.evaluations == 5 * len(latent)
    target = latent.backbone.embed(["c"])
    with latent.backbone.count() as cost:
        unguided = retrace(latent, trace, target)
    assert cost.evaluations == 5 * len(latent)
    with latent.backbone.count() as cost:
        guided = retrace(latent, trace, target, guidance=2.0)
    assert cost.evaluations == 2 * 5 * len(latent)
    assert relative_error(guided, unguided) > 1e-3


def test_levels_below_the_models_range_are_clamped(latent: JointLatent) -> None:
    """Inversion and return evaluate a model without level 0 at its lowest level."""
    backbone = latent.backbone
    backbone.capabilities = dataclasses.replace(backbone.capabilities, s_min=0.05)
    levels: list[float] = []
    velocity = backbone.velocity

    def recording_velocity(z: Tensor, s: Tensor, condition: object) -> Tensor:
        levels.append(float(s[0]))
        return velocity(z, s, condition)

    object.__setattr__(backbone, "velocity", recording_velocity)
    trace = invert(latent, latent.path(4))
    assert torch.equal(retrace(latent, trace, latent.condition), latent.z)
    assert levels == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0.05])


def test_a_repeated_trace_retraces_every_copy(latent: JointLatent) -> None:
    trace = invert(latent, latent.path(5, 0.7))
    repeated_trace, copies = trace.repeat(2), latent.repeat(2)
    assert repeated_trace.levels == trace.levels
    for repeated_tensors, tensors in (
        (repeated_trace.states, trace.states),
        (repeated_trace.velocities, trace.velocities),
    ):
        assert all(
            torch.equal(repeated, torch.cat([single, single]))
            for repeated, single in zip(repeated_tensors, tensors, strict=True)
        )
    assert torch.equal(retrace(copies, repeated_trace, copies.condition), copies.z)
    target = latent.backbone.embed(["c"])
    moved = retrace(copies, repeated_trace, target, offset=torch.cat([torch.zeros_like(latent.z), 0.1 * latent.z]))
    bound = 5 * tolerance("batch", latent.z.dtype)  # five steps
    assert relative_error(moved[:3], retrace(latent, trace, target)) < bound
    assert relative_error(moved[3:], retrace(latent, trace, target, offset=0.1 * latent.z)) < bound
    assert relative_error(moved[:3], moved[3:]) > 1e-3

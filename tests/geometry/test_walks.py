"""Edits of many images along many directions against single edits; x-space guidance in other coordinates."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editors.eim import Slider
from latentedit.editors.judge import Judge
from latentedit.encoding.inversion import InversionTrace, invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.papers import paper_guidance
from latentedit.geometry.pullback import direction_at
from latentedit.geometry.walks import (
    CLOSE,
    ROUNDS,
    TYPICAL_EFFECT,
    LatentWalk,
    Walk,
    effect_of,
    effects_at,
    noise_guided,
    step_lengths,
)
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.registry import load
from latentedit.numerics.rng import stream
from tests.editing.discoveries import gain, halves, known_basis
from tests.editors.colors import ColorBackbone
from tests.geometry.examples import random_normal
from tests.identification.mixtures import levels_of, mixture_latent
from tests.miniatures.noise import miniature_ddpm
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

BATCH = tolerance("batch", torch.float64)
SCALES = torch.tensor([[0.6, 0.0], [-0.4, 0.9], [0.0, -1.1]], dtype=torch.float64)
WALKS = [LatentWalk(), LatentWalk(move="guidance", repeats=3, probe=0.5)]


@pytest.fixture
def latent() -> JointLatent:
    """Three latents of six numbers."""
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def trace(latent: JointLatent) -> InversionTrace:
    """Seven steps up to 0.7."""
    return invert(latent, latent.path(10, 0.7))


@pytest.fixture
def v() -> Tensor:
    return torch.linalg.qr(torch.randn(6, 2, generator=stream(6, "tests")).double())[0].T


def test_aligned_addition_matches_the_joint_arm_of_a_slider(
    latent: JointLatent, trace: InversionTrace, v: Tensor
) -> None:
    result = LatentWalk().edit(latent, trace, v, SCALES)
    assert result.shape == (3, 2, *latent.z.shape)
    for index in range(2):
        direction = direction_at(latent, v[index : index + 1], level=0.7, method="by hand", settings={"steps": 28})
        slider = Slider(latent=latent, direction=direction, arm="joint", level=0.7, steps=10, judge=Judge())
        expected = slider.move(SCALES[:, index : index + 1].expand(-1, 3))
        assert relative_error(result[:, index], expected) < BATCH


@pytest.mark.parametrize("walk", WALKS)
def test_each_edit_is_independent_of_the_others(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk
) -> None:
    """For any batch size; the cost of each edit is as documented."""
    with latent.backbone.count() as cost:
        result = walk.edit(latent, trace, v, SCALES)
    evaluations_each = 7 + (2 * walk.repeats if walk.move == "guidance" else 0)
    assert cost.evaluations == len(latent) * 6 * evaluations_each
    repeated = walk.edit(latent, trace, v, SCALES.repeat(4, 1))  # more rows than one network call takes
    assert relative_error(repeated, result.repeat(4, *[1] * (result.ndim - 1))) < BATCH
    alone = walk.edit(latent, trace, v[1:], SCALES[1:2, 1:])
    assert relative_error(alone[0, 0], result[1, 1]) < BATCH
    shared = walk.edit(latent, trace, v, [0.5, 1.0])  # for both directions
    assert relative_error(shared[1], walk.edit(latent, trace, v, 1.0)[0]) < BATCH
    assert relative_error(shared, walk.edit(latent, trace, v, torch.tensor([[0.5, 0.5], [1.0, 1.0]]))) < BATCH


def test_progress_is_reported(trace: InversionTrace, latent: JointLatent, v: Tensor) -> None:
    for walk, name in ((LatentWalk(move="guidance"), "guide"), (LatentWalk(), "return")):
        reports = list[tuple[str, int, int]]()
        walk.edit(
            latent, trace, v[:1], SCALES[:1, :1], progress=lambda *arguments, reports=reports: reports.append(arguments)
        )
        assert [done for stage, done, _ in reports if stage == name] == list(range(1, 17 if name == "guide" else 8))


@pytest.mark.parametrize("walk", WALKS)
def test_scale_zero_returns_the_image_bit_for_bit(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk
) -> None:
    result = walk.edit(latent, trace, v, SCALES)
    assert torch.equal(result[0, 1], latent.z)
    assert torch.equal(result[2, 0], latent.z)


def test_guidance_matches_its_formula(latent: JointLatent, trace: InversionTrace, v: Tensor) -> None:
    """The images' own captions are used at the level and on the return."""
    directions, scales = v[:1].expand(3, -1), torch.full((3,), 0.6, dtype=torch.float64)
    z = noise_guided(latent.backbone, trace.top, 0.7, latent.condition, directions, scales, repeats=3, probe=1.0)
    expected = retrace(latent, trace, latent.condition, offset=z - trace.top)
    edited = LatentWalk(move="guidance", repeats=3).edit(latent, trace, v[:1], SCALES[:1, :1])[0, 0]
    assert relative_error(edited, expected) < BATCH


@pytest.mark.parametrize("settings", [{"move": "jump"}, {"repeats": 0}, {"probe": 0.0}])
def test_invalid_settings_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LatentWalk(**settings)


LEVEL = 0.6


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6)


def guide(backbone: Backbone, z: Tensor, v: Tensor, scales: Tensor, *, repeats: int = 1, probe: float = 1.0) -> Tensor:
    return noise_guided(backbone, z, LEVEL, backbone.embed(["a"]), v, scales, repeats=repeats, probe=probe)


@pytest.mark.slow_except("-1")
@pytest.mark.parametrize("sign", [1, -1])
def test_guidance_on_a_diffusers_unet_matches_the_paper(sign: int, tmp_path: Path) -> None:
    """``x_t + gamma (eps(x_t + delta v) - eps(x_t))`` three times at t = 600, with the network of diffusers."""
    model = load(miniature_ddpm(tmp_path / "pixels"), device="cpu")
    pipeline: Any = DDPMPipeline.from_pretrained(tmp_path / "pixels")
    alpha_bar = pipeline.scheduler.alphas_cumprod[600].double()
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    level, c = float(sigma / (alpha + sigma)), float(alpha + sigma)
    x_t, v = (
        random_normal(1, 3, 16, 16).float(),
        8 * random_normal(1, 3, 16, 16, seed=2).float() / math.sqrt(3 * 16 * 16),
    )
    walk, scale = paper_guidance(level, gamma=0.5, delta=0.7, repeats=3)
    text, scales = model.embed([""]), torch.tensor([sign * scale])
    result = noise_guided(model, x_t / c, level, text, v, scales, repeats=walk.repeats, probe=walk.probe)
    start, t = x_t, torch.tensor([600])
    with torch.no_grad():
        for _ in range(3):
            eps_ahead, eps = (pipeline.unet(x, t).sample for x in (x_t + 0.7 * sign * v, x_t))
            x_t = x_t + 0.5 * (eps_ahead - eps)
    assert relative_error(c * result - start, x_t - start) < 1e-3
    assert relative_error(x_t, start) > 1e-2


def test_guidance_is_the_noise_jacobian_to_first_order(mixture: GaussianMixtureBackbone) -> None:
    """``scale (I + (1 - s) J_v) v``; the remainder is of second order in the scale."""
    z, v = random_normal(3, 6), random_normal(3, 6, seed=2)
    jacobian = VelocityJacobian(mixture, z, levels_of(z, LEVEL), mixture.embed(["a"]), mode="double_backward")
    derivative = v + (1 - LEVEL) * jacobian.matvec(v)
    assert relative_error(derivative, v) > 0.05  # guidance is not an addition

    def move(scale: float) -> Tensor:
        return guide(mixture, z, v, torch.full((3,), scale, dtype=torch.float64), probe=abs(scale)) - z

    errors = [relative_error(move(scale) / scale, derivative) for scale in (1e-2, 5e-3, -5e-3)]
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    asymmetries = [relative_error(move(scale), -move(-scale)) for scale in (1e-2, 5e-3)]
    assert 1e-9 < asymmetries[1] < asymmetries[0] < 0.05
    assert asymmetries[0] / asymmetries[1] == pytest.approx(2, abs=0.1)
    assert errors[2] == pytest.approx(errors[1], rel=0.1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response(LatentWalk):
    """Moves the clean latent by ``factor * length^power`` along the direction, without a return; records the scales."""

    factor: float = 1.0
    power: float = 1.0
    negative_factor: float = 1.0
    dead_zone: float = 0.0
    scales: list[Tensor] = dataclasses.field(default_factory=list[Tensor])

    def edit(self, latent: Any, trace: Any, v: Any, scales: Any, *, progress: Any = None) -> Any:
        self.scales.append(scales)
        distance = (
            self.factor
            * (scales.abs() > self.dead_zone)
            * scales.abs() ** self.power
            * torch.where(scales < 0, -self.negative_factor, 1.0)
        )
        return latent.z[None, None] + distance.float()[:, :, None, None, None, None] * v[None, :, None]


@pytest.fixture
def walk() -> Walk:
    basis = known_basis(ColorBackbone())
    return Walk(latent=basis.latent, trace=basis.trace)


def test_effects_average_both_signs(walk: Walk) -> None:
    """A direction of n numbers and length a has the effect ``a gain / sqrt(n)``; one sign, ``1 / sqrt(2)`` of it."""
    basis = known_basis(ColorBackbone())
    lengths = torch.tensor([0.5, 3.0], dtype=torch.float64)
    result = effects_at(walk, halves(), lengths, what="test")
    assert torch.allclose(result, lengths * gain(basis) / math.sqrt(3 * 8 * 8), rtol=1e-4)
    x = torch.zeros(1, 3, 2, 2)
    both = torch.zeros(2, 2, 3, 2, 2)
    both[0, 0], both[1, 0] = 0.3, 0.5
    both[0, 1, 0] = 0.6  # one channel of three, on one side
    assert effect_of(both, x).tolist() == pytest.approx([math.sqrt((0.09 + 0.25) / 2), math.sqrt(0.36 / 6)])
    changed_walk = dataclasses.replace(walk, move=Response(factor=4.0, negative_factor=0.0))
    one_side = 4.0 * lengths / math.sqrt(3 * 8 * 8)
    assert torch.allclose(effects_at(changed_walk, halves(), lengths, what="test"), one_side / math.sqrt(2), rtol=1e-5)


def test_step_lengths_of_a_linear_model(walk: Walk) -> None:
    basis = known_basis(ColorBackbone())
    target_effect = 0.05
    exact = target_effect * math.sqrt(3 * 8 * 8) / gain(basis)
    lengths = step_lengths(walk, halves(), effect=target_effect)
    effects = effects_at(walk, halves(), lengths, what="test")
    assert torch.allclose(effects, torch.full((2,), target_effect, dtype=torch.float64), rtol=CLOSE)
    assert torch.allclose(lengths * target_effect / effects, torch.full((2,), exact, dtype=torch.float64), rtol=1e-4)


@pytest.mark.parametrize("power", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("factor", [0.05, 1.0, 40.0])
def test_step_lengths_fit_any_increasing_response(walk: Walk, power: float, factor: float) -> None:
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    if factor * longest**power / math.sqrt(3 * 8 * 8) < TYPICAL_EFFECT:
        pytest.skip("out of reach, see test_step_lengths_are_limited_by_the_noise")
    changed_walk = dataclasses.replace(walk, move=Response(factor=factor, power=power))
    reached = factor * step_lengths(changed_walk, halves()) ** power / math.sqrt(3 * 8 * 8)
    assert torch.allclose(reached, torch.full((2,), TYPICAL_EFFECT, dtype=torch.float64), rtol=CLOSE)


def test_steps_without_effect_are_multiplied_by_ten(walk: Walk) -> None:
    response = Response(factor=0.1, dead_zone=1.0)
    changed_walk = dataclasses.replace(walk, move=response)
    lengths = step_lengths(changed_walk, halves(), effect=0.05)
    reached = effects_at(changed_walk, halves(), lengths, what="step lengths")
    assert torch.allclose(reached, torch.full((2,), 0.05, dtype=torch.float64), rtol=CLOSE)
    assert torch.allclose(response.scales[1], 10 * response.scales[0])


def test_step_lengths_are_limited_by_the_noise(walk: Walk) -> None:
    weak = Response(factor=1e-3)
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    assert step_lengths(dataclasses.replace(walk, move=weak), halves()).tolist() == pytest.approx([longest, longest])
    assert max(float(lengths.abs().max()) for lengths in weak.scales) <= longest * (1 + 1e-9)
    assert len(weak.scales) <= 3


def test_the_search_for_step_lengths_is_bounded(walk: Walk) -> None:
    """Two returns for each direction and round, only of directions that are not done."""
    recorded = Response(factor=4.0)
    step_lengths(dataclasses.replace(walk, move=recorded), halves())
    assert all(lengths.shape == (2, 2) for lengths in recorded.scales)
    with walk.latent.backbone.count() as cost:
        effects_at(walk, halves(), torch.ones(2, dtype=torch.float64), what="test")
    assert cost.evaluations == 4 * len(walk.trace.velocities)
    steep = Response(factor=1e3, power=200.0)  # no length is close, so the best is kept after the last round
    step_lengths(dataclasses.replace(walk, move=steep), halves())
    assert len(steep.scales) <= ROUNDS

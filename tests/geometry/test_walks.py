"""Many images along many directions, each way rebuilt by hand, and X-space guidance in other coordinates."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.rng import stream
from latentedit.editors.eim import Slider
from latentedit.editors.judge import Judge
from latentedit.geometry.local_basis import direction_at
from latentedit.geometry.papers import paper_guidance
from latentedit.geometry.walks import (
    CLOSE,
    EFFECT,
    ROUNDS,
    LatentWalk,
    Walk,
    effect_of,
    effects_at,
    noise_guided,
    step_lengths,
)
from latentedit.latents.inversion import InversionTrace, invert, retrace
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.registry import load
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import levels_of, mixture_latent
from tests.editing.discoveries import gain, halves, known_basis
from tests.editors.colors import ColorBackbone
from tests.miniatures.noise import miniature_ddpm

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


def test_an_aligned_addition_is_the_joint_arm_of_a_slider(
    latent: JointLatent, trace: InversionTrace, v: Tensor
) -> None:
    found = LatentWalk().edit(latent, trace, v, SCALES)
    assert found.shape == (3, 2, *latent.z.shape)
    for index in range(2):
        direction = direction_at(latent, v[index : index + 1], level=0.7, method="by hand", settings={"steps": 28})
        slider = Slider(latent=latent, direction=direction, arm="joint", level=0.7, steps=10, judge=Judge())
        expected = slider.move(SCALES[:, index : index + 1].expand(-1, 3))
        assert relative_error(found[:, index], expected) < BATCH


@pytest.mark.parametrize("walk", WALKS)
def test_every_way_is_as_it_would_be_alone(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk
) -> None:
    """Whatever moves beside it, in batches of whatever size; and each costs what is said."""
    with latent.backbone.count() as cost:
        found = walk.edit(latent, trace, v, SCALES)
    each = 7 + (2 * walk.repeats if walk.move == "guidance" else 0)
    assert cost.evaluations == len(latent) * 6 * each
    often = walk.edit(latent, trace, v, SCALES.repeat(4, 1))  # more rows than one network call takes
    assert relative_error(often, found.repeat(4, *[1] * (found.ndim - 1))) < BATCH
    alone = walk.edit(latent, trace, v[1:], SCALES[1:2, 1:])
    assert relative_error(alone[0, 0], found[1, 1]) < BATCH


def test_progress(trace: InversionTrace, latent: JointLatent, v: Tensor) -> None:
    for walk, name in ((LatentWalk(move="guidance"), "guide"), (LatentWalk(), "return")):
        heard = list[tuple[str, int, int]]()
        walk.edit(latent, trace, v[:1], SCALES[:1, :1], progress=lambda *report, heard=heard: heard.append(report))
        assert [done for what, done, _ in heard if what == name] == list(range(1, 17 if name == "guide" else 8))


@pytest.mark.parametrize("walk", WALKS)
def test_a_scale_of_nothing_is_the_image_bit_for_bit(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk
) -> None:
    found = walk.edit(latent, trace, v, SCALES)
    assert torch.equal(found[0, 1], latent.z)
    assert torch.equal(found[2, 0], latent.z)


def test_guidance_written_out(latent: JointLatent, trace: InversionTrace, v: Tensor) -> None:
    """Under the images' own texts at the level and on the way back."""
    along, scales = v[:1].expand(3, -1), torch.full((3,), 0.6, dtype=torch.float64)
    z = noise_guided(latent.backbone, trace.top, 0.7, latent.condition, along, scales, repeats=3, probe=1.0)
    expected = retrace(latent, trace, latent.condition, offset=z - trace.top)
    edited = LatentWalk(move="guidance", repeats=3).edit(latent, trace, v[:1], SCALES[:1, :1])[0, 0]
    assert relative_error(edited, expected) < BATCH


@pytest.mark.parametrize("settings", [{"move": "jump"}, {"repeats": 0}, {"probe": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LatentWalk(**settings)


LEVEL = 0.6


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "tests"), dtype=torch.float32).double()


@pytest.fixture
def mixture() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6)


def guided(backbone: Backbone, z: Tensor, v: Tensor, scales: Tensor, *, repeats: int = 1, probe: float = 1.0) -> Tensor:
    return noise_guided(backbone, z, LEVEL, backbone.embed(["a"]), v, scales, repeats=repeats, probe=probe)


@pytest.mark.parametrize("sign", [1, -1])
def test_on_a_stock_unet_it_is_the_papers_step_in_x_t(sign: int, tmp_path: Path) -> None:
    """``x_t + gamma (eps(x_t + delta v) - eps(x_t))`` three times at t = 600, by the diffusers network itself."""
    model = load(miniature_ddpm(tmp_path / "pixels"), device="cpu")
    pipeline: Any = DDPMPipeline.from_pretrained(tmp_path / "pixels")
    square = pipeline.scheduler.alphas_cumprod[600].double()
    alpha, sigma = square.sqrt(), (1 - square).sqrt()
    level, c = float(sigma / (alpha + sigma)), float(alpha + sigma)
    x_t, v = drawn(1, 3, 16, 16).float(), 8 * drawn(1, 3, 16, 16, seed=2).float() / math.sqrt(3 * 16 * 16)
    walk, scale = paper_guidance(level, gamma=0.5, delta=0.7, repeats=3)
    at, scales = model.embed([""]), torch.tensor([sign * scale])
    found = noise_guided(model, x_t / c, level, at, v, scales, repeats=walk.repeats, probe=walk.probe)
    start, when = x_t, torch.tensor([600])
    with torch.no_grad():
        for _ in range(3):
            ahead, here = (pipeline.unet(x, when).sample for x in (x_t + 0.7 * sign * v, x_t))
            x_t = x_t + 0.5 * (ahead - here)
    assert relative_error(c * found - start, x_t - start) < 1e-3
    assert relative_error(x_t, start) > 1e-2


def test_scales_of_nothing_change_nothing(mixture: GaussianMixtureBackbone) -> None:
    z, v = drawn(3, 6), drawn(3, 6, seed=2)
    assert torch.equal(guided(mixture, z, v, torch.zeros(3).double(), repeats=4), z)


def test_to_first_order_it_is_the_jacobian_of_the_noise(mixture: GaussianMixtureBackbone) -> None:
    """``scale (I + (1 - s) J_v) v``; what is left is of second order in the scale, and odd in it to that order."""
    z, v = drawn(3, 6), drawn(3, 6, seed=2)
    jacobian = VelocityJacobian(mixture, z, levels_of(z, LEVEL), mixture.embed(["a"]), mode="double_backward")
    slope = v + (1 - LEVEL) * jacobian.matvec(v)
    assert relative_error(slope, v) > 0.05  # it is no addition

    def move(scale: float) -> Tensor:
        return guided(mixture, z, v, torch.full((3,), scale, dtype=torch.float64), probe=abs(scale)) - z

    errors = [relative_error(move(scale) / scale, slope) for scale in (1e-2, 5e-3, -5e-3)]
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)
    even = [relative_error(move(scale), -move(-scale)) for scale in (1e-2, 5e-3)]
    assert 1e-9 < even[1] < even[0] < 0.05
    assert even[0] / even[1] == pytest.approx(2, abs=0.1)
    assert errors[2] == pytest.approx(errors[1], rel=0.1)


def test_each_repetition_starts_where_the_last_one_ended(mixture: GaussianMixtureBackbone) -> None:
    """Along the same v; and latents do not know of one another."""
    z, v, scales = drawn(3, 6), drawn(3, 6, seed=2), torch.tensor([0.9, -0.6, 0.0], dtype=torch.float64)
    expected = z
    for _ in range(3):
        expected = guided(mixture, expected, v, scales / 3, probe=0.5)
    with mixture.count() as cost:
        found = guided(mixture, z, v, scales, repeats=3, probe=0.5)
    assert cost.evaluations == 3 * 3 * 2
    assert relative_error(found, expected) < tolerance("batch", torch.float64)
    alone = guided(mixture, z[1:2], v[1:2], scales[1:2], repeats=3, probe=0.5)
    assert relative_error(found[1:2], alone) < tolerance("batch", torch.float64)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response(LatentWalk):
    """Instead of a way back: the clean latent moves along the direction by ``factor * length^power``, signs kept.

    Of what is asked for, lengths are noted.
    """

    factor: float = 1.0
    power: float = 1.0
    lame_side: float = 1.0
    dead: float = 0.0
    requested: list[Tensor] = dataclasses.field(default_factory=list[Tensor])

    def edit(self, latent: Any, trace: Any, v: Any, scales: Any, *, progress: Any = None) -> Any:
        self.requested.append(scales)
        gone = (
            self.factor
            * (scales.abs() > self.dead)
            * scales.abs() ** self.power
            * torch.where(scales < 0, -self.lame_side, 1.0)
        )
        return latent.z[None, None] + gone.float()[:, :, None, None, None, None] * v[None, :, None]


@pytest.fixture
def walk() -> Walk:
    basis = known_basis(ColorBackbone())
    return Walk(latent=basis.latent, trace=basis.trace)


def test_effects_of_both_signs(walk: Walk) -> None:
    """A unit direction of n numbers at length a makes ``a * gain / sqrt(n)``; one side alone, ``1 / sqrt(2)`` of it."""
    basis = known_basis(ColorBackbone())
    lengths = torch.tensor([0.5, 3.0], dtype=torch.float64)
    found = effects_at(walk, halves(), lengths, what="test")
    assert torch.allclose(found, lengths * gain(basis) / math.sqrt(3 * 8 * 8), rtol=1e-4)
    x = torch.zeros(1, 3, 2, 2)
    both = torch.zeros(2, 2, 3, 2, 2)
    both[0, 0], both[1, 0] = 0.3, 0.5
    both[0, 1, 0] = 0.6  # one channel of three, on one side
    assert effect_of(both, x).tolist() == pytest.approx([math.sqrt((0.09 + 0.25) / 2), math.sqrt(0.36 / 6)])
    odd = dataclasses.replace(walk, move=Response(factor=4.0, lame_side=0.0))
    one_side = 4.0 * lengths / math.sqrt(3 * 8 * 8)
    assert torch.allclose(effects_at(odd, halves(), lengths, what="test"), one_side / math.sqrt(2), rtol=1e-5)


def test_lengths_of_a_linear_model(walk: Walk) -> None:
    basis = known_basis(ColorBackbone())
    wanted = 0.05
    exact = wanted * math.sqrt(3 * 8 * 8) / gain(basis)
    lengths = step_lengths(walk, halves(), effect=wanted)
    effects = effects_at(walk, halves(), lengths, what="test")
    assert torch.allclose(effects, torch.full((2,), wanted, dtype=torch.float64), rtol=CLOSE)
    assert torch.allclose(lengths * wanted / effects, torch.full((2,), exact, dtype=torch.float64), rtol=1e-4)


@pytest.mark.parametrize("power", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("factor", [0.05, 1.0, 40.0])
def test_any_rising_response_is_met(walk: Walk, power: float, factor: float) -> None:
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    if factor * longest**power / math.sqrt(3 * 8 * 8) < EFFECT:
        pytest.skip("out of reach, as another test has it")
    odd = dataclasses.replace(walk, move=Response(factor=factor, power=power))
    reached = factor * step_lengths(odd, halves()) ** power / math.sqrt(3 * 8 * 8)
    assert torch.allclose(reached, torch.full((2,), EFFECT, dtype=torch.float64), rtol=CLOSE)


def test_from_where_nothing_changes_it_goes_ten_times_as_far(walk: Walk) -> None:
    dead = Response(factor=0.1, dead=1.0)
    moved = dataclasses.replace(walk, move=dead)
    lengths = step_lengths(moved, halves(), effect=0.05)
    reached = effects_at(moved, halves(), lengths, what="step lengths")
    assert torch.allclose(reached, torch.full((2,), 0.05, dtype=torch.float64), rtol=CLOSE)
    assert torch.allclose(dead.requested[1], 10 * dead.requested[0])


def test_no_length_goes_beyond_the_noise(walk: Walk) -> None:
    weak = Response(factor=1e-3)
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    assert step_lengths(dataclasses.replace(walk, move=weak), halves()).tolist() == pytest.approx([longest, longest])
    assert max(float(lengths.abs().max()) for lengths in weak.requested) <= longest * (1 + 1e-9)
    assert len(weak.requested) <= 3


def test_what_is_not_tried(walk: Walk) -> None:
    """Two ways back a direction and round, of those that are not met yet."""
    watched = Response(factor=4.0)
    step_lengths(dataclasses.replace(walk, move=watched), halves())
    assert all(lengths.shape == (2, 2) for lengths in watched.requested)
    with walk.latent.backbone.count() as cost:
        effects_at(walk, halves(), torch.ones(2, dtype=torch.float64), what="test")
    assert cost.evaluations == 4 * len(walk.trace.velocities)
    jump = Response(factor=1e3, power=200.0)  # nothing is close, so the nearest is left after the last round
    step_lengths(dataclasses.replace(walk, move=jump), halves())
    assert len(jump.requested) <= ROUNDS

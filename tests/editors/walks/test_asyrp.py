"""The asymmetric step written out, what a symmetric one would do, and shifts that are scaled, cut short and counted."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, ShapeError
from latentedit.core.rng import stream
from latentedit.core.solvers.base import level_batch
from latentedit.core.solvers.stochastic import NoiseTail
from latentedit.editors.walks.asyrp import Asyrp
from latentedit.latents.inversion import InversionTrace, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.miniature import miniature_sd3
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import mixture_latent
from tests.directions.networks import NetworkBackbone, network_latent

BATCH = tolerance("batch", torch.float64)
SCALES = torch.tensor([[0.6, 0.0], [-0.4, 0.9]], dtype=torch.float64)


@pytest.fixture
def latent() -> JointLatent:
    return network_latent(NetworkBackbone())


@pytest.fixture
def trace(latent: JointLatent) -> InversionTrace:
    """Ten steps up to 1."""
    return invert(latent, latent.path(10))


@pytest.fixture
def shifts() -> Tensor:
    return torch.randn(2, 9, generator=stream(9, "tests")).double() / 2


def sampled_by_hand(latent: JointLatent, trace: InversionTrace, shift: Tensor, *, until: float = 0.0) -> Tensor:
    """``Z' = (1 - s') x_hat(shifted) + s' e_hat(plain)``."""
    z, backbone = trace.top, latent.backbone
    for s, s_next in itertools.pairwise(trace.levels[::-1]):
        level = level_batch(s, z)
        plain = backbone.velocity(z, level, latent.condition)
        delta = (shift if s > until else 0 * shift).expand(len(z), -1)
        shifted = backbone.velocity_with(z, level, latent.condition, "mid", delta)
        z = (1 - s_next) * (z - s * shifted) + s_next * (z + (1 - s) * plain)
    return z


@pytest.mark.parametrize("until", [0.0, 0.45])
def test_the_clean_estimate_is_shifted_and_the_noise_estimate_is_not(
    latent: JointLatent, trace: InversionTrace, shifts: Tensor, until: float
) -> None:
    found = Asyrp(site="mid", until=until, back="sampling").edit(latent, trace, shifts, SCALES)
    assert found.shape == (2, 2, *latent.z.shape)
    for row, index in itertools.product(range(2), range(2)):
        expected = sampled_by_hand(latent, trace, SCALES[row, index] * shifts[index], until=until)
        assert relative_error(found[row, index], expected) < BATCH
    assert relative_error(found[1, 1], found[0, 1]) > 1e-2


def test_a_symmetric_step_moves_less_by_the_factor_of_the_step(latent: JointLatent, shifts: Tensor) -> None:
    """``(s - s') / ((1 - s') s)``: exactly so in one step, and in all steps together less the finer they are."""
    backbone, delta = latent.backbone, 0.02 * shifts[:1]

    def symmetric(z: Tensor, levels: tuple[float, ...], shift: Tensor) -> Tensor:
        for s, s_next in itertools.pairwise(levels):
            shifted = shift.expand(len(z), -1)
            v = backbone.velocity_with(z, level_batch(s, z), latent.condition, "mid", shifted)
            z = z + (s_next - s) * v
        return z

    ratios = list[float]()
    for steps in (20, 40):
        trace = invert(latent, latent.path(steps, 0.8))
        for levels in (trace.levels[-2:], trace.levels):
            count = len(levels)
            part = InversionTrace(levels=levels, states=trace.states[-count:], velocities=trace.velocities[1 - count :])
            found = Asyrp(back="sampling").edit(latent, part, delta, torch.tensor([[1.0], [0.0]]).double())
            down = levels[::-1]
            moved = symmetric(trace.top, down, delta) - symmetric(trace.top, down, 0 * delta)
            ratios.append(float(moved.norm() / (found[0, 0] - found[1, 0]).norm()))
        s, s_next = trace.levels[:-3:-1]
        assert ratios[-2] == pytest.approx((s - s_next) / ((1 - s_next) * s), rel=1e-6)
    assert ratios[1] < 0.3
    assert ratios[3] == pytest.approx(ratios[1] / 2, rel=0.2)


def test_aligned_it_leaves_from_the_way_up(latent: JointLatent, trace: InversionTrace, shifts: Tensor) -> None:
    u, backbone = torch.zeros_like(latent.z), latent.backbone
    for index in reversed(range(10)):
        s, s_next = trace.levels[index + 1], trace.levels[index]
        z, level = trace.states[index] + u, level_batch(s_next, latent.z)
        plain = backbone.velocity(z, level, latent.condition)
        shifted = backbone.velocity_with(z, level, latent.condition, "mid", 0.9 * shifts[1:].expand(2, -1))
        kick = (1 - s_next) * s * (shifted - plain) if s > 0.35 else 0.0
        u = u - (s - s_next) * (plain - trace.velocities[index]) - kick
    found = Asyrp(until=0.35).edit(latent, trace, shifts, 0.9 * torch.ones(1, 2).double())
    assert relative_error(found[0, 1], latent.z + u) < 1e-9


@pytest.mark.parametrize("until", [0.0, 0.3, 0.55, 1.0])
@pytest.mark.parametrize("back", ["aligned", "sampling"])
def test_costs_what_it_says(
    latent: JointLatent, trace: InversionTrace, shifts: Tensor, until: float, back: Any
) -> None:
    walk = Asyrp(until=until, back=back)
    with latent.backbone.count() as cost:
        walk.edit(latent, trace, shifts, SCALES)
    assert cost.evaluations == len(latent) * walk.evaluations(trace, 4)
    above = sum(level > until for level in trace.levels[1:])
    assert walk.evaluations(trace, 4) == 4 * (10 + above)
    assert (until < 1) == (above > 0)


def test_a_scale_of_nothing_is_the_picture_bit_for_bit(
    latent: JointLatent, trace: InversionTrace, shifts: Tensor
) -> None:
    found = Asyrp().edit(latent, trace, shifts, SCALES)
    assert torch.equal(found[0, 1], latent.z)
    assert relative_error(found[1, 1], latent.z) > 1e-2


def test_the_tails_noise_is_one_for_all(latent: JointLatent, trace: InversionTrace, shifts: Tensor) -> None:
    tail = NoiseTail(below=0.4, seed=1)
    found = Asyrp(until=0.4, back="sampling", tail=tail).edit(latent, trace, shifts, SCALES)
    alone = Asyrp(until=0.4, back="sampling", tail=tail).edit(latent, trace, shifts[1:], SCALES[1:, 1:])
    assert relative_error(alone[0, 0], found[1, 1]) < BATCH
    plain = Asyrp(until=0.4, back="sampling").edit(latent, trace, shifts, SCALES)
    assert relative_error(found, plain) > 1e-2
    with pytest.raises(ConfigError, match="Use 'sampling'"):
        Asyrp(tail=tail)


def test_a_transformer_of_its_own_accord(tmp_path: Path) -> None:
    """At the default site of a stock network, in its own dtype."""
    backbone = load(miniature_sd3(tmp_path / "model", t5=False), device="cpu")
    z = torch.randn(1, *backbone.latent_shape(64, 64), generator=stream(0, "tests"))
    latent = JointLatent(backbone=backbone, z=z, condition=backbone.embed(["a person"]), captions=("a person",))
    trace = invert(latent, latent.path(4, 0.8))
    feature = backbone.features(trace.top, level_batch(0.8, z), latent.condition, backbone.default_site)
    scales, heard = torch.tensor([[0.0], [1.0], [-1.0]]), list[str]()
    found = Asyrp().edit(latent, trace, feature.roll(1, -1), scales, progress=lambda what, *_: heard.append(what))
    assert torch.equal(found[0, 0], z)
    assert relative_error(found[1, 0], z) > 1e-4
    assert relative_error(found[1, 0], found[2, 0]) > 1e-4
    assert heard == ["return"] * len(trace.velocities)
    assert backbone.default_site == "block.1.image"


def test_what_does_not_fit_is_refused(latent: JointLatent, trace: InversionTrace, shifts: Tensor) -> None:
    with pytest.raises(ShapeError, match="a row of scales for each of 2 directions"):
        Asyrp().edit(latent, trace, shifts, SCALES[:, :1])
    with pytest.raises(ShapeError, match="mid"):
        Asyrp().edit(latent, trace, shifts[:, :4], SCALES)
    with pytest.raises(ConfigError, match="did you mean 'mid'"):
        Asyrp(site="mud").edit(latent, trace, shifts, SCALES)
    bare = mixture_latent(example_mixture(dimension=6))
    with pytest.raises(ConfigError, match="none inside its network"):
        Asyrp().edit(bare, invert(bare, bare.path(4)), shifts, SCALES)
    with pytest.raises(ConfigError, match="until must be at most 1"):
        Asyrp(until=1.5)


def test_a_damaged_network_is_named(
    latent: JointLatent, trace: InversionTrace, shifts: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent.backbone, "_velocity", lambda z, s, condition: torch.full_like(z, torch.nan))
    with pytest.raises(ModelError, match="not finite"):
        Asyrp(until=1.0).edit(latent, trace, shifts, SCALES)

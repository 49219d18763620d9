"""Editors whose strength blends velocities: FreeSliders, VeloEdit and steering by velocities, written out."""

import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.editors.baselines.freesliders import FreeSliders
from latentedit.editors.baselines.velocity_steering import VelocitySteering
from latentedit.editors.baselines.veloedit import VeloEdit
from latentedit.editors.strength import measure_effect
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent

LEVELS = [0.0, 0.2, 0.4, 0.6]


@pytest.mark.parametrize("strength", [1.0, -0.6, 2.0])
def test_is_the_published_field_on_an_aligned_way_back(latent: JointLatent, strength: float) -> None:
    """``base + a (positive - negative)`` at every step, with the residual of the way up taken off, written out."""
    backbone, wanted = latent.backbone, latent.backbone.embed(["c"]).expand(3)
    up, residuals = [latent.z], []
    for s, s_next in itertools.pairwise(LEVELS):
        residuals.append(backbone.velocity(up[-1], levels_of(latent.z, s), latent.condition))
        up.append(up[-1] + (s_next - s) * residuals[-1])
    z = up[-1]
    for index in (2, 1, 0):
        step, at = LEVELS[index + 1] - LEVELS[index], levels_of(z, LEVELS[index])
        there = z + up[index] - up[index + 1]
        base, positive = (backbone.velocity(there, at, text) for text in (latent.condition, wanted))
        z = z - step * (base + 1.5 * strength * (positive - base))
    found = FreeSliders(level=0.6, steps=5, scale=1.5).edit(latent, latent.backbone.embed(["c"]), [strength])[0].z
    assert relative_error(found, z) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_strengths_are_shares_of_the_whole_change(latent: JointLatent, sign: int) -> None:
    """At the probes exactly, as far as rounding goes; between them nearer than without."""
    target = latent.backbone.embed(["c"])

    def away(probes: int, strengths: list[float]) -> float:
        editor = FreeSliders(steps=6, level=0.9, scale=6.0, probes=probes)
        found = editor.edit(latent, target, [sign * strength for strength in (*strengths, 1.0)])
        moved = torch.stack([(one.z - latent.z).flatten(1).norm(dim=1) for one in found])
        return float((moved[:-1] / moved[-1] - torch.tensor(strengths, dtype=moved.dtype)[:, None]).abs().max())

    plain = away(0, [0.2, 0.5, 0.8])
    assert plain > 0.05
    assert away(7, [0.2, 0.5, 0.8]) < plain / 2
    whole = FreeSliders(steps=6, level=0.9, scale=6.0).edit(latent, target, [sign * 0.25])[0].z - latent.z
    end = FreeSliders(steps=6, level=0.9, scale=6.0).edit(latent, target, [sign * 1.0])[0].z - latent.z
    share = float(whole[0].norm() / end[0].norm())
    mapped = FreeSliders(steps=6, level=0.9, scale=6.0, probes=3).edit(latent, target, [sign * share])[0].z - latent.z
    assert relative_error(mapped[0], whole[0]) < 1e-9


def test_what_the_range_costs(latent: JointLatent) -> None:
    """Three steps: 3 up and 6 down; four ways down more for three probes and the end, but not at the ends."""
    editor = FreeSliders(level=0.6, steps=5, probes=3)
    costs = [editor.evaluations(latent, strength=strength) for strength in (0.0, 0.5, -0.5, 1.0, 1.5)]
    assert costs == [0, 9 + 24, 9 + 24, 9, 9]


@pytest.mark.parametrize("strength", [0.3, 1.0, -0.5, 1.7])
def test_veloedit_is_the_published_loop(latent: JointLatent, strength: float) -> None:
    """Similarity number by number, replacement and blend as in the paper; then plain steps.

    The rule is written with the similarity as a quotient and the blend weight ``a = 1 - strength``.
    """
    backbone, target, x = latent.backbone, latent.backbone.embed(["c"]), latent.z
    noise = draw((6,), seed=3, purpose="veloedit").to(x)
    z, replaced = 0.2 * x + 0.8 * noise, 0
    for s, s_next in itertools.pairwise([0.8, 0.6, 0.4, 0.2, 0.0]):
        v = backbone.velocity(z, levels_of(z, s), target)
        if s > 0.4:
            keep = (z - x) / s
            alike = keep.abs() / (keep.abs() + (v - keep).abs()) >= 0.6
            replaced += int(alike.sum())
            v = torch.where(alike, keep, (1 - strength) * keep + strength * v)
        z = z + (s_next - s) * v
    assert 0 < replaced < 2 * x.numel()
    editor = VeloEdit(level=0.8, steps=5, threshold=0.6, until=0.4)
    assert relative_error(editor.edit(latent, target, [strength], seed=3)[0].z, z) < 1e-12


def test_mixing_moves_the_clean_estimate_its_share_of_the_way() -> None:
    """One step from the top to the clean end gives ``x + strength (x_hat - x)``, x_hat in closed form."""
    backbone = example_mixture(dimension=6)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    z = 0.3 * latent.z + 0.7 * draw((6,), seed=0, purpose="veloedit").to(latent.z)
    clean = backbone.at(z, levels_of(z, 0.7), target).clean
    one = VeloEdit(level=0.7, steps=1, threshold=1.0, until=0.0)
    for strength in (-0.4, 0.5, 1.0):
        found = one.edit(latent, target, [strength])[0].z
        assert relative_error(found, latent.z + strength * (clean - latent.z)) < 1e-12


STEERED = [0.8, 0.6, 0.4, 0.2, 0.0]


@pytest.mark.parametrize("strength", [1.0, -0.7, 1.6])
def test_is_what_the_text_changes_in_a_sample_and_nothing_else(latent: JointLatent, strength: float) -> None:
    target = latent.backbone.embed(["c"]).expand(3)
    start = 0.2 * latent.z + 0.8 * draw((6,), seed=2, purpose="velocity-steering").to(latent.z)

    def sampled(scale: float) -> Tensor:
        z = start
        for s, s_next in itertools.pairwise(STEERED):
            v0, v1 = (latent.backbone.velocity(z, levels_of(z, s), text) for text in (latent.condition, target))
            z = z + (s_next - s) * (v0 + scale * (v1 - v0))
        return z

    editor = VelocitySteering(level=0.8, steps=5, scale=1.5, probes=0)
    found = editor.edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, latent.z + sampled(1.5 * strength) - sampled(0.0)) < 1e-12


@pytest.mark.slow
def test_steered_strengths_are_shares_of_the_whole_change(latent: JointLatent) -> None:
    """At what was measured up to rounding; elsewhere nearer than scales are. 0 is the picture, bit for bit."""
    target, strengths = latent.backbone.embed(["c"]), [0.0, 0.25, 0.4, 0.5, 0.8, 1.0]

    def shares(probes: int) -> Tensor:
        editor = VelocitySteering(level=0.9, steps=8, scale=4.0, probes=probes)
        found = editor.edit(latent, target, strengths)
        assert torch.equal(found[0].z, latent.z)
        return measure_effect(torch.stack([one.z - latent.z for one in found]), found[-1].z - latent.z)

    wanted = torch.tensor(strengths, dtype=torch.float64)[:, None]
    plain, even = ((shares(probes) - wanted).abs().max() for probes in (0, 7))
    assert plain > 0.05
    assert even < plain / 4


@pytest.mark.slow
def test_what_a_strength_does_does_not_depend_on_the_others(latent: JointLatent) -> None:
    target, editor = latent.backbone.embed(["c"]), VelocitySteering(level=0.9, steps=4, probes=2)
    together = editor.edit(latent, target, [0.3, -1.0, 2.0])
    for one in together:
        (alone,) = editor.edit(latent, target, [one.strength])
        assert torch.equal(alone.z, one.z)

"""Editors that sample from a noised image, against explicit loops, and the field that they follow."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from latentedit.editors import SDEdit, TextSteering, VelocitySteering, VeloEdit
from latentedit.editors.strength import effect_along
from latentedit.encoding.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import edit_of, vp_model
from tests.identification.mixtures import levels_of, mixture_latent
from tests.testing.tolerances import relative_error


@pytest.mark.parametrize("strength", [0.5, 0.83])
def test_sdedit_starts_at_its_share_of_the_level_and_follows_the_target_flow(
    latent: JointLatent, strength: float
) -> None:
    """Under one Gaussian the flow has a closed form; Euler with 400 steps is within 1 % of it."""
    latent = mixture_latent(latent.backbone, condition=latent.backbone.only(0))
    start = 0.8 * strength
    found = SDEdit(level=0.8, steps=400, guidance=1.0).edit(latent, latent.backbone.only(1), [strength], seed=3)[0].z
    noise = draw((6,), seed=3, purpose="sdedit").to(latent.z)
    noisy = (1 - start) * latent.z + start * noise
    assert relative_error(found, latent.backbone.flow_map(noisy, start, 0.0, 1)) < 1e-2
    assert relative_error(found, latent.backbone.flow_map(noisy, start - 0.1, 0.0, 1)) > 2e-2


def test_a_field_is_evaluated_at_the_nearest_level_of_the_model() -> None:
    """Guidance changes nothing about it; levels in the model's range are kept."""
    model = vp_model()
    latent, low, high = mixture_latent(model), model.capabilities.s_min, model.capabilities.s_max
    z, text = draw((3, 2, 3), seed=0, purpose="tests").double(), model.embed(["c"]).expand(3)
    for level, nearest in ((0.0, low), (0.3, 0.3), (1.0, high)):
        for guidance in (1.0, 2.5):
            expected = GuidedField(backbone=model, condition=text, guidance=guidance)(z, levels_of(z, nearest))
            edit, at = edit_of(latent), levels_of(z, level)
            assert torch.equal(edit.field(text, guidance)(z, at), expected)
            assert torch.equal(dataclasses.replace(edit, target=text).two_fields(1.0, guidance)[1](z, at), expected)


@pytest.mark.parametrize("strength", [-0.7, 1.6])
def test_text_steering_adds_the_difference_of_two_samples(latent: JointLatent, strength: float) -> None:
    target = latent.backbone.embed(["c"])
    start = 0.25 * latent.z + 0.75 * draw((6,), seed=2, purpose="text-steering").to(latent.z)

    def sampled(tokens: Tensor) -> Tensor:
        text, z = type(target)(tokens=tokens, pooled=target.pooled), start
        for s, s_next in itertools.pairwise([0.75, 0.6, 0.4, 0.2, 0.0]):
            z = z + (s_next - s) * latent.backbone.velocity(z, levels_of(z, s), text)
        return z

    source = latent.condition.tokens[:1]
    expected = latent.z + sampled(source + strength * (target.tokens - source)) - sampled(source)
    found = TextSteering(level=0.75, steps=5).edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize("strength", [0.3, 1.0, -0.5, 1.7])
def test_veloedit_matches_the_published_loop(latent: JointLatent, strength: float) -> None:
    """Elementwise similarity, replacement and blend as in the paper; then plain steps.

    The rule is written with the similarity as a quotient and the blend weight ``a = 1 - strength``.
    """
    backbone, target, x = latent.backbone, latent.backbone.embed(["c"]), latent.z
    noise = draw((6,), seed=3, purpose="veloedit").to(x)
    z, replaced = 0.2 * x + 0.8 * noise, 0
    for s, s_next in itertools.pairwise([0.8, 0.6, 0.4, 0.2, 0.0]):
        v = backbone.velocity(z, levels_of(z, s), target)
        if s > 0.4:
            keep = (z - x) / s
            similar = keep.abs() / (keep.abs() + (v - keep).abs()) >= 0.6
            replaced += int(similar.sum())
            v = torch.where(similar, keep, (1 - strength) * keep + strength * v)
        z = z + (s_next - s) * v
    assert 0 < replaced < 2 * x.numel()
    editor = VeloEdit(level=0.8, steps=5, threshold=0.6, until=0.4)
    assert relative_error(editor.edit(latent, target, [strength], seed=3)[0].z, z) < 1e-12


LEVELS = [0.8, 0.6, 0.4, 0.2, 0.0]


@pytest.mark.parametrize("strength", [1.0, -0.7, 1.6])
def test_velocity_steering_adds_only_the_change_by_the_text(latent: JointLatent, strength: float) -> None:
    target = latent.backbone.embed(["c"]).expand(3)
    start = 0.2 * latent.z + 0.8 * draw((6,), seed=2, purpose="velocity-steering").to(latent.z)

    def sampled(scale: float) -> Tensor:
        z = start
        for s, s_next in itertools.pairwise(LEVELS):
            v0, v1 = (latent.backbone.velocity(z, levels_of(z, s), text) for text in (latent.condition, target))
            z = z + (s_next - s) * (v0 + scale * (v1 - v0))
        return z

    editor = VelocitySteering(level=0.8, steps=5, scale=1.5, probes=0)
    found = editor.edit(latent, target, [strength], seed=2)[0].z
    assert relative_error(found, latent.z + sampled(1.5 * strength) - sampled(0.0)) < 1e-12


def test_steered_strengths_are_shares_of_the_whole_change(latent: JointLatent) -> None:
    """Exactly at the probes, up to rounding; elsewhere closer than without probes. Strength 0 is exactly the image."""
    target, strengths = latent.backbone.embed(["c"]), [0.0, 0.25, 0.4, 0.5, 0.8, 1.0]

    def shares(probes: int) -> Tensor:
        editor = VelocitySteering(level=0.9, steps=8, scale=4.0, probes=probes)
        found = editor.edit(latent, target, strengths)
        assert torch.equal(found[0].z, latent.z)
        return effect_along(torch.stack([one.z - latent.z for one in found]), found[-1].z - latent.z)

    wanted = torch.tensor(strengths, dtype=torch.float64)[:, None]
    plain, even = ((shares(probes) - wanted).abs().max() for probes in (0, 7))
    assert plain > 0.05
    assert even < plain / 4


def test_strengths_of_a_sweep_do_not_affect_each_other(latent: JointLatent) -> None:
    target, editor = latent.backbone.embed(["c"]), VelocitySteering(level=0.9, steps=4, probes=2)
    together = editor.edit(latent, target, [0.3, -1.0, 2.0])
    for one in together:
        (alone,) = editor.edit(latent, target, [one.strength])
        assert torch.equal(alone.z, one.z)

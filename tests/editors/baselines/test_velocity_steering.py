"""Steering by velocities against its formula, written out, and its strength against shares of the whole change."""

import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.editors.baselines.velocity_steering import VelocitySteering
from latentedit.editors.strength import measure_effect
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of

LEVELS = [0.8, 0.6, 0.4, 0.2, 0.0]


@pytest.mark.parametrize("strength", [1.0, -0.7, 1.6])
def test_is_what_the_text_changes_in_a_sample_and_nothing_else(latent: JointLatent, strength: float) -> None:
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


@pytest.mark.slow
def test_strengths_are_shares_of_the_whole_change(latent: JointLatent) -> None:
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

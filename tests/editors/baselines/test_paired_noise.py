"""Noises in pairs: which they are, what two runs average, and levels that are spaced as those of `HSDS`."""

import dataclasses
import itertools

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors import SDEdit, TextSteering, VelocitySteering
from latentedit.editors.base import Editor
from latentedit.editors.baselines.flow_paths import FlowEdit
from latentedit.editors.edit import Edit
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS
from latentedit.numerics.flow import level_batch
from latentedit.numerics.rng import draw


def test_the_second_half_of_the_noises_are_the_negatives_of_the_first(latent: JointLatent) -> None:
    edit = Edit(name="flowedit", latent=latent, target=latent.condition, strength=1.0, seed=5)
    first, second = FlowEdit(noises=4, antithetic=True).drawn(edit, "flowedit", index=3).chunk(2)
    assert torch.equal(second, -first)
    assert torch.equal(first[:, 0], draw((2, 6), seed=5, purpose="flowedit", index=3).to(first))
    assert torch.equal(edit.mirrored().noise(index=3), -edit.noise(index=3))
    with pytest.raises(ConfigError, match="even"):
        FlowEdit(noises=3, antithetic=True)


def test_flowedit_takes_the_mean_over_a_pair_in_each_step(latent: JointLatent) -> None:
    backbone, x = latent.backbone, latent.z
    source, target = latent.condition, backbone.embed(["c"]).expand(len(latent))
    levels, delta = latent.path(4, 0.9, 2.5).levels, torch.zeros_like(x)
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        e, at = draw((6,), seed=2, purpose="flowedit", index=index).to(x), level_batch(s, x)
        pair = [(1 - s) * x + s * sign * e for sign in (1, -1)]
        dv = sum(backbone.velocity(a + delta, at, target) - backbone.velocity(a, at, source) for a in pair) / 2
        delta = delta + (s_next - s) * dv
    editor = FlowEdit(level=0.9, steps=4, target_guidance=1.0, noises=2, antithetic=True, shift=2.5)
    found = editor.edit(latent, target, [1.0], seed=2)[0].z
    assert torch.allclose(found, x + delta, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "editor", [SDEdit(steps=5), TextSteering(steps=4), VelocitySteering(steps=4, probes=1)], ids=lambda one: one.name
)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_a_pair_is_the_mean_of_two_runs_at_twice_the_cost(latent: JointLatent, editor: Editor, strength: float) -> None:
    target = latent.backbone.embed(["c"]).expand(len(latent))
    pair = type(editor).from_dict({**editor.to_dict(), "antithetic": True})
    edit = Edit(name=editor.name, latent=latent, target=target, strength=strength, strengths=(strength,), seed=3)
    runs = [editor.move(dataclasses.replace(edit, sign=sign, shared={})) for sign in (1, -1)]
    assert not torch.allclose(runs[0], runs[1])
    assert torch.allclose(pair.edit(latent, target, [strength], seed=3)[0].z, (runs[0] + runs[1]) / 2)
    single = editor.evaluations(latent, strength=strength)
    assert pair.evaluations(latent, strength=strength) == 2 * single


def test_shifted_levels_are_those_of_hsds(latent: JointLatent) -> None:
    levels = latent.path(7, 0.99, 2.5).levels
    assert levels[:-1] == pytest.approx(
        [s for s, _ in HSDS(levels=(0.99, 0.0), shift=2.5, steps=7, step_size=None).path()]
    )
    assert levels[-1] == latent.path(7).levels[-1]

"""FreeSliders against its published field, its exact return, and the evenness of its re-parameterised range."""

import itertools

import pytest
import torch

from latentedit.editors.baselines.freesliders import FreeSliders
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of

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

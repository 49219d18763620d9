"""VeloEdit against its published loop and against what mixing means for the clean estimate."""

import itertools

import pytest
import torch

from latentedit.core.rng import draw
from latentedit.editors.baselines.veloedit import VeloEdit
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.mark.parametrize("strength", [0.3, 1.0, -0.5, 1.7])
def test_is_the_published_loop(latent: JointLatent, strength: float) -> None:
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

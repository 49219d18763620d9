import numpy as np
import pytest
import torch

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.editors.baselines.concept_guidance import Reference
from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM
from latentedit.editors.baselines.ledits import LEDITS
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))


@pytest.mark.parametrize(("reference", "strength"), [("null", 1.0), ("null", -0.7), ("source", 1.6)])
def test_is_the_published_guidance_on_edit_friendly_maps(
    latent: JointLatent, reference: Reference, strength: float
) -> None:
    """In noise estimates, with the residuals as the fresh noise of DDIM at eta 1; masks by NumPy."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    base = backbone.embed([""]) if reference == "null" else latent.condition
    levels = (0.7, 0.6, 0.4, 0.2, 0.0)
    noises = [draw((2, 3), seed=4, purpose="noise maps", index=index).double() for index in range(4)]
    states = [(1 - s) * latent.z + s * e for s, e in zip(levels, noises, strict=False)] + [latent.z]
    y = states[0]
    for index, s in enumerate(levels[:-1]):
        s_next, at = levels[index + 1], levels_of(y, s)
        kept = s_next**2 * (1 - s) / ((1 - s_next) * s)

        def mean(z: torch.Tensor, e: torch.Tensor, s: float = s, s_next: float = s_next, kept: float = kept):
            return (1 - s_next) / (1 - s) * (z - s * e) + kept * e

        def noise(z: torch.Tensor, text: Condition, s: float = s, at: torch.Tensor = at):
            return z + (1 - s) * backbone.velocity(z, at, text)

        x, plain = states[index], noise(y, base)
        psi = strength * 4.0 * (noise(y, target) - plain)
        sums = psi.abs().sum(1, keepdim=True).numpy()
        keep = sums >= np.quantile(sums, 0.6, axis=2, keepdims=True) - 1e-12
        y = mean(y, plain + psi * torch.from_numpy(keep)) + states[index + 1] - mean(x, noise(x, base))
    editor = LEDITS(level=0.7, steps=5, scale=4.0, threshold=0.6, reference=reference)
    assert relative_error(editor.edit(latent, target, [strength], seed=4)[0].z, y) < 1e-11
    assert relative_error(y, latent.z) > 1e-2


@pytest.mark.parametrize("strength", [0.4, 1.0, -1.0])
def test_without_a_mask_it_is_edit_friendly_ddpm(latent: JointLatent, strength: float) -> None:
    """From the source ``v0 + scale (v1 - v0)``; the two differ by the rounding of their sums."""
    target = latent.backbone.embed(["c"])
    found = (
        LEDITS(level=0.9, steps=8, scale=2.5, threshold=0.0, reference="source")
        .edit(latent, target, [strength], seed=3)[0]
        .z
    )
    plain = EditFriendlyDDPM(level=0.9, steps=8, target_guidance=1.0)
    assert relative_error(found, plain.edit(latent, target, [2.5 * strength], seed=3)[0].z) < 1e-12


@pytest.mark.parametrize("strength", [1.0, -3.0])
def test_where_the_concept_changes_nothing_the_picture_stays_exactly(latent: JointLatent, strength: float) -> None:
    assert torch.equal(LEDITS(steps=9, reference="source").edit(latent, latent.condition, [strength])[0].z, latent.z)
    null = LEDITS(steps=9)
    assert torch.equal(null.edit(latent, latent.backbone.embed([""]), [strength])[0].z, latent.z)
    assert not torch.equal(null.edit(latent, latent.condition, [strength])[0].z, latent.z)


def test_one_step_changes_only_the_strongest_places(latent: JointLatent) -> None:
    """With three places and threshold 0.9, one place moves, in both channels."""
    moved = LEDITS(level=0.5, steps=1).edit(latent, latent.backbone.embed(["c"]), [1.0])[0].z - latent.z
    assert (moved != 0).sum(2).tolist() == [[1, 1]] * 3
    assert ((moved != 0).any(1) == (moved != 0).all(1)).all()

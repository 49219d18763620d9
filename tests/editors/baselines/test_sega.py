import dataclasses
import itertools

import numpy as np
import pytest
import torch

from latentedit.editors.baselines.concept_guidance import Reference
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.baselines.sega import SEGA
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))


@pytest.mark.parametrize(("reference", "strength"), [("null", 1.0), ("null", -0.7), ("source", 1.6)])
def test_is_the_published_guidance_on_the_aligned_way_back(
    latent: JointLatent, reference: Reference, strength: float
) -> None:
    """In noise estimates, ``e_hat = z + (1 - s) v``, with momentum, thresholds and times; masks by NumPy.

    The way back is written as Euler from a point that stands off the inverted one: at strength 0 it would retrace it.
    """
    backbone, source, target = latent.backbone, latent.condition, latent.backbone.embed(["c"])
    away = backbone.embed([""]) if reference == "null" else source
    levels = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    path = [latent.z]
    for s, above in itertools.pairwise(levels):
        path.append(path[-1] + (above - s) * backbone.velocity(path[-1], levels_of(latent.z, s), source))
    z, nu = path[-1], torch.zeros_like(latent.z)
    for step in range(5):
        s, above = levels[4 - step], levels[5 - step]
        y = z + path[4 - step] - path[5 - step]
        at = levels_of(y, s)
        noise = {
            name: y + (1 - s) * backbone.velocity(y, at, text)
            for name, text in (("base", source), ("concept", target), ("away", away))
        }
        psi = strength * 4.0 * (noise["concept"] - noise["away"])
        sizes = psi.abs().numpy()
        keep = sizes >= np.quantile(sizes, 0.6, axis=2, keepdims=True) - 1e-12
        guidance = (psi * torch.from_numpy(keep) if step < 4 else 0 * psi) + 0.3 * nu
        nu = 0.7 * nu + 0.3 * guidance
        estimate = noise["base"] + (guidance if step >= 1 else 0)
        z = z + (s - above) * (estimate - y) / (1 - s)
    editor = SEGA(
        steps=5, scale=4.0, threshold=0.6, warm_up=0.2, cool_down=0.8, momentum=0.3, decay=0.7, reference=reference
    )
    assert relative_error(editor.edit(latent, target, [strength])[0].z, z) < 1e-11
    assert relative_error(z, latent.z) > 1e-2


@pytest.mark.parametrize("strength", [0.4, 1.0, -1.0])
def test_without_mask_and_momentum_it_is_the_aligned_inversion_with_a_target(
    latent: JointLatent, strength: float
) -> None:
    """``v0 + w (v1 - v0)`` from the source; at w = 1 the target's own velocity."""
    plain = SEGA(steps=8, scale=1.0, threshold=0.0, warm_up=0.0, momentum=0.0, reference="source")
    target = latent.backbone.embed(["c"])
    found = plain.edit(latent, target, [strength])[0].z
    aligned = AlignedInversion(steps=8).edit(latent, target, [1.0])[0].z
    assert (relative_error(found, aligned) < 1e-12) == (strength == 1)
    # the sign of the strength and that of the scale are the same thing
    reverse = dataclasses.replace(plain, scale=-strength)
    assert torch.equal(reverse.edit(latent, target, [-1.0])[0].z, found)


@pytest.mark.parametrize("strength", [1.0, -3.0])
def test_where_the_concept_changes_nothing_the_picture_stays_exactly(latent: JointLatent, strength: float) -> None:
    assert torch.equal(SEGA(steps=9, reference="source").edit(latent, latent.condition, [strength])[0].z, latent.z)
    null = SEGA(steps=9)
    assert torch.equal(null.edit(latent, latent.backbone.embed([""]), [strength])[0].z, latent.z)
    assert not torch.equal(null.edit(latent, latent.condition, [strength])[0].z, latent.z)


def test_guidance_that_never_begins_changes_nothing(latent: JointLatent) -> None:
    assert torch.equal(SEGA(steps=9, warm_up=1.0).edit(latent, latent.backbone.embed(["c"]), [1.0])[0].z, latent.z)


def test_shares_become_the_published_steps() -> None:
    guidance = SEGA().guidance(50)
    assert (guidance.warm_up, guidance.cool_down, guidance.threshold) == (10, None, 0.9)
    assert SEGA(cool_down=0.5).guidance(9).cool_down == 4

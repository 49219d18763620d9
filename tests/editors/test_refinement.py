"""Refinement on a model of independent Gaussian pixels, whose denoised latents have a closed form."""

import dataclasses
import math

import torch

from latentedit.editors.refinement import Refinement, not_refined
from latentedit.encoding.joint import JointLatent
from latentedit.identification.locality import change_share
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone

FINE = Refinement(steps=400)  # Euler's error falls with the steps


def latents(count: int = 2) -> JointLatent:
    model = ColorBackbone()
    z = torch.linspace(-0.5, 0.5, count * 3 * 64).reshape(count, 3, 8, 8)
    return JointLatent(backbone=model, z=z, condition=model.embed(["red"] * count), captions=("red",) * count)


def corner_change(latent: JointLatent) -> torch.Tensor:
    """A change of one corner."""
    change = torch.zeros_like(latent.z)
    change[:, :, :2, :2] = torch.tensor([-1.0, 1.0, 0.0])[:, None, None]
    return change


def test_the_core_is_the_flow_of_the_edited_latent_to_the_target() -> None:
    """``m + sqrt(V / C) (1 - s) (x + d - m)`` with ``C = (1 - s)^2 V + s^2``; the noises cancel, the flow is linear."""
    latent, level = latents(), FINE.level
    change, target = corner_change(latent), latent.backbone.embed(["green"])
    mean = torch.tensor(COLORS["green"])[:, None, None]
    spread = (1 - level) ** 2 * VARIANCE + level**2
    flowed = mean + math.sqrt(VARIANCE / spread) * (1 - level) * (latent.z + change - mean)
    expected = change + change_share(change, FINE.core) * (flowed - latent.z - change)
    refined = FINE(latent, target, change, seed=3)
    core = change_share(change, FINE.hold).expand_as(change) > 0.5  # elsewhere the noised source is held
    assert torch.allclose(refined[core], expected[core], atol=5e-3)
    assert float((refined - change).abs()[core].max()) > 0.1
    assert torch.equal(refined[:, :, 5:, 5:], change[:, :, 5:, 5:])


def test_wide_and_zero_changes_are_not_refined() -> None:
    latent = latents(3)
    change = corner_change(latent)
    change[1], change[2] = 1.0, 0.0
    refined = Refinement()(latent, latent.backbone.embed(["green"]), change, seed=0)
    assert torch.equal(refined[1:], change[1:])
    assert not torch.equal(refined[0], change[0])
    assert torch.equal(Refinement(widest=1.0)(latent, latent.backbone.embed(["green"]), change, seed=0)[2], change[2])


def test_a_change_is_too_wide_by_what_is_drawn() -> None:
    """Not what the latent moves: here a codec draws the first channel alone."""
    latent, target = latents(1), ColorBackbone().embed(["green"])
    change = corner_change(latent)
    change[:, 1:] = 1.0
    latent.backbone.decode = lambda z: z * torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert torch.equal(Refinement()(latent, target, change, seed=0), change)
    assert not_refined(change, change)
    seen = dataclasses.replace(latent, decoded=latent.backbone.decode(latent.z))
    refined = Refinement()(seen, target, change, seed=0)
    assert not torch.equal(refined, change)
    assert not not_refined(change, refined)
    assert not not_refined(0 * change, 0 * change)


def test_each_image_is_refined_by_its_own_seed_in_any_batch() -> None:
    latent, target = latents(), ColorBackbone().embed(["green", "blue"])
    change = corner_change(latent)
    both = Refinement()(latent, target, change, seed=[5, 6])
    for index, seed in enumerate((5, 6)):
        alone = JointLatent(
            backbone=latent.backbone,
            z=latent.z[index : index + 1],
            condition=latent.condition[index : index + 1],
            captions=("red",),
        )
        refined = Refinement()(alone, target[index : index + 1], change[index : index + 1], seed=seed)
        assert torch.allclose(refined, both[index : index + 1], atol=1e-6)

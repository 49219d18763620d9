"""Semantic guidance, its masks by NumPy, and the two editors that use it."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.editors.baselines.concept_guidance import (
    Reference,
    SemanticGuidance,
    strongest_per_channel,
    strongest_places,
)
from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.baselines.ledits import LEDITS
from latentedit.editors.baselines.sega import SEGA
from latentedit.latents.joint import JointLatent
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of

Mask = Callable[[torch.Tensor, float], torch.Tensor]
SHAPE = (2, 3, 5, 4)


def psi_of(index: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return draw(shape, seed=0, purpose="psi", index=index).double()


@pytest.mark.parametrize("threshold", [0.0, 0.37, 0.9, 1.0])
def test_each_channel_keeps_its_strongest_places(threshold: float) -> None:
    """With the quantile of NumPy, one channel at a time."""
    psi = psi_of()
    found = strongest_per_channel(psi, threshold)
    for picture in range(2):
        for channel in range(3):
            values = psi[picture, channel].numpy()
            keep = np.abs(values) >= np.quantile(np.abs(values), threshold) - 1e-12
            assert np.array_equal(found[picture, channel].numpy(), values * keep)
            assert keep.sum() == 20 - math.ceil(19 * threshold - 1e-9)


@pytest.mark.parametrize("threshold", [0.0, 0.37, 0.9])
def test_places_are_shared_by_the_channels(threshold: float) -> None:
    psi = psi_of()
    found = strongest_places(psi, threshold)
    for picture in range(2):
        sums = np.abs(psi[picture].numpy()).sum(0)
        keep = sums >= np.quantile(sums, threshold) - 1e-12
        assert np.array_equal(found[picture].numpy(), psi[picture].numpy() * keep)


@pytest.mark.parametrize("mask", [strongest_per_channel, strongest_places])
def test_masks_know_neither_scale_nor_sign_nor_neighbours(mask: Mask) -> None:
    psi = psi_of()
    assert torch.equal(mask(-4 * psi, 0.7), -4 * mask(psi, 0.7))
    assert torch.equal(mask(psi, 0.7)[1:], mask(psi[1:], 0.7))


@pytest.mark.parametrize("mask", [strongest_per_channel, strongest_places])
def test_latents_without_places_are_one_channel(mask: Mask) -> None:
    psi = torch.tensor([[3.0, -1.0, 0.5, -4.0, 2.0]])
    assert mask(psi, 0.5).tolist() == [[3.0, 0.0, 0.0, -4.0, 2.0]]


@pytest.mark.parametrize(("warm_up", "cool_down"), [(0, None), (2, None), (1, 3), (4, 4)])
def test_momentum_is_gathered_from_the_first_step_and_outlives_psi(warm_up: int, cool_down: int | None) -> None:
    """The recursion in numbers: one place, whose psi is 1, 2, 3, ..."""
    guidance = SemanticGuidance(warm_up=warm_up, cool_down=cool_down, momentum=0.3, decay=0.6)
    carried, nu = torch.zeros(1, 1), 0.0
    for index in range(6):
        found, carried = guidance.step(index, torch.full((1, 1), index + 1.0), carried)
        wanted = (0.0 if cool_down is not None and index >= cool_down else index + 1.0) + 0.3 * nu
        nu = 0.6 * nu + 0.4 * wanted
        assert float(found) == pytest.approx(wanted if index >= warm_up else 0.0, rel=1e-6)
        assert float(carried) == pytest.approx(nu, rel=1e-6)


@pytest.mark.parametrize(("reference", "strength"), [("null", 1.0), ("null", -0.7), ("source", 1.6)])
def test_is_the_published_guidance_on_the_aligned_way_back(
    places: JointLatent, reference: Reference, strength: float
) -> None:
    """In noise estimates, ``e_hat = z + (1 - s) v``, with momentum, thresholds and times; masks by NumPy.

    The way back is written as Euler from a point that stands off the inverted one: at strength 0 it would retrace it.
    """
    backbone, source, target = places.backbone, places.condition, places.backbone.embed(["c"])
    away = backbone.embed([""]) if reference == "null" else source
    levels = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    path = [places.z]
    for s, above in itertools.pairwise(levels):
        path.append(path[-1] + (above - s) * backbone.velocity(path[-1], levels_of(places.z, s), source))
    z, nu = path[-1], torch.zeros_like(places.z)
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
    assert relative_error(editor.edit(places, target, [strength])[0].z, z) < 1e-11
    assert relative_error(z, places.z) > 1e-2


@pytest.mark.parametrize("strength", [0.4, 1.0, -1.0])
def test_without_mask_and_momentum_it_is_the_aligned_inversion_with_a_target(
    places: JointLatent, strength: float
) -> None:
    """``v0 + w (v1 - v0)`` from the source; at w = 1 the target's own velocity."""
    plain = SEGA(steps=8, scale=1.0, threshold=0.0, warm_up=0.0, momentum=0.0, reference="source")
    target = places.backbone.embed(["c"])
    found = plain.edit(places, target, [strength])[0].z
    aligned = AlignedInversion(steps=8).edit(places, target, [1.0])[0].z
    assert (relative_error(found, aligned) < 1e-12) == (strength == 1)
    # the sign of the strength and that of the scale are the same thing
    reverse = dataclasses.replace(plain, scale=-strength)
    assert torch.equal(reverse.edit(places, target, [-1.0])[0].z, found)


def test_shares_become_the_published_steps() -> None:
    guidance = SEGA().guidance(50)
    assert (guidance.warm_up, guidance.cool_down, guidance.threshold) == (10, None, 0.9)
    assert SEGA(cool_down=0.5).guidance(9).cool_down == 4


@pytest.mark.parametrize(("reference", "strength"), [("null", 1.0), ("null", -0.7), ("source", 1.6)])
def test_is_the_published_guidance_on_edit_friendly_maps(
    places: JointLatent, reference: Reference, strength: float
) -> None:
    """In noise estimates, with the residuals as the fresh noise of DDIM at eta 1; masks by NumPy."""
    backbone, target = places.backbone, places.backbone.embed(["c"])
    base = backbone.embed([""]) if reference == "null" else places.condition
    levels = (0.7, 0.6, 0.4, 0.2, 0.0)
    noises = [draw((2, 3), seed=4, purpose="noise maps", index=index).double() for index in range(4)]
    states = [(1 - s) * places.z + s * e for s, e in zip(levels, noises, strict=False)] + [places.z]
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
    assert relative_error(editor.edit(places, target, [strength], seed=4)[0].z, y) < 1e-11
    assert relative_error(y, places.z) > 1e-2


@pytest.mark.parametrize("strength", [0.4, 1.0, -1.0])
def test_without_a_mask_it_is_edit_friendly_ddpm(places: JointLatent, strength: float) -> None:
    """From the source ``v0 + scale (v1 - v0)``; the two differ by the rounding of their sums."""
    target = places.backbone.embed(["c"])
    found = (
        LEDITS(level=0.9, steps=8, scale=2.5, threshold=0.0, reference="source")
        .edit(places, target, [strength], seed=3)[0]
        .z
    )
    plain = EditFriendlyDDPM(level=0.9, steps=8, target_guidance=1.0)
    assert relative_error(found, plain.edit(places, target, [2.5 * strength], seed=3)[0].z) < 1e-12

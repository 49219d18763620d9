"""Editors that steer an aligned return, against explicit loops in other coordinates."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from latentedit.editors import SEGA, AsymmetricEdit, FreeSliders
from latentedit.editors.baselines.aligned_returns import Reference, strongest_per_channel, strongest_places
from latentedit.encoding.inversion import invert
from latentedit.encoding.joint import JointLatent
from tests.identification.mixtures import levels_of, mixture_latent
from tests.identification.networks import NetworkBackbone, network_latent
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error

LEVELS = [0.0, 0.2, 0.4, 0.6]


@pytest.mark.parametrize("strength", [1.0, -0.6, 2.0])
def test_freesliders_matches_the_published_field(latent: JointLatent, strength: float) -> None:
    """``base + a (positive - negative)`` at every step, minus the residual of the inversion."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"]).expand(3)
    up, residuals = [latent.z], []
    for s, s_next in itertools.pairwise(LEVELS):
        residuals.append(backbone.velocity(up[-1], levels_of(latent.z, s), latent.condition))
        up.append(up[-1] + (s_next - s) * residuals[-1])
    z = up[-1]
    for index in (2, 1, 0):
        step, s_batch = LEVELS[index + 1] - LEVELS[index], levels_of(z, LEVELS[index])
        point = z + up[index] - up[index + 1]
        base, positive = (backbone.velocity(point, s_batch, text) for text in (latent.condition, target))
        z = z - step * (base + 1.5 * strength * (positive - base))
    found = FreeSliders(level=0.6, steps=5, scale=1.5).edit(latent, latent.backbone.embed(["c"]), [strength])[0].z
    assert relative_error(found, z) < 1e-12


@pytest.mark.parametrize("sign", [1, -1])
def test_freesliders_strengths_are_shares_of_the_whole_change(latent: JointLatent, sign: int) -> None:
    """Exactly at the probes, up to rounding; between them closer than without probes."""
    target = latent.backbone.embed(["c"])

    def largest_error(probes: int, strengths: list[float]) -> float:
        editor = FreeSliders(steps=6, level=0.9, scale=6.0, probes=probes)
        found = editor.edit(latent, target, [sign * strength for strength in (*strengths, 1.0)])
        moved = torch.stack([(one.z - latent.z).flatten(1).norm(dim=1) for one in found])
        return float((moved[:-1] / moved[-1] - torch.tensor(strengths, dtype=moved.dtype)[:, None]).abs().max())

    plain = largest_error(0, [0.2, 0.5, 0.8])
    assert plain > 0.05
    assert largest_error(7, [0.2, 0.5, 0.8]) < plain / 2
    whole = FreeSliders(steps=6, level=0.9, scale=6.0).edit(latent, target, [sign * 0.25])[0].z - latent.z
    end = FreeSliders(steps=6, level=0.9, scale=6.0).edit(latent, target, [sign * 1.0])[0].z - latent.z
    share = float(whole[0].norm() / end[0].norm())
    mapped = FreeSliders(steps=6, level=0.9, scale=6.0, probes=3).edit(latent, target, [sign * share])[0].z - latent.z
    assert relative_error(mapped[0], whole[0]) < 1e-9


@pytest.mark.parametrize("until", [0.0, 0.45])
@pytest.mark.parametrize("strength", [-0.7, 1.6])
def test_asyrp_combines_the_clean_estimates_of_two_texts(until: float, strength: float) -> None:
    """``(1 - s') x~ + s' e_hat`` of a step, at the states of the inversion; estimates in closed form."""
    backbone = example_mixture(dimension=6)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    trace = invert(latent, latent.path(5, 0.75))
    z = trace.top
    for index in (3, 2, 1, 0):
        s, s_next = trace.levels[index + 1], trace.levels[index]
        s_batch = levels_of(z, s_next)
        source, target_estimate = (
            backbone.at(z + trace.states[index] - trace.states[index + 1], s_batch, text)
            for text in (latent.condition, target)
        )
        share = 0.5 * strength if s > until else 0.0
        guided = source.velocity + share * (target_estimate.velocity - source.velocity)
        z = (1 - s_next) * (z - s * guided) + s_next * (z + (1 - s) * source.velocity)
    editor = AsymmetricEdit(level=0.75, steps=5, scale=0.5, until=until)
    assert relative_error(editor.edit(latent, target, [strength])[0].z, z) < 1e-11


def test_asyrp_reads_features_at_the_moved_latent() -> None:
    """Two steps by hand: the second shift is that of the moved latent."""
    latent = network_latent(NetworkBackbone())
    backbone, target = latent.backbone, latent.backbone.embed(["zebra", "quagga"])
    trace, moved = invert(latent, latent.path(2)), torch.zeros_like(latent.z)
    for index, (s, s_next) in ((1, (1.0, 0.5)), (0, (0.5, 0.0))):
        z, s_batch = trace.states[index] + moved, levels_of(latent.z, s_next)
        edited, original = (backbone.features(z, s_batch, text, "mid") for text in (target, latent.condition))
        v = backbone.velocity(z, s_batch, latent.condition)
        shifted = backbone.velocity_with(z, s_batch, latent.condition, "mid", 1.4 * (edited - original))
        moved = moved + (s_next - s) * (v - trace.velocities[index]) - (1 - s_next) * s * (shifted - v)
    found = AsymmetricEdit(level=1.0, steps=2, scale=0.7, until=0.0).edit(latent, target, [2.0])[0].z
    assert relative_error(found, latent.z + moved) < 1e-12


Mask = Callable[[torch.Tensor, float], torch.Tensor]


@pytest.mark.parametrize("mask", [strongest_per_channel, strongest_places])
def test_vector_latents_are_one_channel(mask: Mask) -> None:
    psi = torch.tensor([[3.0, -1.0, 0.5, -4.0, 2.0]])
    assert mask(psi, 0.5).tolist() == [[3.0, 0.0, 0.0, -4.0, 2.0]]


@pytest.mark.parametrize(("reference", "strength"), [("null", 1.0), ("null", -0.7), ("source", 1.6)])
def test_sega_matches_the_published_guidance(
    spatial_latent: JointLatent, reference: Reference, strength: float
) -> None:
    """In noise estimates, ``e_hat = z + (1 - s) v``, with momentum, thresholds and times; masks by NumPy.

    The return is written as Euler from a point offset from the inverted one; at strength 0 it retraces the inversion.
    """
    backbone, source, target = spatial_latent.backbone, spatial_latent.condition, spatial_latent.backbone.embed(["c"])
    reference_text = backbone.embed([""]) if reference == "null" else source
    levels = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    path = [spatial_latent.z]
    for s, above in itertools.pairwise(levels):
        path.append(path[-1] + (above - s) * backbone.velocity(path[-1], levels_of(spatial_latent.z, s), source))
    z, nu = path[-1], torch.zeros_like(spatial_latent.z)
    for step in range(5):
        s, above = levels[4 - step], levels[5 - step]
        y = z + path[4 - step] - path[5 - step]
        s_batch = levels_of(y, s)
        noise = {
            name: y + (1 - s) * backbone.velocity(y, s_batch, text)
            for name, text in (("base", source), ("concept", target), ("reference", reference_text))
        }
        psi = strength * 4.0 * (noise["concept"] - noise["reference"])
        sizes = psi.abs().numpy()
        keep = sizes >= np.quantile(sizes, 0.6, axis=2, keepdims=True) - 1e-12
        guidance = (psi * torch.from_numpy(keep) if step < 4 else 0 * psi) + 0.3 * nu
        nu = 0.7 * nu + 0.3 * guidance
        estimate = noise["base"] + (guidance if step >= 1 else 0)
        z = z + (s - above) * (estimate - y) / (1 - s)
    editor = SEGA(
        steps=5, scale=4.0, threshold=0.6, warm_up=0.2, cool_down=0.8, momentum=0.3, decay=0.7, reference=reference
    )
    assert relative_error(editor.edit(spatial_latent, target, [strength])[0].z, z) < 1e-11
    assert relative_error(z, spatial_latent.z) > 1e-2

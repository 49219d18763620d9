"""Editors that invert, against the published loops and the flows of Gaussians."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.editors import DNAEdit, FireFlow, Inversion, RFInversion, RFSolver, UniEdit
from latentedit.editors.base import Editor, make_editor
from latentedit.editors.baselines.inversions import region_mask
from latentedit.editors.edit import Under
from latentedit.encoding.joint import JointLatent
from latentedit.models.codec import pack, unpack
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import vp_model
from tests.editors.models import on_shifted_grid
from tests.identification.mixtures import guidance_distilled, levels_of, mixture_latent
from tests.miniatures.flow import flux
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error


@pytest.mark.parametrize("strength", [1.0, -0.6])
@pytest.mark.parametrize("editor", [RFSolver(level=0.8, steps=5), FireFlow(level=0.8, steps=5)], ids=lambda e: e.name)
def test_rf_solver_and_fireflow_match_the_published_loops(latent: JointLatent, editor: Editor, strength: float) -> None:
    """Inversion and return with midpoint steps.

    RF-Solver (T4): ``z + h v + h^2/2 (v(z + h/2 v, s + h/2) - v) / (h/2)``. FireFlow: the first
    velocity of a step is the midpoint velocity of the last one; inversion and return each evaluate their first.
    """
    target, levels, v = latent.backbone.embed(["c"]).expand(3), [0.0, 0.2, 0.4, 0.6, 0.8], latent.backbone.velocity

    def walk(z: Tensor, text: Condition, nodes: list[float]) -> Tensor:
        kept: Tensor | None = None
        for s, s_next in itertools.pairwise(nodes):
            h = s_next - s
            first = v(z, levels_of(z, s), text) if kept is None else kept
            middle = v(z + h / 2 * first, levels_of(z, s + h / 2), text)
            if isinstance(editor, RFSolver):
                z = z + h * first + h**2 / 2 * (middle - first) / (h / 2)
            else:
                z, kept = z + h * middle, middle
        return z

    text = (1 - strength) * latent.condition + strength * target
    expected = walk(walk(latent.z, latent.condition, levels), text, levels[::-1])
    assert relative_error(editor.edit(latent, target, [strength])[0].z, expected) < 1e-12
    assert relative_error(Inversion(level=0.8, steps=5).edit(latent, target, [strength])[0].z, expected) > 1e-2


@pytest.mark.parametrize("under", ["empty", "source"])
def test_uni_edit_matches_the_published_method(spatial_latent: JointLatent, under: Under) -> None:
    """Uni-Inv with its backward guess, then correction and mixed velocity as two moves; image by image."""
    target, v = spatial_latent.backbone.embed(["c"]), spatial_latent.backbone.velocity
    levels, weight = [0.0, 0.2, 0.4, 0.6, 0.8], 3.0
    for index in range(3):
        z, source = spatial_latent.z[index : index + 1], spatial_latent.condition[index : index + 1]
        text = spatial_latent.backbone.embed([""]) if under == "empty" else source
        before = v(z, levels_of(z, 0.0), text)
        for s, s_next in itertools.pairwise(levels):
            before = v(z + (s_next - s) * before, levels_of(z, s_next), text)
            z = z + (s_next - s) * before
        for s, s_next in itertools.pairwise(levels[::-1]):
            target_v, source_v = v(z, levels_of(z, s), target), v(z, levels_of(z, s), source)
            size = (target_v - source_v).abs().mean(dim=1)
            mask = ((size - size.min()) / (size.max() - size.min()))[:, None]
            z = z + weight * (s_next - s) * (1 + mask) * (target_v - source_v)
            z = z + (s_next - s) * (mask * target_v + (1 - mask) * source_v)
        editor = UniEdit(level=0.8, steps=5, weight=weight, under=under)
        found = editor.edit(spatial_latent, target, [1.0])[0].z[index : index + 1]
        assert relative_error(found, z) < 1e-11


def test_the_mask_is_normalized_per_image_and_shared_by_its_channels() -> None:
    d = draw((2, 4, 3, 5), seed=0, purpose="tests").double()
    mask = region_mask(d)
    assert mask.shape == (2, 1, 3, 5)
    assert mask.amin((1, 2, 3)).tolist() == [0, 0]
    assert mask.amax((1, 2, 3)).tolist() == [1, 1]
    assert relative_error(region_mask(-7 * d), mask) < 1e-12
    order = d.abs().mean(1).flatten(1).argsort(1)
    assert torch.equal(mask.flatten(1).argsort(1), order)
    assert torch.equal(region_mask(torch.full((1, 2, 3), -2.0)), torch.zeros(1, 1, 3))
    assert region_mask(torch.tensor([[1.0, -2.0, 3.0]])).tolist() == [[0.0, 0.5, 1.0]]


def test_the_mask_of_flux_has_one_value_for_each_token() -> None:
    """The mean over the 4 c numbers of a packed token, as the published code takes it."""
    d = draw((2, 4, 6, 8), seed=0, purpose="tests").double()
    size = pack(d).abs().mean(-1)
    low, high = size.amin(1, keepdim=True), size.amax(1, keepdim=True)
    tokens = ((size - low) / (high - low))[..., None].expand(-1, -1, 4)
    assert relative_error(region_mask(d, 2), unpack(tokens, (3, 4))) < 1e-12
    editor: Any = make_editor("uni-edit", le.from_pipeline(flux()))
    assert editor.patch == 2


@pytest.fixture
def shifted(latent: JointLatent) -> JointLatent:
    return on_shifted_grid(latent, 3.0)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.3, -0.5])
def test_rf_inversion_matches_the_published_method(shifted: JointLatent, legacy: bool, strength: float) -> None:
    """Four steps, gamma 0.4, eta 0.7 on the second and third; a strength makes that ``1 - strength (1 - eta)``.

    Shares of steps are rounded down, and the empty text has no weight unless guidance is embedded.
    """
    z, v, target = shifted.z, shifted.backbone.velocity, shifted.backbone.embed(["c"])
    e, empty = draw((6,), seed=2, purpose="rf-inversion").to(z), shifted.backbone.embed([""])
    falling = [1.0, 0.9, 0.75, 0.5, 0.0]
    assert shifted.path(4).levels == pytest.approx(falling)
    labels = [0.0, 0.2, 0.4, 0.6] if legacy else falling[:0:-1]
    lengths = [0.1, 0.15, 0.25, 0.5] if legacy else [0.5, 0.25, 0.15, 0.1]
    y = z
    for s, h in zip(labels, lengths, strict=True):
        y = y + h * (0.6 * v(y, levels_of(z, s), empty) + 0.4 * (e - y) / (1 - s))
    for index, (s, s_next) in enumerate(itertools.pairwise(falling)):
        eta = 1 - strength * (1 - (0.7 if index in (1, 2) else 0.0))
        y = y + (s_next - s) * ((1 - eta) * v(y, levels_of(z, s), target) + eta * (y - z) / s)
    editor = RFInversion(steps=4, gamma=0.4, eta=0.7, start=0.25, stop=0.9, legacy=legacy, up_guidance=3.0)
    assert relative_error(editor.edit(shifted, target, [strength], seed=2)[0].z, y) < 1e-12


def test_rf_inversion_uses_its_inversion_weight_with_embedded_guidance() -> None:
    mixture = example_mixture(dimension=6)
    latent, requested = mixture_latent(mixture), list[float | None]()

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        requested.append(condition.guidance)
        return mixture.velocity(z, s, dataclasses.replace(condition, guidance=None))

    student = guidance_distilled(mixture)
    object.__setattr__(student, "velocity", velocity)
    editor = RFInversion(steps=2, guidance=3.5, up_guidance=0.0)
    editor.edit(dataclasses.replace(latent, backbone=student), mixture.embed(["c"]), [1.0])
    assert requested == [0.0, 0.0, 3.5, 3.5]


@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("model", ["flow", "variance-preserving"])
def test_t7_rf_inversion_with_eta_one_returns_the_image_exactly(gamma: float, model: str) -> None:
    """For any target and strength, even if the clean end of the grid is not level 0."""
    latent = mixture_latent(example_mixture(dimension=6) if model == "flow" else vp_model())
    target = latent.backbone.embed(["c"])
    editor = RFInversion(steps=6, gamma=gamma, eta=1.0, stop=1.0)
    for strength in (1.0, -3.0):
        assert torch.equal(editor.edit(latent, target, [strength])[0].z, latent.z)
    assert editor.keeps_equal_texts
    partial = RFInversion(steps=6, gamma=gamma, eta=1.0, stop=0.8)
    assert not partial.keeps_equal_texts
    assert relative_error(partial.edit(latent, target, [1.0])[0].z, latent.z) > 1e-2


LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)


@pytest.mark.parametrize("eta", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_dnaedit_matches_the_published_method(latent: JointLatent, eta: float, strength: float) -> None:
    """The inversion corrects noise and latent; the return undoes the correction where it evaluates the network."""
    z, e, v = latent.z, draw((6,), seed=2, purpose="dnaedit").to(latent.z), latent.backbone.velocity
    text = (1 - strength) * latent.condition + strength * latent.backbone.embed(["c"]).expand(3)
    corrections: list[Tensor] = []
    velocities: list[Tensor] = []
    for s, s_next in itertools.pairwise(LEVELS):
        noised = (s_next - s) / (1 - s) * (e - z) + z
        velocities.append(v(noised, levels_of(z, s_next), latent.condition))
        excess = (noised - z) / (s_next - s) - velocities[-1]
        corrections.append(excess * (s_next - s))
        e = e - excess * (1 - s)
        z = noised - corrections[-1]
    reference = latent.z
    for s, s_next in itertools.pairwise(LEVELS[::-1]):
        wanted = v(z + corrections.pop(), levels_of(z, s), text)
        reference = reference + (s_next - s) * (wanted - velocities.pop())
        z = z + (s_next - s) * (eta * wanted + (1 - eta) * (z - reference) / s)
    found = DNAEdit(level=0.8, steps=5, eta=eta).edit(latent, latent.backbone.embed(["c"]), [strength], seed=2)[0].z
    assert relative_error(found, z) < 1e-11

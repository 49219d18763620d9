"""Discoveries on a linear model: what is walked, named, calibrated, compared with chance, and what it costs."""

import dataclasses
import math

import pytest
import torch

import latentedit as le
from latentedit.api.discovery import CONTROLS, SCALES, Discovery, discover, probability_reader, undamaged_scale
from latentedit.api.result import EditResult
from latentedit.core.errors import ConfigError
from latentedit.directions.local_basis import LocalBasis
from latentedit.editors.walks.step_length import CLOSE, EFFECT
from tests.api.discoveries import gain, halves, known_basis, widen
from tests.editors.colours import ColourBackbone


def test_directions_are_walked_in_both_signs_and_named(basis: LocalBasis, discovery: Discovery) -> None:
    assert [one.probe.meaning.name for one in discovery.directions] == [
        "top: light (+), dark (-)",
        "bottom: light (+), dark (-)",
    ]
    for index, one in enumerate(discovery.directions):
        walked = one.probe
        assert walked.meaning.purity == pytest.approx(1.0, abs=1e-6)
        assert walked.effect == pytest.approx(EFFECT, rel=CLOSE)
        moved = (walked.z - basis.latent.z) / walked.length
        for scale, z in zip(SCALES, moved, strict=True):
            assert torch.allclose(z, scale * gain(basis) * halves()[index], atol=1e-5)


@pytest.mark.parametrize(("strength", "tolerance"), [(1.0, 1e-3), (-1.0, 0.05)])
def test_a_direction_does_in_an_edit_what_it_did_here(
    basis: LocalBasis, discovery: Discovery, strength: float, tolerance: float
) -> None:
    """Under another caption than that of the basis, which was none. At -1 the judge may hold back a little."""
    latent = basis.latent.under("red")
    for one in discovery.directions:
        result = le.manipulate(latent, one.direction, strength=strength, local=False)
        assert isinstance(result, EditResult)
        expected = one.probe.z[[SCALES.index(strength)]]
        assert (result.latent.z - expected).norm() <= tolerance * (expected - latent.z).norm()


def test_effects_of_a_linear_model_are_its_scales(discovery: Discovery) -> None:
    known = discovery.directions[0].direction.calibration
    assert known is not None
    assert known.scales == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert known.effects == pytest.approx(known.scales, abs=1e-4)
    assert (known.arm, known.level, known.steps) == ("joint", discovery.basis.level, discovery.basis.steps)
    assert -2.0 <= known.lowest <= 0 <= known.highest <= 2.0


def test_random_directions_of_equal_length_and_of_equal_effect(basis: LocalBasis, discovery: Discovery) -> None:
    found = [one.probe for one in discovery.directions]
    assert len(discovery.equal_length) == len(discovery.equal_effect) == min(CONTROLS, len(basis))
    assert [one.length for one in discovery.equal_length] == [one.length for one in found]
    assert [one.effect for one in discovery.equal_effect] == pytest.approx([EFFECT] * 2, rel=CLOSE)
    # The model stretches all directions alike, so equal lengths have equal effects here.
    assert [one.effect for one in discovery.equal_length] == pytest.approx([one.effect for one in found], rel=1e-3)
    least = min(one.meaning.changes[one.meaning.attribute] for one in found)
    assert all(max(one.meaning.changes.values()) < least / 3 for one in discovery.equal_effect)
    again = discover(basis)
    assert all(torch.equal(a.z, b.z) for a, b in zip(again.equal_effect, discovery.equal_effect, strict=True))
    other = discover(dataclasses.replace(basis, seed=4))
    assert not torch.equal(other.equal_effect[0].z, discovery.equal_effect[0].z)


def test_progress_and_cost_and_what_is_needed(basis: LocalBasis) -> None:
    with basis.latent.backbone.count() as cost:
        found = discover(basis)
    assert found.cost.evaluations == cost.evaluations
    told: list[str] = []
    discover(basis, progress=lambda what, done, total: told.append(what))
    assert list(dict.fromkeys(told)) == ["step lengths", "edits", "random directions"]
    bare = dataclasses.replace(basis, latent=dataclasses.replace(basis.latent, frames=()))
    with pytest.raises(ConfigError, match="bare latents"):
        discover(bare)


def test_models_without_such_a_reader_have_places(colours: ColourBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    widen(monkeypatch)
    assert probability_reader(colours) is None
    found = discover(known_basis(colours))
    assert [one.probe.meaning.name for one in found.directions] == ["top", "bottom"]
    assert all(math.isnan(one.meaning.purity) for one in (*found.equal_length, *found.equal_effect))


@pytest.mark.parametrize(
    ("damage", "ends"),
    [
        ((0.9, 0.5, 0.5, 0.9), (-2.0, 2.0)),
        ((2.0, 0.5, 0.25, 1.75), (-1 - 0.5 / 1.5, 1.5)),
        ((3.0, 2.0, 4.0, 5.0), (-0.75 / 1.75, 0.2)),
        ((3.0, 1.0, 0.5, 0.5), (-1.0, 2.0)),
        ((0.5, 1.5, 0.5, 0.5), (-0.75 / 1.25, 2.0)),
        ((2.25, 1.25, 1.5, 2.75), (-0.75, 0.6)),  # .25 + a and .25 + 1.25 a: linear, so found exactly
    ],
)
def test_the_last_sound_scale(damage: tuple[float, ...], ends: tuple[float, float]) -> None:
    """Linear between 0, where the residual is the picture's own, and the scales tried; the first crossing counts."""
    found = tuple(undamaged_scale(SCALES, damage, sign=sign, nothing=0.25) for sign in (-1, 1))
    assert found == pytest.approx(ends)

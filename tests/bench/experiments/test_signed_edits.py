import dataclasses

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.editors.walks.step_length import CLOSE, EFFECT
from latentedit_bench.domains.areas import CHANGED
from latentedit_bench.experiments.signed_edits import SCALES, SignedEdit, changed_share, random_units, signed_edits
from tests.api.discoveries import gain, halves, known_basis, read_surely, widen
from tests.editors.colours import ColourBackbone


def test_both_signs_at_equal_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The colour model is linear, and its latents are its pictures: the change is the direction, at the effect."""
    widen(monkeypatch)
    basis = known_basis(ColourBackbone())
    found = signed_edits(basis, halves())
    assert len(found) == 2
    for edit, unit in zip(found, halves(), strict=True):
        assert edit.effect == pytest.approx(EFFECT, rel=CLOSE)
        length = edit.effect * (3 * 8 * 8) ** 0.5  # root mean square to norm
        for scale, change in zip(SCALES, edit.change, strict=True):
            assert torch.allclose(change, scale * length * unit, atol=1e-3)
        assert edit.shifts == {}
        assert torch.equal(edit.read, edit.change.flatten().double())
    assert gain(basis) > 0


def test_what_the_reader_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probability of light is the mean red of each half, from 0 to 1; values are dark, light."""
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    basis = known_basis(model)
    short = signed_edits(basis, halves())[0]
    assert set(short.shifts) == {"top", "bottom"}
    red = (short.change + basis.latent.frames[0].pixels)[:, 0, :4].clamp(-1, 1).mean((1, 2))
    before = basis.latent.frames[0].pixels[0, :4].mean()
    light = ((red - before) / 2).double()
    assert torch.allclose(short.shifts["top"], torch.stack([-light, light], 1), atol=1e-6)
    assert float(short.shifts["bottom"].abs().max()) < 1e-6
    assert short.read.shape == (2 * 2 * 2,)
    assert torch.allclose(short.read.norm(), short.shifts["top"].norm())


def test_an_edit_is_seen_where_one_attribute_changes() -> None:
    still, moved = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.01)
    some = {"a": torch.tensor([[0.16, -0.16], [0.06, -0.06]]), "b": torch.zeros(2, 2)}  # 0.11 in the mean
    assert SignedEdit(effect=0.4, change=still, shifts=some).seen
    assert not SignedEdit(effect=0.4, change=moved, shifts={"a": 0.9 * some["a"]}).seen
    assert SignedEdit(effect=0.4, change=moved, shifts={}).seen
    assert not SignedEdit(effect=0.4, change=still, shifts={}).seen


def test_random_directions_are_units_of_their_own() -> None:
    basis = known_basis(ColourBackbone())
    first, again, others = (random_units(basis, 2, seed=1, first=first) for first in (0, 0, 2))
    assert torch.equal(first, again)
    assert torch.allclose(first.flatten(1).norm(dim=1), torch.ones(2))
    every = torch.cat([first, others]).flatten(1)
    assert float((every @ every.T - torch.eye(4)).abs().max()) < 0.5  # 192 numbers: cosines are 0.07 or so


def test_bare_latents_are_refused() -> None:
    basis = known_basis(ColourBackbone())
    bare = dataclasses.replace(basis, latent=dataclasses.replace(basis.latent, frames=()))
    with pytest.raises(ConfigError, match="bare latents"):
        signed_edits(bare, halves())


def test_the_effect_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the default; the colour model is linear, so guidance, which damps, needs another length and ends as far."""
    widen(monkeypatch)
    basis = known_basis(ColourBackbone())
    plain, guided = (
        signed_edits(basis, halves(), effect=2 * EFFECT, move=LatentWalk(move=move, repeats=2))
        for move in ("addition", "guidance")
    )
    assert [edit.effect for edit in (*plain, *guided)] == pytest.approx([2 * EFFECT] * 4, rel=CLOSE)


def test_the_share_of_pixels_that_changed() -> None:
    """Of one sign a quarter, of the other none; any colour will do."""
    change = torch.zeros(2, 3, 4, 4)
    change[0, 1, 0] = -(CHANGED + 1) / 127.5
    change[1] = (CHANGED - 1) / 127.5
    assert changed_share(change) == 0.25 / 2

"""Edits to either side at equal effect: what they change, how coarse it is, and how far it is from a render."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.core import ConfigError
from latentedit.geometry import TYPICAL_EFFECT
from latentedit_bench.domains.base import CHANGED, coarseness, distance_to_render
from latentedit_bench.experiments import disentangled as disentangled_module
from latentedit_bench.experiments import edits as module
from latentedit_bench.experiments.disentangled import disentangled, effective_number
from latentedit_bench.experiments.edits import _where_read, edits
from latentedit_bench.experiments.guidance import guidance
from latentedit_bench.experiments.signed_edits import SCALES, SignedEdit, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.transport import changed_share
from latentedit_drawn.domain import PORTRAITS
from latentedit_drawn.render import render_array
from latentedit_portraits.attributes import draw_split
from research.tests.bench.conftest import Register
from research.tests.bench.experiments.leaning import wide_model
from tests.editing.discoveries import gain, halves, known_basis
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray


def test_both_signs_at_equal_effect() -> None:
    """The color model is linear, and its latents are its images: the change is the direction, at the effect."""
    basis = known_basis(wide_model())
    found = signed_edits(basis, halves())
    assert len(found) == 2
    for edit, unit in zip(found, halves(), strict=True):
        assert edit.effect == pytest.approx(TYPICAL_EFFECT, rel=0.1)
        length = edit.effect * (3 * 8 * 8) ** 0.5  # root mean square to norm
        for scale, change in zip(SCALES, edit.change, strict=True):
            assert torch.allclose(change, scale * length * unit, atol=1e-3)
        assert edit.shifts == {}
        assert torch.equal(edit.read, edit.change.flatten().double())
    assert gain(basis) > 0


def test_what_the_reader_sees(register: Register) -> None:
    """The probability of light is the mean red of each half, from 0 to 1; values are dark, light."""
    register("captioners", sure="tests.editing.discoveries:SureReader")
    basis = known_basis(wide_model("sure"))
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


AREAS = {"background": 0.5, "hair": 0.3, "mouth": 0.02}


def test_coarseness_is_the_mean_area_of_the_changes() -> None:
    assert coarseness({"mouth": 0.3}, AREAS) == pytest.approx(0.02)
    assert coarseness({"background": 0.3, "mouth": 0.3}, AREAS) == pytest.approx(0.26)
    assert coarseness({"background": 0.04, "mouth": 0.05}, AREAS) is None
    # one sign changes a quarter of the pixels, the other none; any color will do
    change = torch.zeros(2, 3, 4, 4)
    change[0, 1, 0] = -(CHANGED + 1) / 127.5
    change[1] = (CHANGED - 1) / 127.5
    assert changed_share(change) == 0.25 / 2


def test_rows_compare_the_first_direction_with_a_random_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes of every second column have the frequency 1 for both signs; an empty change has none."""
    stripes = torch.tensor([1.0, -1.0]).repeat(8) * torch.tensor([1.0, -1.0])[:, None, None, None]
    shifts = {"hair": torch.tensor([[-0.6, 0.6], [0.2, -0.2]]), "mouth": torch.tensor([[0.0, 0.0], [-0.2, 0.2]])}
    known = SignedEdit(effect=0.4, change=0.1 * stripes.expand(2, 3, 16, 16), shifts=shifts)
    still = SignedEdit(effect=0.0, change=torch.zeros(2, 3, 16, 16), shifts={})
    given: list[torch.Tensor] = []
    monkeypatch.setattr(module, "attribute_areas", lambda _: AREAS)
    monkeypatch.setattr(module, "signed_edits", lambda basis, units: given.append(units) or [known, still])
    model = ColorBackbone()
    model.defaults = {"captioner": "portraits"}
    study = Study.of(model, [gray()], levels=(0.5,), rank=2, site="clean", steps=4)
    first, second = edits.function(study, 0.5, 0)
    assert first == {"kind": "basis", "coarseness": pytest.approx(0.122 / 0.5), "centroid": pytest.approx(1)}
    assert second == {"kind": "random", "coarseness": None, "centroid": None}
    torch.testing.assert_close(given[0][:1], study.basis(0, 0.5).v[:1])
    assert len(given[0]) == 2


def test_attributes_are_counted_where_any_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The discovered direction changes 0.4, 0.1 and 0, at the effect of the random one, which changes less than 0.1."""

    def edit(*sizes: float) -> SignedEdit:
        shifts = {str(k): torch.tensor([[size, -size]] * 2, dtype=torch.float64) for k, size in enumerate(sizes)}
        return SignedEdit(effect=0.5, change=torch.zeros(2, 3, 4, 4), shifts=shifts)

    made, sought = [edit(0.4, 0.1, 0.0), edit(0.09, 0, 0)], list[float]()

    def known(*_: object, effect: float) -> list[SignedEdit]:
        sought.append(effect)
        return [made.pop()]

    monkeypatch.setattr(disentangled_module, "signed_edits", known)
    study = Study.of(ColorBackbone(), [gray()], levels=(0.5,), rank=2, site="clean", steps=4)
    first, second = disentangled.function(study, 0.5, 0, effect=0.7)
    assert sought == [0.7, 0.5]
    assert (first["kind"], first["seen"], first["changed"], first["one"]) == ("discovered", 1, 2, 0)
    assert first["effective"] == pytest.approx(5 / 4**0.8)
    assert first["total"] == pytest.approx(0.5)
    assert (second["kind"], second["seen"], second["changed"], second["effective"]) == ("random", 0, None, None)
    assert effective_number({"a": 0.2, "b": 0.2, "c": 0.2}) == pytest.approx(3)
    assert effective_number({"a": 0.0}) == 0


@pytest.mark.parametrize(("read", "lowest"), [(6, 0.1), (5, 0.5), (0, 0.5)])
def test_levels_at_which_too_few_images_are_read_do_not_count(read: int, lowest: float) -> None:
    """Below the lowest at which the changes of six images are read, of the basis and of random directions alike."""
    rows = pd.DataFrame(
        {"model": "one", "kind": kind, "image": image, "level": level, "coarseness": size}
        for kind in ("basis", "random")
        for image in range(7)
        for level in (0.9, 0.5, 0.1)
        for size in [None if level == 0.1 and kind == "basis" and image >= read else 0.3]
    )
    found = _where_read(rows)
    known = found[found["coarseness"].notna()]
    assert known["level"].min() == lowest
    assert found["coarseness"].dtype == float
    nothing = _where_read(rows.assign(coarseness=None))
    assert math.isnan(nothing["coarseness"].mean())


def test_a_render_is_on_the_manifold_and_what_is_added_to_it_is_not() -> None:
    """Stripes that the reader does not take for another portrait: their own root mean square, and nothing else."""
    scenes = draw_split("test", 2, 20)
    renders = torch.from_numpy(np.stack([render_array(one) for one in scenes])).permute(0, 3, 1, 2) / 127.5 - 1
    assert distance_to_render(PORTRAITS, renders).tolist() == pytest.approx([0, 0], abs=1e-6)
    stripes = 0.05 * torch.tensor([1.0, -1.0]).repeat(64).expand(2, 3, 128, 128)
    moved = 0.9 * renders + stripes
    assert PORTRAITS.read(moved) == scenes
    expected = (stripes - 0.1 * renders).square().flatten(1).mean(1).sqrt()
    assert distance_to_render(PORTRAITS, moved).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_all_ways_have_one_effect_and_the_unedited_image_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader sees only a flat gray, so the distance is that of the image from gray."""

    class Gray:
        def read(self, pixels: torch.Tensor) -> list[int]:
            return [0] * len(pixels)

        def render(self, scene: int) -> np.ndarray:
            return np.full((8, 8, 3), 128, np.uint8)

    monkeypatch.setattr("latentedit_bench.experiments.guidance.load_domain", lambda name: Gray())
    monkeypatch.setattr("latentedit_bench.experiments.signed_edits.probability_reader", lambda _: None)
    model = wide_model()
    study = Study.of(model, [gray()], levels=(0.5,), rank=2, site="clean", steps=10)
    with pytest.raises(ConfigError):
        list(guidance.function(study, 0.5, 0))
    model.defaults = {"captioner": "portraits"}
    rows = {row["kind"]: row for row in guidance.function(study, 0.5, 0, effect=0.2, repeats=2)}
    assert list(rows) == ["addition", "guidance", "random"]
    assert [row["effect"] for row in rows.values()] == pytest.approx([0.2] * 3, rel=0.1)
    assert rows["addition"]["off"] != rows["random"]["off"]
    basis = study.walkable(study.basis(0, 0.5))
    (edit,) = signed_edits(basis, basis.v[:1], effect=0.2)
    plain = model.decode(study.latents[0].z)
    sizes = [
        (one.clamp(-1, 1) - (128 / 127.5 - 1)).square().flatten(1).mean(1).sqrt()
        for one in (plain, plain + edit.change)
    ]
    assert rows["addition"]["off"] == pytest.approx(float(sizes[1].mean() - sizes[0].mean()), abs=1e-6)

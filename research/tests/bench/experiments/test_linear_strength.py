"""Editing the latent or the text, and what one attribute costs: arms and curves in closed form."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit import HSDS
from latentedit.core import plain
from latentedit.editors import EIM, AlignedInversion, Refinement
from latentedit.encoding import changed_phrases
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.data.items import Dataset
from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.experiment import Context
from latentedit_bench.experiments.hessian_preservation import MEMBER, WITH, WITHOUT, outside, searches
from latentedit_bench.experiments.items import CAPTIONS, COMPLETED, SCORES, Edits, Items, Lab, select_items
from latentedit_bench.experiments.joint_latent import joint_latent, joint_latent_completed
from latentedit_bench.experiments.linear_strength import SDEDIT, TEXT, Scaled, linear_strength
from latentedit_bench.experiments.network_kinds import network_kinds
from latentedit_bench.experiments.single_attribute import margins
from latentedit_bench.experiments.texts import other_requests
from latentedit_bench.metrics.decisions import gradual, straight
from latentedit_bench.ranking.search_spaces import BUDGET
from research.tests.bench.rendered_network import COLORS, RenderedNetwork, prepared

pytestmark = pytest.mark.usefixtures("few_items")

STRENGTHS = np.array([0.25, 0.5, 0.75, 1.0])
NAN = math.nan


@pytest.mark.parametrize(
    ("effects", "smooth", "line"),
    [
        (0.7 * STRENGTHS, 1, 1),
        (STRENGTHS**2, 0, 0.75),  # the last step makes .4375; the furthest point is at one half
        (np.ones(4), 0, 0.25),
        (-2 * STRENGTHS, NAN, 1),
        (0.01 * STRENGTHS, NAN, NAN),
        (np.array([0.1, 0.4, 0.7, 0.8]), 1, 0.875),
        (np.array([0.1, 0.2, 0.7, 0.9]), 0, 1 - 0.25 / 0.9),
        (np.array([0.3, 0.6, 0.55, 0.9]), 0, 1 - 0.15 / 0.9),
        (np.array([0.3, 0.6, 0.599, 0.9]), 1, 1 - 0.15 / 0.9),  # a fall that rounding explains
    ],
)
def test_known_curves(effects: np.ndarray, smooth: float, line: float) -> None:
    """In any order of the rows."""
    rows = pd.DataFrame({"strength": STRENGTHS, "effect": effects}).iloc[[2, 0, 3, 1]]
    assert gradual(rows) == pytest.approx(smooth, nan_ok=True)
    assert straight(rows) == pytest.approx(line, nan_ok=True)


def test_the_text_arm_scaled_is_the_aligned_inversion() -> None:
    """Both go up under the source text and return under ``c0 + strength n``."""
    batch = prepared(2, reads=False)
    scaled, other = Scaled(arm="text", level=0.8, steps=5), AlignedInversion(level=0.8, steps=5)
    for strength in (0.3, 1.0):
        ours, theirs = (one.edit(batch.latent, batch.target, [strength])[0].z for one in (scaled, other))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_at_strength_one_it_is_the_editor_at_the_stated_cost(arm: str) -> None:
    batch = prepared(2, reads=False)
    editor = EIM.from_dict({"arm": arm, "steps": 4, "search": HSDS(steps=2)})
    scaled = Scaled.from_dict(editor.to_dict())
    ours, theirs = (one.edit(batch.latent, batch.target, [1.0], seed=3)[0].z for one in (scaled, editor))
    torch.testing.assert_close(ours, theirs)
    with batch.latent.backbone.count() as cost:
        half = scaled.edit(batch.latent, batch.target, [0.5], seed=3)[0].z
    assert cost.evaluations == 2 * scaled.evaluations(batch.latent, strength=0.5)
    assert Scaled.from_dict(scaled.to_dict()) == scaled
    if arm == "image":
        torch.testing.assert_close(half - batch.latent.z, (ours - batch.latent.z) / 2)


def test_the_arms_on_a_field_that_is_linear() -> None:
    """``v = z/2 - s B c``: a step back takes u to ``(1 - h/2) u``, and under the target text adds ``h s B n``."""
    batch, level = prepared(3, reads=False), 0.8
    latent = batch.latent
    looked = joint_latent.function(batch, seed=3, levels=(level,), steps=5)
    found = {(about["arm"], about["search"]): (about["level"], z - latent.z) for about, z in looked}
    searches = ("annealed", "one look")
    assert set(found) == {("text", "")} | {(arm, one) for arm in ("direct", "image", "joint") for one in searches}
    h, by_caption = level / 4, (batch.target - latent.condition).tokens[:, 0] @ COLORS
    share, by_text = 1 - level, torch.zeros_like(by_caption)
    for s in (0.6, 0.4, 0.2, 0.0):
        share, by_text = share * (1 - h / 2), by_text * (1 - h / 2) + h * s * by_caption
    text = by_text[:, :, None, None].expand_as(latent.z)
    for (arm, search), (at, moved) in found.items():
        d = found["direct", search or "annealed"][1]
        expected = {"direct": d, "text": text, "image": share * d, "joint": share * d + text}[arm]
        assert at == (0 if arm == "direct" else level)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5, msg=f"{arm} {search}")
    assert float(found["direct", "annealed"][1].abs().max()) > 0.01
    assert not torch.allclose(found["direct", "annealed"][1], found["direct", "one look"][1])


def test_both_arms_are_refined_in_the_same_way() -> None:
    """Every arm of the annealed search returns its change and the refined change."""
    batch = prepared(2, reads=False)
    unrefined_arms = [
        (a, z) for a, z in joint_latent.function(batch, seed=3, levels=(0.5,)) if a["search"] != "one look"
    ]
    found = list(joint_latent_completed.function(batch, seed=3))
    for (about, z), unrefined, refined in zip(unrefined_arms, found[::2], found[1::2], strict=True):
        assert (unrefined[0], refined[0]) == ({**about, "refined": "no"}, {**about, "refined": "yes"})
        assert torch.equal(unrefined[1], z)
        better = Refinement()(batch.latent, batch.target, z - batch.latent.z, seed=batch.seeds(3))
        torch.testing.assert_close(refined[1], batch.latent.z + better)
    scores = {("joint", "yes"): 0.9, ("text", "yes"): 0.7, ("image", "yes"): 0.6, ("joint", "no"): 0.5}
    rows = [
        {"model": "m", "item": item, "group": item, "captions": COMPLETED, "search": "annealed", "level": 0.5}
        | {"arm": arm, "refined": refined, "disentanglement": scores.get((arm, refined), 0.4)}
        for item in range(6)
        for arm in ("joint", "text", "image")
        for refined in ("yes", "no")
    ]
    gains = [outcome.estimate for part in joint_latent_completed.conclude(pd.DataFrame(rows)) for outcome in part[:1]]
    assert gains == pytest.approx([0.2, 0.1]), "the refined ones decide"


@pytest.mark.slow
def test_a_new_seed_draws_new_items_of_the_domain() -> None:
    data = [select_items(Items(seed=seed), "full", first=5, domain="scenes") for seed in (20, 21)]
    assert [one.name for one in data] == [f"counterfactual-scenes/{part}/full/changes" for part in ("test", "test21")]
    for field in ("source_caption", "id"):
        assert len({getattr(item, field) for one in data for item in one.items}) == 10


@pytest.mark.slow
def test_an_unchanged_latent_has_no_effect(tmp_path: Path) -> None:
    """Every item of every model is in one batch, and rows name their item and group."""
    at = Context(folder=tmp_path, command="", cache={("model", "there/portraits"): RenderedNetwork()})
    source = Items(models=("a", "b"), items=20, others=5, captions=("full",))
    assert source.units(joint_latent.function, at) == [("a", "full", 0, 16), ("a", "full", 16, 4), ("b", "full", 0, 5)]
    source = Items(models=("there/portraits",), items=6)
    rows = list(
        source.measure(
            lambda batch, seed: [({"arm": "none"}, batch.latent.z)], ("there/portraits", "partial", 4, 2), at
        )
    )
    assert [row["model"] for row in rows] == ["portraits"] * 2
    wanted = select_items(source, "partial", first=6).items[4:]
    assert [(row["item"], row["group"], row["arm"]) for row in rows] == [(one.id, one.group, "none") for one in wanted]
    assert all(one.about["requested"] for one in wanted)
    assert [row["effect"] for row in rows] == pytest.approx([0, 0], abs=0.02)
    assert set(SCORES) <= set(rows[0])


def test_the_margin_is_over_the_worst_other_attribute() -> None:
    names = ("hair", "hair_color", "skin")
    changed = ((0.9, 0.1, 0.3), (0.9, 0.6, 0.2), (0.1, 0.0, 0.7))
    truth = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.2, 0.0, 0.1))
    columns = [f"tv {name}" for name in names] + [f"true tv {name}" for name in names]
    table = pd.DataFrame([(*one, *other) for one, other in zip(changed, truth, strict=True)], columns=columns)
    assert list(margins(table)["margin"]) == pytest.approx([0.6, 0.4, -0.6])


@pytest.mark.slow
@pytest.mark.parametrize("captions", CAPTIONS)
def test_the_control_requests_another_attribute_of_the_caption(captions: str) -> None:
    """The same images and answers; one phrase of the caption differs, and states another attribute's new value."""
    data, domain = select_items(Edits(kinds=("single",)), captions, first=24), load_domain("portraits")
    assert {item.kind for item in data.items} == {"single"}
    found = other_requests(data, 3)
    assert len(found.items) >= 0.9 * len(data.items)
    by_id = {item.id: item for item in data.items}
    for item in found.items:
        same = by_id[item.id]
        assert (item.source_caption, item.image, item.truth) == (same.source_caption, same.image, same.truth)
        (old,), (new,) = changed_phrases(item.source_caption, item.target_caption)
        assert isinstance(item.image, Rendered)
        requested = {one for pair in changed_phrases(same.source_caption, same.target_caption) for one in pair}
        assert old in list(domain.phrases(item.image.scene))
        assert not requested & {old, new}
    assert other_requests(data, 3).fingerprint == found.fingerprint != data.fingerprint


def test_the_change_outside_is_an_energy() -> None:
    """A quarter of a change of energy .5^2 + .5^2; nothing where nothing changed; at most the whole wanted change."""
    table = pd.DataFrame({"outside": [0.25, None, 0.9], "effect": [0.5, 0.0, 1.0], "leakage": [0.5, 0.0, 1.0]})
    found = outside(table.assign(error=[0.3, 1.7, 0.1]))
    assert list(found["change outside"]) == pytest.approx([0.125, 0.0, 1.0])
    assert list(found["at equal effect"]) == pytest.approx([0.5, 0.0, 1.0])
    assert list(found["error"]) == [0.3, 1.0, 0.1]


def test_the_compared_editors_have_the_steps_of_the_plan() -> None:
    lab: Any = SimpleNamespace(model=RenderedNetwork(), edit=lambda methods, _: methods)
    (methods,) = linear_strength.function(lab, steps=3)
    steps = {method.name: method.editor.steps for method in methods}
    assert [steps[name] for name in (TEXT, "joint arm", SDEDIT)] == [3, 3, 3]


def lab_in(folder: Path) -> Lab:
    at = Context(folder=folder, command="")
    return Lab(source=Edits(), model=RenderedNetwork(), name="x", captions="full", count=1, context=at)


@pytest.mark.slow
def test_the_search_without_the_hessian_has_more_steps_for_the_same_evaluations(tmp_path: Path) -> None:
    without, with_one = searches(lab_in(tmp_path))
    assert [one.name for one in (without, with_one)] == [WITHOUT, WITH]
    alone, hessian = (one.editor.to_dict() for one in (without, with_one))
    assert (alone["arm"], hessian["arm"]) == ("image", "image")
    assert (alone["search"]["filter"], alone["search"]["gamma"]) == ("gamma", 0)
    assert hessian["search"] | plain(MEMBER) == hessian["search"]
    assert alone["search"]["steps"] > hessian["search"]["steps"]
    latent = prepared(1).latent
    costs = [one.editor.evaluations(latent) for one in (without, with_one)]
    assert all(BUDGET - 8 < cost <= BUDGET for cost in costs), costs


@pytest.mark.slow
def test_settings_are_chosen_on_the_calibration_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(_: Lab, __: Any, *, data: Dataset, folder: str) -> None:
        raise InterruptedError(data.fingerprint, folder)

    monkeypatch.setattr(Lab, "edit", edit)
    data = select_items(Edits(), "partial", first=4, split="calibration")
    with pytest.raises(InterruptedError) as edited:
        list(network_kinds.function(lab_in(tmp_path), calibration=4))
    assert edited.value.args == (data.fingerprint, "calibration")

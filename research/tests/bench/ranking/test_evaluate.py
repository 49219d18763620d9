"""Edits whose scores are known: the right answer, none, half of the change, and a codec that loses a tenth."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from latentedit.core import METRICS, ConfigError, ShapeError
from latentedit.editors import DDS, FlowEdit, Refinement, SDEdit, SplitFlow
from latentedit.identification import change_share
from latentedit.numerics import item_seed
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.metrics.registered import BUILT_IN
from latentedit_bench.ranking.evaluate import (
    CHANGE,
    CODEC,
    FLOOR,
    TRUE_CHANGE,
    Method,
    RankedEdits,
    Row,
    answer_rows,
    evaluate,
    total_variation,
)
from latentedit_bench.ranking.summaries import Summaries
from latentedit_bench.report.tables import ranking_grid
from latentedit_portraits.attributes import VALUES
from research.tests.bench.rendered_network import Idle, RenderedNetwork, oracle, prepared, some_items
from tests.installed import installed
from tests.testing.tolerances import relative_error, tolerance

ROUNDING = 1e-6  # images are in float32: squares of differences round at 1e-7 of their sum


@pytest.fixture(scope="module")
def batch() -> Prepared:
    return prepared()


def scored(batch: Prepared, editor: Any, *strengths: float) -> list[Row]:
    method = Method(name="x", editor=editor)
    return evaluate(method, batch, strengths or (1.0,), seed=0)[0]


def test_the_right_answer_scores_one(batch: Prepared) -> None:
    """And rows name their items; without a wanted change only the change itself has a number."""
    rows = scored(batch, oracle(batch)())
    for row, item in zip(rows, some_items(), strict=True):
        assert (row["method"], row["strength"], row["seed"]) == ("x", 1.0, 0)
        about = [row[name] for name in ("item", "group", "kind", "change", "requested")]
        assert about == [item.id, item.group, item.kind, item.change, item.about["requested"]]
        if item.kind == "nothing":
            for name in ("effect", "error", "effectiveness", "decomposability", "disentanglement", "done", "outside"):
                assert row[name] is None, name
            assert (row["changed_rms"], row["others_changed"]) == (0, 0)
            continue
        for name in ("effect", "effectiveness", "decomposability", "disentanglement"):
            assert row[name] == pytest.approx(1, abs=ROUNDING), name
        for name in ("error", "leakage", "outside", "outside_change"):
            assert row[name] == pytest.approx(0, abs=ROUNDING), name
        assert (row["done"], row["others_changed"], row["outside_psnr"]) == (1, 0, 100)
        for name in VALUES:
            # source + (truth - source) rounds at 1e-7, which the classifier's layers enlarge
            assert row[f"{CHANGE}{name}"] == pytest.approx(row[f"{TRUE_CHANGE}{name}"], abs=1e-3)


@pytest.mark.slow
def test_registered_metrics_are_columns_of_rows_and_ranking(batch: Prepared, tmp_path: Path) -> None:
    """A metric gets the edited images, the sources, the right answers and the target captions."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"  # entry points are cached for an import path
    for folder in (right, wrong):
        folder.mkdir()
    (right / "own_metric.py").write_text(
        "from latentedit_bench.metrics.metric import Metric\n"
        "def to_truth(of):\n"
        "    assert len(of.edited) == len(of.source) == len(of.truth) == len(of.captions)\n"
        "    return (of.edited - of.truth).abs().amax((1, 2, 3))\n"
        "metric = Metric(name='to truth', title='to truth', better='lower', needs=('truth',), function=to_truth)\n"
    )
    (wrong / "one_metric.py").write_text(
        "from latentedit_bench.metrics.metric import Metric\n"
        "metric = Metric(name='one', better='', function=lambda of: of.edited.mean())\n"
    )
    group = METRICS.group
    with installed(right, {group: {"to truth": "own_metric:metric"}}):
        found = pd.DataFrame(scored(batch, oracle(batch)()) + answer_rows(batch))
        assert found[found["method"] == "x"]["to truth"].max() == pytest.approx(0, abs=1e-2)
        assert found["to truth"].notna().all()
        assert "to truth" in ranking_grid(Summaries.of(found), ["x"]).head
    with installed(wrong, {group: {"one": "one_metric:metric"}}), pytest.raises(ShapeError, match="'one'"):
        scored(batch, Idle())


def test_strengths_that_the_editor_refuses_are_left_out() -> None:
    batch = prepared(2, reads=False)
    rows, images = evaluate(Method(name="x", editor=Idle(highest=1.0)), batch, (0.5, 1.0, 1.5), seed=0)
    assert [row["strength"] for row in rows] == [0.5, 1.0] * 2
    assert list(images) == [0.5, 1.0]
    assert all(len(some) == len(batch.items) for some in images.values())
    method = Method(name="sdedit", editor=SDEdit(level=0.7, steps=4, guidance=1.0))
    assert method.allowed(batch.latent, [-1.0, 0.5, 1.0, 1.4, 1.5]) == [0.5, 1.0, 1.4]
    assert Method(name="dds", editor=DDS(steps=2)).allowed(batch.latent, [-0.5, 1.0]) == [1.0]


def test_a_method_that_refuses_every_strength_fails_with_its_reason() -> None:
    batch = prepared(2, reads=False)
    with pytest.raises(ConfigError, match="got 1"):
        evaluate(Method(name="x", editor=Idle(highest=0.5)), batch, (1.0,), seed=0)


def test_the_change_of_an_attribute_is_total_variation() -> None:
    """Half the sum of differences: .3 moved from one value to another; all of it; nothing."""
    before = {"hair": torch.tensor([[0.5, 0.5, 0.0]]), "eyes": torch.tensor([[1.0, 0.0]])}
    after = {"hair": torch.tensor([[0.2, 0.6, 0.2]]), "eyes": torch.tensor([[0.0, 1.0]])}
    found = total_variation(CHANGE, before, after)
    assert {name: float(values) for name, values in found.items()} == pytest.approx({"tv hair": 0.3, "tv eyes": 1.0})
    assert not total_variation(CHANGE, before, before)["tv hair"]


def test_cost_is_the_editors_own() -> None:
    batch = prepared(2, reads=False)
    editor = oracle(batch)(steps=3)
    with batch.latent.backbone.count() as cost:
        rows = scored(batch, editor, 0.5, 1.0)
    assert {row["evaluations"] for row in rows} == {float(editor.evaluations(batch.latent))} == {3.0}
    assert all(row["seconds"] >= 0 for row in rows)
    assert cost.evaluations == 3 * 2 * len(batch.items)


def test_an_edit_that_is_not_finite_is_no_edit(batch: Prepared) -> None:
    editor = oracle(batch)
    first = next(iter(editor.answers))
    answers = editor.answers | {first: torch.full_like(editor.answers[first], torch.nan)}
    rows = scored(batch, type("Broken", (editor,), {"answers": answers})())
    assert [row["failed"] for row in rows] == [1.0] + [0.0] * 11
    assert (rows[0]["effect"], rows[0]["changed_rms"]) == (0, 0)
    assert rows[0]["error"] == pytest.approx(1, abs=ROUNDING)
    assert rows[1]["effect"] == pytest.approx(1, abs=ROUNDING)


def test_the_codec_alone_errs_by_what_it_loses() -> None:
    """A codec that gives back nine tenths of every number gives nine tenths of every change, so an error of .01."""
    model = RenderedNetwork(reads=False)
    model.decode = lambda z: 0.9 * z
    batch = prepare(model, some_items()[:3])
    rows = answer_rows(batch)
    assert [(row["method"], row["item"], row["strength"]) for row in rows] == [
        (name, item.id, 1.0) for item in batch.items for name in (CODEC, FLOOR)
    ]
    for row in rows[::2]:  # images have eight bits: a change of 60 levels is rounded by up to .008 of it
        assert row["effect"] == pytest.approx(0.9, abs=0.01)
        assert row["error"] == pytest.approx(0.01, abs=0.002)
        assert row["evaluations"] == 0
    bare = [dataclasses.replace(item, truth=None, mask=None) for item in some_items()[:1]]
    assert answer_rows(prepare(model, bare)) == []


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_the_error_of_the_model_floor_is_that_of_the_model(drawn: float) -> None:
    """A model whose clean estimate has this share of the change leaves ``1 - (1 - drawn) M`` of it, with M the core."""
    batch = prepared(3, reads=False)
    assert batch.truth is not None
    change = batch.truth - batch.source
    estimate = (batch.source + drawn * change).repeat(2, 1, 1, 1)
    draws = {"_velocity": lambda _, z, s, __: (z - estimate) / s[:, None, None, None]}
    model = type("Draws", (RenderedNetwork,), draws)(reads=False)
    batch = dataclasses.replace(batch, latent=dataclasses.replace(batch.latent, backbone=model))
    with model.count() as cost:
        rows = answer_rows(batch)
    for index, (codec, floor) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        assert codec["error"] == pytest.approx(0, abs=ROUNDING)
        missing = (1 - drawn) * change_share(change, 0.3) * change
        expected = missing[index].square().sum() / change[index].square().sum()
        assert floor["error"] == pytest.approx(float(expected), rel=0.03, abs=ROUNDING)  # images have eight bits
        assert floor["evaluations"] == 16
    assert cost.evaluations == 16 * len(batch.items)


def test_without_truths_or_a_classifier_the_rest_is_measured() -> None:
    items = [dataclasses.replace(item, truth=None, mask=None) for item in some_items()[:2]]
    about = {"method", "item", "group", "kind", "change", "requested", "strength", "seed", "evaluations", "seconds"}
    found = set(scored(prepare(RenderedNetwork(), items), Idle())[0])
    measured = {one.name for one in BUILT_IN if not one.needs}
    assert found == about | measured | {"failed"} | {f"{CHANGE}{name}" for name in VALUES}
    row = scored(prepared(2, reads=False), Idle())[0]
    assert row["error"] == pytest.approx(1)
    assert not [name for name in row if name.startswith((CHANGE, TRUE_CHANGE)) or name == "done"]


def test_an_editor_that_splits_captions_receives_them() -> None:
    batch, split = prepared(4, reads=False), SplitFlow(steps=3, until=0.5, parts=2)
    found = RankedEdits.of(Method(name="split", editor=split), batch, [1.0], seed=0).latents[1.0]
    whole, parts = (
        editor.edit(batch.latent, batch.target, [1.0], seed=batch.seeds(0))[0].z
        for editor in (split, split.for_captions(batch.latent.captions, [item.target_caption for item in batch.items]))
    )
    assert torch.equal(found, parts)
    assert not torch.equal(found, whole)


def test_each_item_is_edited_as_it_would_be_alone_with_its_own_seed() -> None:
    """So `latentedit edit --seed` repeats one item of a run."""
    batch, editor = prepared(4, reads=False), FlowEdit(steps=3)
    found = RankedEdits.of(Method(name="flowedit", editor=editor), batch, [1.0], seed=7).latents[1.0]
    for index, item in enumerate(batch.items):
        alone = prepare(batch.latent.backbone, [item])
        (edited,) = editor.edit(alone.latent, alone.target, [1.0], seed=item_seed(7, item.id))
        assert relative_error(edited.z, found[index : index + 1]) < tolerance("batch", found.dtype)
    assert len({*batch.seeds(7), *batch.seeds(8)}) == 8


@pytest.mark.slow
def test_a_refined_method_adds_the_same_correction_at_every_strength(batch: Prepared) -> None:
    """In proportion up to strength 1; it costs the evaluations of one refinement, and leaves wide changes alone."""
    plain = Method(name="x", editor=FlowEdit(steps=4), gain=1.5)
    refined = dataclasses.replace(plain, refined=True)
    edits = RankedEdits.of(plain, batch, (0.5, 1.0), seed=0)
    source = batch.latent.z
    change = 1.5 * (edits.latents[1.0] - source)
    added = Refinement()(batch.latent, batch.target, change, seed=batch.seeds(0)) - change
    shifted = {at: z + at * added / 1.5 for at, z in edits.latents.items()}
    expected = evaluate(plain, batch, (0.5, 1.0), seed=0, edits=dataclasses.replace(edits, latents=shifted))[0]
    for row, other in zip(evaluate(refined, batch, (0.5, 1.0), seed=0, edits=edits)[0], expected, strict=True):
        assert row["changed_rms"] == pytest.approx(other["changed_rms"], rel=1e-4, abs=1e-6)
        assert row["evaluations"] == other["evaluations"] + Refinement().evaluations

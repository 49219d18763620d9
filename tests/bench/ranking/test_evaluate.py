"""Oracles: the right answer, nothing at all, one attribute too many, and their scores worked out by hand."""

import dataclasses
from typing import Any

import pytest
import torch

from latentedit.core.rng import item_seed
from latentedit.editors import FlowEdit, SDEdit, SplitFlow
from latentedit.testing.tolerances import relative_error, tolerance
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.ranking.evaluate import (
    CHANGE,
    CODEC,
    TRUE_CHANGE,
    Edits,
    Method,
    Row,
    codec_rows,
    evaluate,
    total_variation,
)
from latentedit_portraits.attributes import VALUES
from tests.bench.rendered_network import Idle, Knowing, RenderedNetwork, prepared, some_items, told

ROUNDING = 1e-6
"""Pictures are in float32: squares of differences round at 1e-7 of their sum."""


@pytest.fixture(scope="module")
def batch() -> Prepared:
    return prepared()


@pytest.fixture(scope="module")
def oracle(batch: Prepared) -> list[Row]:
    return scored(batch, told(batch)())


def scored(batch: Prepared, editor: Any, *strengths: float) -> list[Row]:
    method = Method(name="x", editor=editor)
    return evaluate(method, batch, strengths or (1.0,), seed=0)[0]


@pytest.mark.slow
def test_the_truth_scores_one(oracle: list[Row]) -> None:
    asking = [row for row in oracle if row["kind"] not in ("nothing", "contradiction")]
    assert len(asking) == 11
    for row in asking:
        for name in ("effect", "effectiveness", "decomposability", "disentanglement"):
            assert row[name] == pytest.approx(1, abs=ROUNDING), name
        for name in ("error", "leakage", "outside", "outside_change"):
            assert row[name] == pytest.approx(0, abs=ROUNDING), name
        assert (row["done"], row["others_changed"]) == (1, 0)
        assert row["outside_psnr"] == 100
        for name in VALUES:
            # source + (truth - source) rounds at 1e-7, which the reader's layers enlarge
            assert row[f"{CHANGE}{name}"] == pytest.approx(row[f"{TRUE_CHANGE}{name}"], abs=1e-3)


def test_rows_name_their_items_and_where_nothing_was_asked_nothing_is_scored_but_the_way(oracle: list[Row]) -> None:
    for row, item in zip(oracle, some_items(), strict=True):
        assert (row["method"], row["strength"]) == ("x", 1.0)
        told = [row[name] for name in ("item", "group", "kind", "change", "asked", "seed")]
        assert told == [item.id, item.group, item.kind, item.change, item.about["asked"], 0]
    (still,) = (row for row in oracle if row["kind"] == "nothing")
    for name in ("effect", "error", "effectiveness", "decomposability", "disentanglement", "done", "outside"):
        assert still[name] is None, name
    assert (still["changed_rms"], still["others_changed"]) == (0, 0)


@pytest.mark.slow
def test_an_editor_that_does_nothing(batch: Prepared) -> None:
    for row in scored(batch, Idle()):
        asks = row["kind"] != "nothing"
        for name in ("changed_rms", "others_changed", "evaluations"):
            assert row[name] == 0, name
        for name in ("effectiveness", "disentanglement", "effect", "done"):
            assert row[name] == (0 if asks else None), name
        assert row["error"] == (pytest.approx(1, abs=ROUNDING) if asks else None)
        assert row["decomposability"] is None, "nothing changed, so there is no share of it"


@pytest.mark.nightly
def test_a_gain_multiplies_the_change(batch: Prepared) -> None:
    """Twice half the way is the answer, and edits without gain serve a method with it."""
    half = Method(name="x", editor=told(batch)(share=0.5))
    edits = Edits.of(half, batch, (1.0,), seed=0)
    for gain, error in ((2.0, 0.0), (1.0, 0.25)):
        method = dataclasses.replace(half, gain=gain)
        rows = evaluate(method, batch, (1.0,), seed=0, edits=edits)[0]
        assert [row["error"] for row in rows if row["error"] is not None] == pytest.approx([error] * 11, abs=0.01)


def test_strengths_that_are_refused_are_left_out() -> None:
    batch = prepared(2, reads=False)
    rows, pictures = evaluate(Method(name="x", editor=Idle(highest=1.0)), batch, (0.5, 1.0, 1.5), seed=0)
    assert [row["strength"] for row in rows] == [0.5, 1.0] * 2
    assert list(pictures) == [0.5, 1.0]
    assert all(len(some) == len(batch.items) for some in pictures.values())
    method = Method(name="sdedit", editor=SDEdit(level=0.7, steps=4, guidance=1.0))
    assert method.allowed(batch.latent, [-1.0, 0.5, 1.0, 1.4, 1.5]) == [0.5, 1.0, 1.4]


def test_the_change_of_an_attribute_is_total_variation() -> None:
    """Half the sum of differences: .3 moved from one value to another; all of it; nothing."""
    before = {"hair": torch.tensor([[0.5, 0.5, 0.0]]), "eyes": torch.tensor([[1.0, 0.0]])}
    after = {"hair": torch.tensor([[0.2, 0.6, 0.2]]), "eyes": torch.tensor([[0.0, 1.0]])}
    found = total_variation(CHANGE, before, after)
    assert {name: float(values) for name, values in found.items()} == pytest.approx({"tv hair": 0.3, "tv eyes": 1.0})
    assert not total_variation(CHANGE, before, before)["tv hair"]


def test_cost_is_the_editors_own() -> None:
    batch = prepared(2, reads=False)
    editor = told(batch)(steps=3)
    with batch.latent.backbone.count() as cost:
        rows = scored(batch, editor, 0.5, 1.0)
    assert {row["evaluations"] for row in rows} == {float(editor.evaluations(batch.latent))} == {3.0}
    assert all(row["seconds"] >= 0 for row in rows)
    assert cost.evaluations == 3 * 2 * len(batch.items)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Breaking(Knowing):
    """Gives nan for the first picture."""

    name = "breaking"

    def _edit(self, latent: Any, target: Any, **rest: Any) -> torch.Tensor:
        z = super()._edit(latent, target, **rest).clone()
        z[0, 0, 3, 5] = torch.nan
        return z


@pytest.mark.slow
def test_an_edit_that_is_not_finite_is_no_edit(batch: Prepared) -> None:
    rows = scored(batch, type("Breaks", (Breaking,), {"answers": told(batch).answers})())
    assert [row["failed"] for row in rows] == [1.0] + [0.0] * 11
    assert (rows[0]["effect"], rows[0]["changed_rms"]) == (0, 0)
    assert rows[0]["error"] == pytest.approx(1, abs=ROUNDING)
    assert rows[1]["effect"] == pytest.approx(1, abs=ROUNDING)


def test_the_codec_alone_errs_by_what_it_loses() -> None:
    """A codec that gives back nine tenths of every number gives nine tenths of every change, so an error of .01."""
    model = RenderedNetwork(reads=False)
    model.decode = lambda z: 0.9 * z
    batch = prepare(model, some_items()[:3])
    with model.count() as cost:
        rows = codec_rows(batch)
    names = [(row["method"], row["item"], row["strength"]) for row in rows]
    assert names == [(CODEC, item.id, 1.0) for item in batch.items]
    for row in rows:  # pictures have eight bits: a change of 60 levels is rounded by up to .008 of it
        assert row["effect"] == pytest.approx(0.9, abs=0.01)
        assert row["error"] == pytest.approx(0.01, abs=0.002)
        assert row["evaluations"] == 0
    assert cost.evaluations == 0
    bare = [dataclasses.replace(item, truth=None, mask=None) for item in some_items()[:1]]
    assert codec_rows(prepare(model, bare)) == []


def test_without_truths_or_a_reader_what_needs_none_is_measured() -> None:
    items = [dataclasses.replace(item, truth=None, mask=None) for item in some_items()[:2]]
    about = {"method", "item", "group", "kind", "change", "asked", "strength", "seed", "evaluations", "seconds"}
    found = set(scored(prepare(RenderedNetwork(), items), Idle())[0])
    assert found == about | {"changed_rms", "failed"} | {f"{CHANGE}{name}" for name in VALUES}
    row = scored(prepared(2, reads=False), Idle())[0]
    assert row["error"] == pytest.approx(1)
    assert not [name for name in row if name.startswith((CHANGE, TRUE_CHANGE)) or name == "done"]


@pytest.mark.slow
def test_an_editor_that_reads_phrases_is_given_the_captions() -> None:
    batch, split = prepared(4, reads=False), SplitFlow(steps=3, until=0.5, parts=2)
    captions = [item.target_caption for item in batch.items]
    found = Edits.of(Method(name="split", editor=split), batch, [1.0], seed=0).latents[1.0]
    told = split.for_captions(batch.latent.captions, captions)
    seeds = batch.seeds(0)
    assert torch.equal(found, told.edit(batch.latent, batch.target, [1.0], seed=seeds)[0].z)
    assert not torch.equal(found, split.edit(batch.latent, batch.target, [1.0], seed=seeds)[0].z)


def test_each_item_is_edited_as_it_would_be_alone_with_its_own_seed() -> None:
    """Whatever the batch: so `latentedit edit --seed` repeats one item of a run."""
    batch, editor = prepared(4, reads=False), FlowEdit(steps=3)
    found = Edits.of(Method(name="flowedit", editor=editor), batch, [1.0], seed=7).latents[1.0]
    for index, item in enumerate(batch.items):
        alone = prepare(batch.latent.backbone, [item])
        (edited,) = editor.edit(alone.latent, alone.target, [1.0], seed=item_seed(7, item.id))
        assert relative_error(edited.z, found[index : index + 1]) < tolerance("batch", found.dtype)
    assert len({*batch.seeds(7), *batch.seeds(8)}) == 8

"""Experiments that yield rows of their own for each item of a batch."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit.editors.judge import Judge
from latentedit_bench.experiments.experiment import Context
from latentedit_bench.experiments.graded_strengths import graded_strengths
from latentedit_bench.experiments.items import Batches, select_items
from latentedit_bench.experiments.verdicts import _truths, _word
from tests.bench.rendered_network import RenderedNetwork, prepared


def test_rows_name_the_model_and_the_item_of_their_place(tmp_path: Path) -> None:
    at = Context(folder=tmp_path, command="", cache={("model", "there/portraits"): RenderedNetwork()})
    source = Batches(models=("there/portraits",), items=6)
    unit = ("there/portraits", "partial", 4, 2)
    (row,) = source.measure(lambda batch, seed: [(1, {"seed": seed, "size": len(batch.items)})], unit, at)
    item = select_items(source, "partial", first=6).items[5]
    named = {"model": "portraits", "captions": "partial", "item": item.id, "group": item.group}
    assert row == {**named, "seed": 20, "size": 2}


def test_the_last_value_of_an_image_is_faded_in_for_the_values_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The editor leaves images unchanged, so both ways err as much as no edit."""
    batch = prepared(4, reads=False)
    groups = ("a", "a", "b", "b")
    items = [dataclasses.replace(one, group=group) for one, group in zip(batch.items, groups, strict=True)]
    batch = dataclasses.replace(batch, items=tuple(items))

    class Idle:
        def edit(self, latent: Any, *_: Any, seed: list[int]) -> list[Any]:
            return [latent]

    monkeypatch.setattr("latentedit_bench.experiments.graded_strengths.recommended", lambda _: Idle())
    rows = list(graded_strengths.function(batch, seed=1, fades=2))
    assert [(index, row["way"]) for index, row in rows] == [
        (place, way) for way in ("by name", "best cross-fade") for place in (0, 2)
    ]
    assert [row["error"] for _, row in rows] == pytest.approx([1] * 4, abs=0.05)


@pytest.mark.parametrize(
    ("word", "share", "strength", "expected"),
    [
        ("damaged", 1.0, 1.0, "damaged"),
        ("done", 0.1, 1.0, "changed"),
        ("not done", 0.1, 1.0, "nothing changed"),
        ("not done", 0.9, 1.0, "changed"),
        ("not done", 0.9, 2.0, "nothing changed"),
        ("not done", None, 1.0, "nothing changed"),
    ],
)
def test_a_verdict_in_the_words_of_the_truth(word: Any, share: float | None, strength: float, expected: str) -> None:
    verdict: Any = type("Known", (), {"word": word, "share": share})
    assert _word(verdict, strength, Judge(least_share=0.5)) == expected


@pytest.mark.slow
def test_the_truth_of_an_edit_is_what_the_renderer_knows() -> None:
    """A change counts from half of the way on; far from source, answer and what is read there, it is damage."""
    batch = prepared(2)
    assert batch.answer_pixels is not None
    source, answer = batch.latent.z, batch.answer_pixels
    stripes = torch.tensor([0.5, -0.5]).repeat(64)
    ways = {"nothing changed": source + 0.4 * (answer - source), "changed": source + 0.6 * (answer - source)}
    for expected, z in {**ways, "damaged": answer + stripes}.items():
        assert _truths(batch, z) == [expected] * 2

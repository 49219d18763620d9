"""Experiments that yield rows of their own for each item of a batch."""

from pathlib import Path

import pytest

from latentedit_bench.experiments.experiment import Context
from latentedit_bench.experiments.items import Batches, select_items
from research.tests.bench.rendered_network import RenderedNetwork

pytestmark = pytest.mark.usefixtures("few_items")


@pytest.mark.slow
def test_rows_name_the_model_and_the_item_of_their_place(tmp_path: Path) -> None:
    at = Context(folder=tmp_path, command="", cache={("model", "there/portraits"): RenderedNetwork()})
    source = Batches(models=("there/portraits",), items=6)
    unit = ("there/portraits", "partial", 4, 2)
    (row,) = source.measure(lambda batch, seed: [(1, {"seed": seed, "size": len(batch.items)})], unit, at)
    item = select_items(source, "partial", first=6).items[5]
    named = {"model": "portraits", "captions": "partial", "item": item.id, "group": item.group}
    assert row == {**named, "seed": 20, "size": 2}

"""The task that gives an edit of each picture and asks to keep its change, and nothing else of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentedit as le
from latentedit_bench.metrics.statistics import Table
from latentedit_bench.open_task.folder import read_task, write_task
from latentedit_bench.open_task.scoring import item_measures, score_items
from latentedit_bench.open_task.task import TaskItem, TaskSpec, task_items

SPEC = TaskSpec.of("portraits", size=128, items=4, asks="keep")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keep")
    write_task(SPEC, task_items(SPEC), folder)
    return folder


def measured(folder: Path, items: list[TaskItem], outputs: list[Image.Image]) -> Table:
    for item, output in zip(items, outputs, strict=True):
        output.save(folder / item.output_file(1.0))
    return item_measures(score_items(items, folder, keep=False)[0])


@pytest.mark.nightly
def test_an_edit_of_each_picture_is_given(task: Path) -> None:
    """The same from one time to the next; nothing is asked for afterwards."""
    lines = [json.loads(line) for line in (task / "items.jsonl").read_text("utf-8").splitlines()]
    assert read_task(task) == SPEC
    for item, line in zip(task_items(SPEC), lines, strict=True):
        assert (line["outputs"], line["then_outputs"]) == ([item.output_file(1.0)], [])
        assert item.edited is not None
        given = Image.open(task / line["edited"])
        assert np.array_equal(np.asarray(given), np.asarray(item.edited()))
        right = item.answers[1.0]()
        assert given.size != right.size or np.any(np.asarray(given) != np.asarray(right))


def test_the_card_tells_of_it(task: Path) -> None:
    card = (task / "README.md").read_text("utf-8")
    assert "| `edited` |" in card
    assert "--domain portraits --keep`" in card


@pytest.mark.nightly
def test_what_is_kept_is_nearer_than_the_edit_and_leaves_the_rest(task: Path) -> None:
    """Right answers err by 0 and touch nothing else; `keep` errs less than the edits and leaves more."""
    items = task_items(SPEC)
    sources = [item.whole.picture() for item in items]
    edits = [Image.open(task / item.edited_file) for item in items]
    right = measured(task, items, [item.answers[1.0]() for item in items])
    assert (right["error"].max(), right["untouched"].min()) == (0, 1)
    resized = [edit.resize(source.size, Image.Resampling.LANCZOS) for source, edit in zip(sources, edits, strict=True)]
    raw = measured(task, items, resized)
    kept = measured(
        task, items, [le.keep(source, edit).image.convert("RGB") for source, edit in zip(sources, edits, strict=True)]
    )
    assert (kept["error"] < raw["error"]).all()
    assert kept["error"].mean() < 0.5 * raw["error"].mean()
    assert (kept["untouched"] > raw["untouched"]).all(), (
        "flat areas that no damage reaches are the picture's own in both"
    )
    assert kept["untouched"].median() > 0.9

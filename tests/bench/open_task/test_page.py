"""The page of a score: every word explained, every fault told."""

from collections.abc import Callable

import pytest

from latentedit_bench.open_task.outputs import Fault
from latentedit_bench.open_task.page import WORDS, score_page
from latentedit_bench.open_task.scoring import AS_IS, KEPT, MEASURES, Entry, item_measures, score_items
from latentedit_bench.open_task.task import IN_A_ROW, TaskSpec
from tests.bench.open_task.conftest import ITEMS, Entered

Enter = Callable[[str], Entered]


def test_columns_are_explained() -> None:
    assert set(MEASURES.values()) <= set(WORDS)


@pytest.mark.nightly
def test_a_page_says_what_is_missing_and_shows_pictures(entered: Enter, spec: TaskSpec) -> None:
    found = entered("half missing")
    rows, faults = score_items(found.items, found.folder, keep=False)
    mine = Entry.of("half", spec, rows, item_measures(rows))
    assert mine.failed == 5
    assert mine.measures[AS_IS]["error"].mean == 0.5
    assert KEPT not in mine.measures
    faults.append(Fault(file="outputs/<b>.png", what="belongs to no item", counts=False))
    html = score_page(mine, rows=rows, items=found.items, faults=faults, folder=found.folder)
    for text in (
        "Failed: 5.",
        "public-005@0.5.png",
        "is missing",
        "outputs/&lt;b&gt;.png",
        "best: public-000",
    ):
        assert text in html, text
    assert html.count("<latentedit-viewer") == 3
    assert "half on open-portraits 1.2.0, public, 64 px" in html


@pytest.mark.nightly
def test_nothing_at_all_can_be_scored(written: Entered, spec: TaskSpec) -> None:
    """Errors of 1 everywhere; no picture to show."""
    rows, faults = score_items(written.items, written.folder, keep=False)
    mine = Entry.of("nobody", spec, rows, item_measures(rows))
    assert {kind: one.mean for kind, one in mine.kinds[AS_IS].items()} == dict.fromkeys(mine.kinds[AS_IS], 1.0)
    assert len(faults) == mine.failed == ITEMS + 1 + 1 + IN_A_ROW - 1
    html = score_page(mine, rows=rows, items=written.items, faults=faults, folder=written.folder)
    assert "<latentedit-viewer" not in html

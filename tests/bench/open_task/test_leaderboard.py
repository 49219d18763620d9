"""Entries side by side, and the page: the best first, what cannot be compared left out, every fault told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit_bench.open_task.leaderboard import STORED, Entry, entry_of, ranked, read_entries
from latentedit_bench.open_task.outputs import Fault
from latentedit_bench.open_task.page import WORDS, ranking_grid, score_page
from latentedit_bench.open_task.scoring import AS_IS, KEPT, item_measures, score_items
from latentedit_bench.open_task.task import IN_A_ROW, TaskSpec
from latentedit_keep.files import plain
from tests.bench.open_task.conftest import ITEMS, Entered

Enter = Callable[[str], Entered]


def told(mean: float) -> dict[str, float | int]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "pictures": 8}


def entry(name: str, error: float, spec: TaskSpec, kept: float = 0.1) -> Entry:
    measures = {AS_IS: {"error": told(error)}, KEPT: {"error": told(kept)}}
    made = {
        "name": name,
        "made": "",
        "task": spec.model_dump(),
        "failed": 0,
        "measures": measures,
        "kinds": {AS_IS: {}},
    }
    return Entry.model_validate(made)


def test_the_best_comes_first_and_other_tasks_are_left_out(spec: TaskSpec) -> None:
    other = spec.model_copy(update={"size": 128})
    stored = [entry("worse", 0.9, spec), entry("better", 0.2, spec), entry("another task", 0.1, other)]
    order, left_out = ranked(entry("new", 0.5, spec), stored)
    assert [one.name for one in order] == ["better", "new", "worse"]
    assert left_out == 1


def test_a_new_score_replaces_that_of_its_name(spec: TaskSpec) -> None:
    order, left_out = ranked(entry("new", 0.5, spec), [entry("new", 0.3, spec)])
    assert [one.error for one in order] == [0.5]
    assert left_out == 0


def test_the_stored_table_need_not_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: TaskSpec) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_entries(None) == []
    with pytest.raises(FileFormatError, match="no such file"):
        read_entries(tmp_path / "table.json")
    STORED.parent.mkdir()
    STORED.write_text(json.dumps({"entries": [plain(entry("one", 0.5, spec))]}))
    assert [one.name for one in read_entries(None)] == ["one"]
    STORED.write_text('{"entries": [{"name": 1}]}')
    with pytest.raises(ConfigError, match=r"is no table of entries: entries\.0\.name"):
        read_entries(None)


def test_columns_are_explained(spec: TaskSpec) -> None:
    grid = ranking_grid([entry("one", 0.5, spec)], "one")
    assert set(grid.head[1:]) <= set(WORDS)
    assert [cell.text for cell in grid.rows[0][:3]] == ["one", "0.500", "0.100"]


@pytest.mark.nightly
def test_a_page_says_what_is_missing_and_shows_pictures(entered: Enter, spec: TaskSpec) -> None:
    found = entered("half missing")
    rows, faults = score_items(found.items, found.folder, keep=False)
    mine = entry_of("half", "by the test", spec, rows, item_measures(rows))
    assert mine.failed == 5
    assert mine.measures[AS_IS]["error"].mean == 0.5
    assert KEPT not in mine.measures
    faults.append(Fault(file="outputs/<b>.png", what="belongs to no item", counts=False))
    html = score_page(mine, [mine], left_out=2, rows=rows, items=found.items, faults=faults, folder=found.folder)
    for text in (
        "Failed: 5.",
        "public-005@0.5.png",
        "is missing",
        "outputs/&lt;b&gt;.png",
        "best: public-000",
        "2 stored",
    ):
        assert text in html, text
    assert html.count("<latentedit-viewer") == 3
    assert "half on open-portraits 1.2.0, public, 64 px" in html


@pytest.mark.nightly
def test_nothing_at_all_can_be_scored(written: Entered, spec: TaskSpec) -> None:
    """Errors of 1 everywhere; no picture to show."""
    rows, faults = score_items(written.items, written.folder, keep=False)
    mine = entry_of("nobody", "", spec, rows, item_measures(rows))
    assert {kind: one.mean for kind, one in mine.kinds[AS_IS].items()} == dict.fromkeys(mine.kinds[AS_IS], 1.0)
    assert len(faults) == mine.failed == ITEMS + 1 + 1 + IN_A_ROW - 1
    html = score_page(mine, [mine], left_out=0, rows=rows, items=written.items, faults=faults, folder=written.folder)
    assert "<latentedit-viewer" not in html

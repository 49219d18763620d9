"""Finished units are found again; what was cut off is not; nothing that JSON has no word for is written."""

import json
import math
from pathlib import Path

from latentedit_bench.analysis.journal import Journal


def test_what_was_added_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first = Journal.open(path)
    assert dict(first.known) == {}
    assert not path.exists()
    first.add(("a", 1, 0.25), [{"x": 1.5, "name": "ü"}, {"x": 0.1 + 0.2}])
    first.add((), [])
    known = Journal.open(path).known
    assert dict(known) == {("a", 1, 0.25): [{"x": 1.5, "name": "ü"}, {"x": 0.1 + 0.2}], (): []}


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Journal.open(path).add((0,), [{"x": math.nan, "y": [math.inf, 1.0]}])
    assert path.read_text() == '[[0], [{"x": null, "y": [null, 1.0]}]]\n'


def test_a_line_that_was_cut_off_is_removed_and_its_unit_added_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    journal = Journal.open(path)
    for unit in range(3):
        journal.add((unit,), [{"x": unit}])
    whole = path.read_bytes()
    for cut in (1, 5, len(json.dumps([[2], [{"x": 2}]]))):
        path.write_bytes(whole[:-cut])
        again = Journal.open(path)
        assert sorted(again.known) == [(0,), (1,)]
        again.add((2,), [{"x": 2}])
        assert path.read_bytes() == whole


def test_the_last_rows_of_a_unit_count(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    journal = Journal.open(path)
    journal.add(("a",), [{"x": 1}])
    journal.add(("a",), [{"x": 2}])
    assert dict(Journal.open(path).known) == {("a",): [{"x": 2}]}

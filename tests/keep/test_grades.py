"""The counts of docs/results/keep.md against the grades of each pair."""

import csv
import json
from math import comb
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "research/results/keep"


def test_counts_and_sign_tests_follow_from_the_grades() -> None:
    rows = list(csv.DictReader((RESULTS / "grades.csv").read_text(encoding="utf-8").splitlines()))
    stored = json.loads((RESULTS / "real.json").read_text(encoding="utf-8"))
    assert len(rows) == stored["of"]["local"]
    for method, counts in stored["local"].items():
        grades = [row[method] for row in rows]
        assert {grade: counts[grade] for grade in "ABCF"} == {grade: grades.count(grade) for grade in "ABCF"}
        if method == "keep":
            continue
        better = sum(row["keep"] < row[method] for row in rows)
        worse = sum(row["keep"] > row[method] for row in rows)
        assert (counts["keep better"], counts["keep worse"]) == (better, worse)
        ways = sum(comb(better + worse, count) for count in range(better, better + worse + 1))
        assert counts["sign test p"] == pytest.approx(ways / 2 ** (better + worse))

"""The files of a finished run hold its numbers, whatever was in it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.api.runs.folder import RunFolder
from latentedit_bench.metrics.statistics import SEEDS
from latentedit_bench.ranking.ranking import Comparison
from latentedit_bench.report.results import write_results
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.rendered_network import constructed
from tests.bench.report.report_runs import PLAN as REPORTED

FILES = ["attributes.csv", "comparisons.csv", "curves.csv", "curves.png", "items.csv", "kinds.csv"]
FILES += ["ranking.md", "run.json", "still.csv", "strengths.csv", "summary.csv"]
ROLES = Roles(ours="ours", family=frozenset(("ours", "variant of ours")))
PLAN = REPORTED | {"data": REPORTED["data"] | {"items": 7}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run that has begun; results are written from the rows that a test gives."""
    path = tmp_path / "run"
    RunFolder.start(path, PLAN, kind="bench", units=["1"], command="latentedit bench run --model x", request={})
    return path


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """A plot without a legend, or a mean of nothing, is a defect here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def rows_of(**slopes: Sequence[float]) -> Any:
    """Straight ways, with two pictures whose right answer is themselves."""
    strengths = (0.5, 1.0)
    paths = {
        name: {f"i{index}": [(s, s, slope * s) for s in strengths] for index, slope in enumerate(some)}
        for name, some in slopes.items()
    }
    found = [row | {"seed": seed} for row in constructed(paths) for seed in range(SEEDS)]
    for name in slopes:
        still = constructed({name: {f"q{n}": [(1.0, np.nan, np.nan)] for n in range(2)}}, kind="nothing")
        found += [row | {"changed_rms": 0.123, "error": None} for row in still]
    return pd.DataFrame(found)


def compared(folder: Path, rows: Any) -> list[Comparison]:
    return write_results(folder, rows, ROLES)


@pytest.mark.nightly
def test_every_file_is_there_and_holds_the_numbers(folder: Path) -> None:
    ours, good, bad = [0.1, 0.2] * 4, [0.4, 0.5] * 4, [0.8, 0.9] * 4
    comparisons = compared(folder, rows_of(bad=bad, ours=ours, good=good))
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == FILES
    assert [one.other for one in comparisons] == ["good", "bad"], "the best first"
    table = pd.read_csv(folder / "summary.csv")
    assert list(dict.fromkeys(table["method"])) == ["ours", "good", "bad"]
    above = table[table["measure"] == "above"].set_index("method")["mean"]
    assert above.to_dict() == pytest.approx({"ours": 0.025, "good": 0.205, "bad": 0.725}, rel=1e-4)
    assert len(pd.read_csv(folder / "items.csv")) == 24
    assert set(pd.read_csv(folder / "kinds.csv")["kind"]) == {"single"}
    assert list(pd.read_csv(folder / "still.csv")["mean"]) == pytest.approx([0.123] * 3)
    told = pd.read_csv(folder / "comparisons.csv").set_index(["method", "measure"])["mean"]
    assert told["bad", "above"] == pytest.approx(0.7)
    assert told["good", "above ratio"] == pytest.approx(0.025 / 0.205, rel=1e-4)
    assert RunFolder.read(folder).manifest.plan == PLAN


@pytest.mark.nightly
def test_the_page_says_what_ran_and_what_came_of_it(folder: Path) -> None:
    """Errors .01 and .04 against .16 and .25: means .025 and .205, ratio .12."""
    comparisons = compared(folder, rows_of(ours=[0.1, 0.2] * 4, other=[0.4, 0.5] * 4))
    page = (folder / "ranking.md").read_text()
    assert page.startswith("`latentedit bench run --model x`\n\n7 items of some (version 3, ffffffffffffffff); model x")
    assert "strengths 0.5, 1; seeds 0, 1, 2, 3, 4." in page
    lines = page.splitlines()
    first = next(line for line in lines if line.startswith("| 1 |"))
    assert first.startswith("| 1 | ours | 0.025 [")
    assert first.rstrip(" |").endswith("28")
    told = comparisons[0].difference
    ratio = comparisons[0].ratio
    compared_line = f"| other | 0.1800 [{told.low:.4f}, {told.high:.4f}] | 0.12 [{ratio.low:.2f}, {ratio.high:.2f}] | "
    compared_line += "holds | 0.1800 ["
    assert sum(line.startswith(compared_line) for line in lines) == 1, "paired"
    assert "## ours against each other method, paired" in lines
    assert "| method | nothing |" in lines
    assert "| other | 0.123 |" in lines
    for start, line in enumerate(lines):
        if line.startswith("| ---"):
            assert lines[start - 1].count("|") == line.count("|") == lines[start + 1].count("|")


@pytest.mark.nightly
@pytest.mark.parametrize("methods", [["ours"], ["other", "third"]])
def test_without_ours_or_any_other_nothing_is_compared(folder: Path, methods: list[str]) -> None:
    rows = rows_of(**{name: [0.3 + 0.1 * place] * 3 for place, name in enumerate(methods)})
    assert compared(folder, rows) == []
    page = (folder / "ranking.md").read_text()
    assert f"| 1 | {methods[0]} | 0.090 |" in page
    assert "against each other method" not in page


@pytest.mark.nightly
@pytest.mark.parametrize("slope", [0.1, 0.3, 0.7, 1.1])
def test_values_that_are_all_the_same_can_be_drawn(folder: Path, slope: float) -> None:
    """Their mean and the ends of its interval may differ by their rounding, to either side."""
    compared(folder, rows_of(ours=[slope] * 7, other=[slope + 0.013] * 11))
    assert (folder / "curves.png").exists()


@pytest.mark.nightly
def test_editors_that_do_nothing_or_take_one_strength_can_be_ranked(folder: Path) -> None:
    """They have no curve; the one no decomposability either."""
    rows = rows_of(ours=[0.1] * 3, once=[0.2] * 3)
    rows = rows[(rows["method"] == "ours") | (rows["strength"] == 1)]
    idle = pd.DataFrame(constructed({"idle": {f"i{n}": [(s, 0.0, 0.0) for s in (0.5, 1.0)] for n in range(3)}}))
    compared(
        folder, pd.concat([rows.assign(decomposability=0.9), idle.assign(decomposability=None)], ignore_index=True)
    )
    page = (folder / "ranking.md").read_text()
    assert "| 2 | once | 0.040" in page
    (third,) = (line for line in page.splitlines() if line.startswith("| 3 | idle |"))
    assert third.startswith("| 3 | idle | 1.000 |")
    assert " - |" in third

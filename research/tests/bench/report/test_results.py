"""The files, tables and page of a run hold its numbers."""

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.batch import RunFolder, UnitRecord
from latentedit.core import ConfigError
from latentedit.editing import same_image
from latentedit_bench.ranking.evaluate import ANSWERS, CODEC
from latentedit_bench.ranking.plan import MethodSpec
from latentedit_bench.ranking.run import table_of
from latentedit_bench.ranking.search_spaces import Roles
from latentedit_bench.ranking.summaries import MEAN, Summaries
from latentedit_bench.report import tables
from latentedit_bench.report.page import page
from latentedit_bench.report.report import examples, write_report
from latentedit_bench.report.results import write_results
from latentedit_bench.report.tables import Cell, Grid, markdown
from research.tests.bench.made_runs import (
    PLAN,
    SLOPES,
    constructed,
    image,
    made_run,
    of_slopes,
    rows_of,
    straight,
    with_seeds,
)
from tests.browser import Browser

pytestmark = pytest.mark.usefixtures("few_draws")


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """A plot without a legend, or a mean of nothing, is a defect here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_files_hold_the_numbers_of_all_methods(tmp_path: Path) -> None:
    """Also of methods without effect or with one strength, which have no curve."""
    RunFolder.start(tmp_path, PLAN, kind="bench", units=["1"], command="latentedit bench run", request={})
    rows = of_slopes(bad=[0.8, 0.9] * 4, ours=[0.1, 0.2] * 4, once=[0.4, 0.5] * 4)
    rows = rows[(rows["method"] != "once") | (rows["strength"] == 1)].assign(decomposability=0.9)
    nothing = {name: {f"q{n}": [(1.0, np.nan, np.nan)] for n in range(2)} for name in ("bad", "ours", "once")}
    quiet = pd.DataFrame(constructed(nothing, kind="nothing")).assign(changed_rms=0.123, error=None)
    idle = with_seeds(pd.DataFrame(constructed({"idle": {f"i{n}": straight(0, 0) for n in range(8)}})))
    every = pd.concat([rows, quiet, idle.assign(decomposability=None)], ignore_index=True)
    comparisons = write_results(tmp_path, every, Roles(ours="ours"))
    assert [one.other for one in comparisons] == ["once", "bad", "idle"]
    assert (tmp_path / "curves.png").stat().st_size > 1000
    found = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in ("summary", "items", "still", "comparisons")}
    above = found["summary"].query("measure == 'above'").set_index("method")["mean"]
    assert above.to_dict() == pytest.approx({"ours": 0.025, "once": 0.205, "bad": 0.725, "idle": 1}, rel=1e-4)
    assert len(found["items"]) == 32
    assert list(found["still"]["mean"]) == pytest.approx([0.123] * 3)
    compared = found["comparisons"].set_index(["method", "measure"])["mean"]
    assert compared["bad", "above"] == pytest.approx(0.7)
    assert compared["once", "above ratio"] == pytest.approx(0.025 / 0.205, rel=1e-4)
    ranked = re.findall(r"^\| (\d) \| (\w+) ", (tmp_path / "ranking.md").read_text(), re.MULTILINE)
    assert ranked[:4] == [("1", "ours"), ("2", "once"), ("3", "bad"), ("4", "idle")]


METHODS = [MethodSpec.model_validate(one | {"tuned": one["name"] != "sdedit"}) for one in PLAN["methods"]]
ROWS: Any = pd.DataFrame([row for name in SLOPES for row in rows_of(name)])


def cell(grid: Grid, row: str, column: str) -> Cell:
    line = next(cells for cells in grid.rows if cells[0].text == row)
    return line[list(grid.head).index(column)]


@pytest.mark.slow
def test_tables_hold_the_numbers_of_the_summaries() -> None:
    grids = {one.key: one.grid for one in tables.sections(Summaries.of(ROWS, Roles()), METHODS)}
    error = {name: float(((slope + np.arange(8) / 100) ** 2).mean()) for name, slope in SLOPES.items()}
    above = {name: one - error[CODEC] for name, one in error.items()}
    for key, row, column, expected in (
        ("ranking", "sdedit", "above the codec", above["sdedit"]),
        ("ranking", "sdedit", "evaluations", 28),
        ("ranking", CODEC, "error", error[CODEC]),
        ("compared", "sdedit", "above: its minus ours", error["sdedit"] - error["eim"]),
        ("attributes", "eim", MEAN, above["eim"]),
        ("kinds", "sdedit", "single", above["sdedit"]),
        ("curves", "eim", "leakage at 0.5", 0.5 * (0.2 + 0.035)),
        ("curves", "eim", "matched error", error["eim"]),
        ("strengths", "eim", "SDE at 1", 0.9),
    ):
        assert cell(grids[key], row, column).value == pytest.approx(expected), (key, row, column)
    assert [cells[0].text for cells in grids["ranking"].rows] == sorted(SLOPES, key=lambda name: SLOPES[name])
    ranks = [cells[0].value for cells in grids["ranking"].rows]
    assert ranks == [None, None, 1, 2, 3, 4, 5], "the right answers have none"
    assert [line.split(" | ")[0] for line in markdown(grids["ranking"])[2:5]] == ["| -", "| -", "| 1"]
    noted = [cells[0].text for cells in grids["ranking"].rows if cells[0].note]
    assert noted == ["sdedit"], "it is not tuned"
    assert cell(grids["compared"], "sdedit", "ours is better").text == "holds"
    assert cell(grids["strengths"], CODEC, "SDE at 0.5").text == "-"


def test_cost_is_counted_for_each_image() -> None:
    """Two batches of eight rows that took four seconds each, and six with everything."""
    about = UnitRecord(method="eim", rows=8, failures=[], edit_seconds=4.0, seconds=6.0, peak_bytes=3 * 2**20)
    records = {"a": about, "b": about.model_copy(update={"peak_bytes": None})}
    grid = tables.cost_grid(ROWS.assign(failed=0.25), records, marked="eim")
    assert [cell(grid, "eim", name).text for name in grid.head[1:]] == ["28", "0.100", "8.0", "12.0", "3", "20"]
    assert cell(grid, "sdedit", "seconds an image").text == "-"


def test_markup_in_names_stays_text() -> None:
    lines = markdown(Grid(head=["a", "b"], rows=[[Cell(text="1"), Cell(text="x|y", note="[z]")]]))
    assert lines[2] == "| 1 | x\\|y [z] |"
    html = page("a <b> & c", "<h1>{{ x }}</h1>")
    assert "<title>a &lt;b&gt; &amp; c</title>" in html
    assert "<h1>{{ x }}</h1>" in html, "the body is not a template"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run") / "r")


@pytest.mark.slow
def test_a_report_needs_no_other_file_and_its_tables_can_be_sorted(
    browser: Browser, done: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    write_report(done, report)
    assert "it is &lt;gone&gt;" in report.read_text()
    browser.open(report, width=1200, dark=True)
    assert browser.requests == [report.resolve().as_uri()]
    assert browser.complaints == []
    browser.page.locator("latentedit-viewer[ready]").nth(5 * 3 - 2).wait_for(state="attached")
    body = "document.querySelector('#ranking ~ .table tbody')"
    ranked = browser.evaluate(f"[...{body}.rows].map((row) => row.cells[0].childNodes[1].textContent.trim())")
    assert ranked == sorted(SLOPES, key=lambda name: SLOPES[name])
    values = f"[...{body}.rows].map((row) => Number(row.cells[1].dataset.value))"
    rising = browser.evaluate(values)
    for expected in (rising, rising[::-1]):
        browser.evaluate("document.querySelectorAll('#ranking ~ .table thead')[0].rows[0].cells[1].firstChild.click()")
        assert browser.evaluate(values) == expected


def test_without_right_answers_nothing_is_ranked(tmp_path: Path) -> None:
    write_report(made_run(tmp_path / "r", ranked=False), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert 'id="ranking"' not in html
    assert 'data-value="7.5"' in html


def test_folders_without_a_finished_benchmark_are_refused(tmp_path: Path) -> None:
    RunFolder.start(tmp_path / "empty", PLAN, kind="bench", units=["1"], command="x", request={})
    RunFolder.start(tmp_path / "other", PLAN, kind="edit", units=["1"], command="x", request={})
    for rows in (made_run(tmp_path / "answers") / "rows").iterdir():
        if CODEC not in rows.name:
            rows.unlink()
    for folder in (".", "empty", "other", "answers"):
        with pytest.raises(ConfigError):
            write_report(tmp_path / folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_examples_are_the_best_median_and_worst_by_error(done: Path) -> None:
    rows = table_of(RunFolder.read(done))
    found = examples(done, rows)
    assert set(found) == set(SLOPES) - {*ANSWERS}
    assert [(one.place, one.item) for one in found["eim"]] == [("best", "i0"), ("median", "i3"), ("worst", "i7")]
    worst = found["sdedit"][2]
    assert worst.numbers["error"] == f"{0.97**2:.3f}"
    assert worst.view is not None
    edited = Image.open(io.BytesIO(image(100))).convert("RGB")
    assert same_image(worst.view.frames[0].image, edited), "that of this method"
    assert found["eim"][1].view is None, "its file is missing"
    two = examples(done, rows[rows["item"].isin(["i2", "i5"])])["eim"]
    assert [(one.place, one.item) for one in two] == [("best", "i2"), ("worst", "i5")]
    unranked = examples(done, rows.drop(columns=["error", "effect"]))["eim"]
    assert [(one.place, one.item) for one in unranked] == [("", "i0"), ("", "i1"), ("", "i2")]

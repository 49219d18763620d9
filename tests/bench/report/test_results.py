"""The files, the tables and the page of a finished run hold its numbers, whatever was in it."""

import base64
import io
import itertools
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from latentedit.batch.folder import RunFolder, UnitRecord
from latentedit.core.errors import ConfigError
from latentedit.editing.outputs import same_picture
from latentedit_bench.metrics.statistics import SEEDS
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.plan import PlanSpec
from latentedit_bench.ranking.run import preview_name, table_of
from latentedit_bench.ranking.summaries import MEAN, SHOWN, Comparison, Summaries
from latentedit_bench.report import tables
from latentedit_bench.report.page import page, picture_uri
from latentedit_bench.report.report import examples, write_report
from latentedit_bench.report.results import write_results, write_sheet
from latentedit_bench.report.tables import Cell, Grid, markdown, number
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.ranking.small_plan import DATA, NOISY, SLIDER, small_plan
from tests.bench.rendered_network import constructed
from tests.bench.report.report_runs import PLAN, SLOPES, made_run, picture, rows_of
from tests.browser import Browser

FILES = ["attributes.csv", "comparisons.csv", "curves.csv", "curves.png", "items.csv", "kinds.csv"]
FILES += ["ranking.md", "run.json", "still.csv", "strengths.csv", "summary.csv"]
ROLES = Roles(ours="ours", family=frozenset(("ours", "variant of ours")))


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


def straight_rows(**slopes: Sequence[float]) -> Any:
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
    comparisons = compared(folder, straight_rows(bad=bad, ours=ours, good=good))
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


def test_a_sheet_has_a_row_a_method(tmp_path: Path) -> None:
    """Rows in their order; what is missing stays white; numbers have five digits where a program reads them."""
    plan = small_plan(dataset=DATA.head(2), methods=(SLIDER, NOISY))
    colours = {"source": "red", "truth": "lime", "slide": "blue"}
    for kind, colour in colours.items():
        for item in plan.dataset.items[: 1 if kind == "slide" else 2]:
            place = tmp_path / preview_name(kind, item.id)
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), colour).save(place, lossless=True)
    write_sheet(plan, tmp_path)
    with Image.open(tmp_path / "pictures.png") as sheet:
        pixels = np.asarray(sheet)
    found = [np.argwhere((pixels == ImageColor.getrgb(colour)).all(2)) for colour in colours.values()]
    for above, below in itertools.pairwise(found):
        assert above[:, 0].max() < below[:, 0].min()
    assert len(found[0]) == len(found[1]) == 2 * len(found[2])


@pytest.mark.nightly
def test_editors_that_do_nothing_or_take_one_strength_can_be_ranked(folder: Path) -> None:
    """They have no curve; the one no decomposability either."""
    rows = straight_rows(ours=[0.1] * 3, once=[0.2] * 3)
    rows = rows[(rows["method"] == "ours") | (rows["strength"] == 1)]
    idle = pd.DataFrame(constructed({"idle": {f"i{n}": [(s, 0.0, 0.0) for s in (0.5, 1.0)] for n in range(3)}}))
    parts = [rows.assign(decomposability=0.9), idle.assign(decomposability=None)]
    compared(folder, pd.concat(parts, ignore_index=True))
    page = (folder / "ranking.md").read_text()
    assert "| 2 | once | 0.040" in page
    assert "| 3 | idle | 1.000 |" in page


ROWS: Any = pd.DataFrame([row for name in SLOPES for row in rows_of(name)])


@pytest.fixture(scope="module")
def found() -> Summaries:
    return Summaries.of(ROWS, Roles())


def cell(grid: Grid, row: str, column: str) -> Cell:
    line = next(cells for cells in grid.rows if cells[0].text == row)
    return line[list(grid.head).index(column)]


def grid_of(found: Summaries, key: str) -> Grid:
    return next(one.grid for one in tables.sections(found) if one.key == key)


def mean_square(method: str) -> float:
    return float(((SLOPES[method] + np.arange(8) / 100) ** 2).mean())


def above(method: str) -> float:
    return mean_square(method) - mean_square(CODEC)


def test_numbers() -> None:
    assert number(0.12345, beside="[0, 1]", barred=True) == Cell(
        text="0.123", beside="[0, 1]", value=0.12345, share=0.12345
    )
    assert number(3.0, barred=True).share == 1
    assert number(-3.0, barred=True).share == 0
    assert number(math.nan, beside="[nan, nan]") == Cell(text="-")


def test_ranking_and_comparisons(found: Summaries) -> None:
    grid = grid_of(found, "ranking")
    assert set(grid.head[1:]) <= set(SHOWN.values())
    assert [cells[0].text for cells in grid.rows] == list(found.order)
    assert [cells[0].value for cells in grid.rows] == [1, 2, 3, 4, 5, 6]
    told = cell(grid, "sdedit", "above the codec")
    assert told.value == told.share == pytest.approx(above("sdedit"))
    assert told.text == f"{above('sdedit'):.3f}"
    assert cell(grid, "sdedit", "evaluations") == Cell(text="28", value=28.0)
    assert cell(grid, CODEC, "error at 1").value == pytest.approx(mean_square(CODEC)), "the floor"
    grid, less = grid_of(found, "compared"), mean_square("sdedit") - mean_square("eim")
    assert cell(grid, "sdedit", "above: its less ours").value == pytest.approx(less)
    assert cell(grid, "sdedit", "ours / its").text == f"{above('eim') / above('sdedit'):.2f}"
    assert cell(grid, "sdedit", "ours is better").text == "holds"
    assert all(len(line) == len(grid.head) for line in grid.rows)


def test_other_sections(found: Summaries) -> None:
    assert cell(grid_of(found, "attributes"), "eim", MEAN).value == pytest.approx(above("eim"))
    curves, strengths = grid_of(found, "curves"), grid_of(found, "strengths")
    assert cell(curves, "eim", "leakage at 0.5").value == pytest.approx(0.5 * (0.2 + 0.035))
    assert cell(curves, "eim", "reaches it").value == 1
    assert cell(curves, "eim", "matched error").value == pytest.approx(mean_square("eim"))
    assert cell(grid_of(found, "kinds"), "sdedit", "single").value == pytest.approx(above("sdedit"))
    assert cell(strengths, "eim", "SDE at 1").value == pytest.approx(0.9)
    assert cell(strengths, CODEC, "SDE at 0.5").text == "-"


def test_cost() -> None:
    """Two batches of eight rows that took four seconds each."""
    about = UnitRecord(method="eim", rows=8, failures=[], edit_seconds=4.0, seconds=6.0, peak_bytes=3 * 2**20)
    grid = tables.cost_grid(
        ROWS.assign(failed=0.25), {"a": about, "b": about.model_copy(update={"peak_bytes": None})}, marked="eim"
    )
    told = {name: cell(grid, "eim", name).text for name in grid.head[1:]}
    assert list(told.values()) == ["28", "0.100", "8.0", "12.0", "3", "20"]
    assert cell(grid, CODEC, "seconds a picture").text == "-"
    assert cell(grid, "sdedit", "seconds a picture").text == "-", "nothing is told of it"


def test_pie_bench_and_settings() -> None:
    row = {"method": "a", "category": "all", "metric": "legacy background_mse", "mean": 2.5, "low": 2.0, "high": 3.0}
    grid = tables.pie_bench_grid(pd.DataFrame([row, row | {"category": "x", "mean": 9.0}]), marked="")
    assert cell(grid, "a", "legacy background_mse") == Cell(text="2.500", beside="[2.000, 3.000]", value=2.5)
    methods = tables.method_grid(PlanSpec.model_validate(PLAN).methods, marked="eim")
    assert cell(methods, "eim", "settings").text == "steps 3, search (gamma 0.5)"


def test_markdown_keeps_its_columns() -> None:
    """A bar inside a cell would begin another."""
    lines = markdown(Grid(head=["a", "b"], rows=[[Cell(text="1"), Cell(text="x|y", beside="[z]")]]))
    assert lines == ["| a | b |", "| --- | --- |", "| 1 | x\\|y [z] |", ""]


COLUMN = "[...document.querySelectorAll('#ranking ~ .table tbody')][0]"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def report(done: Path) -> Path:
    path = done.parent / "report.html"
    write_report(done, path)
    return path


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.evaluate(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent.trim())")


@pytest.mark.nightly
def test_sections_tables_and_pictures(browser: Browser, report: Path) -> None:
    browser.open(report, width=1200)
    ids = ["ranking", "compared", "curves", "kinds", "attributes", "strengths", "cost", "pictures", "run", "words"]
    assert browser.evaluate("[...document.querySelectorAll('h2')].map((one) => one.id)") == ids
    ranked = browser.evaluate(f"[...{COLUMN}.rows].map((row) => row.cells[0].lastChild.textContent.trim())")
    assert ranked == sorted(SLOPES, key=lambda name: SLOPES[name])
    assert browser.evaluate(f"[...{COLUMN}.rows].map((row) => row.className)")[1] == "ours"
    viewers = browser.page.locator("latentedit-viewer[ready]")
    viewers.nth(5 * 3 - 2).wait_for(state="attached")
    assert viewers.count() == 5 * 3 - 1, "five methods, three items, one missing"
    assert texts(browser, ".missing") == ["median i3: a picture is missing"]
    assert texts(browser, "#run ~ .table td")[:2] == ["sdedit", "it is <gone>"]


@pytest.mark.slow
def test_nothing_comes_from_elsewhere_and_nothing_complains(browser: Browser, report: Path) -> None:
    browser.open(report, width=1200, dark=True)
    assert browser.requests == [report.resolve().as_uri()]
    assert browser.complaints == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, paper[4:-1].split(","))) < 64, "dark where the reader's system is"
    assert browser.evaluate("getComputedStyle(document.querySelector('.plots svg text')).fill") != "rgb(0, 0, 0)"


@pytest.mark.nightly
def test_a_click_sorts(browser: Browser, report: Path) -> None:
    browser.open(report, width=1200)
    head = "document.querySelectorAll('#ranking ~ .table thead')[0].rows[0].cells[1]"
    values = f"[...{COLUMN}.rows].map((row) => Number(row.cells[1].dataset.value))"
    rising = browser.evaluate(values)
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(f"{head}.ariaSort") == "ascending"
    assert browser.evaluate(values) == rising
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(values) == rising[::-1]
    table = "document.querySelector('#cost ~ .table table')"
    for _ in range(2):
        browser.evaluate(f"{table}.tHead.rows[0].cells[1].querySelector('button').click()")
        assert browser.evaluate(f"[...{table}.tBodies[0].rows].map((row) => row.cells[1].textContent)")[-1] == "-"


@pytest.mark.slow
def test_without_right_answers_nothing_is_ranked(tmp_path: Path) -> None:
    write_report(made_run(tmp_path / "r", ranked=False), tmp_path / "report.html")
    told = (tmp_path / "report.html").read_text()
    assert 'id="ranking"' not in told
    assert 'id="pie-bench"' in told
    assert 'data-value="7.5"' in told


@pytest.mark.slow
def test_folders_that_hold_no_finished_benchmark_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not the folder of a run"):
        write_report(tmp_path, tmp_path / "report.html")
    RunFolder.start(tmp_path / "empty", PLAN, kind="bench", units=["1"], command="x", request={})
    with pytest.raises(ConfigError, match="has no results yet"):
        write_report(tmp_path / "empty", tmp_path / "report.html")
    RunFolder.start(tmp_path / "other", PLAN, kind="edit", units=["1"], command="x", request={})
    with pytest.raises(ConfigError, match="latentedit edit"):
        write_report(tmp_path / "other", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_best_median_and_worst_by_error(done: Path) -> None:
    rows = table_of(RunFolder.read(done))
    found = examples(done, rows)
    assert set(found) == set(SLOPES) - {CODEC}
    assert [(one.place, one.item) for one in found["eim"]] == [("best", "i0"), ("median", "i3"), ("worst", "i7")]
    worst = found["sdedit"][2]
    assert worst.numbers["error"] == f"{0.97**2:.3f}"
    assert worst.numbers["SDE"] == "0.550"
    view = worst.view
    assert view is not None
    edited = Image.open(io.BytesIO(picture(80))).convert("RGB")
    assert same_picture(view.frames[0].image, edited), "that of this method"
    assert set(view.others) == {"right answer"}
    assert found["eim"][1].view is None, "it is missing"
    two = examples(done, rows[rows["item"].isin(["i2", "i5"])])["eim"]
    assert [(one.place, one.item) for one in two] == [("best", "i2"), ("worst", "i5")]
    unranked = examples(done, rows.drop(columns=["error", "effect"]))["eim"]
    assert [(one.place, one.item) for one in unranked] == [("", "i0"), ("", "i1"), ("", "i2")]


TABLE = "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"


def test_a_page_holds_what_it_is_given_and_asks_for_nothing() -> None:
    told = page("a <b> & c", f"<h1>1 < 2 {{{{ x }}}}</h1>{TABLE}{TABLE}")
    assert "<title>a &lt;b&gt; &amp; c</title>" in told
    assert "<h1>1 < 2 {{ x }}</h1>" in told, "trusted, and no template"
    assert told.count('<div class="table" tabindex="0"><table>') == told.count("</table></div>") == 2
    assert "default-src 'none'" in told
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", told) == []
    kind, _, content = picture_uri(b"\x89PNG\x00", "image/webp").partition(";base64,")
    assert (kind, base64.b64decode(content)) == ("data:image/webp", b"\x89PNG\x00")
    assert picture_uri(b"").startswith("data:image/png;")

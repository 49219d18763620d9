"""A report in a browser: everything is there, and nothing comes from elsewhere."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from latentedit.api.outputs import same_picture
from latentedit.api.runs.folder import RunFolder
from latentedit.core.errors import ConfigError
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.run import table_of
from latentedit_bench.report.page import page, picture_uri
from latentedit_bench.report.report import examples, write_report
from tests.bench.report.report_runs import PLAN, SLOPES, made_run, picture
from tests.browser import Browser

COLUMN = "[...document.querySelectorAll('#ranking ~ .table tbody')][0]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    path = folder.parent / "report.html"
    write_report(folder, path)
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


def test_best_median_and_worst_by_error(folder: Path) -> None:
    rows = table_of(RunFolder.read(folder))
    found = examples(folder, rows)
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
    two = examples(folder, rows[rows["item"].isin(["i2", "i5"])])["eim"]
    assert [(one.place, one.item) for one in two] == [("best", "i2"), ("worst", "i5")]
    unranked = examples(folder, rows.drop(columns=["error", "effect"]))["eim"]
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

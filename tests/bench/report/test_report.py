"""A report in a browser: everything is there, nothing comes from elsewhere, and it fits a telephone."""

from pathlib import Path

import pytest

from latentedit.api.runs.folder import RunFolder
from latentedit.core.errors import ConfigError
from latentedit_bench.report.report import write_report
from tests.bench.report.report_runs import PLAN, SLOPES, made_run
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
    assert texts(browser, "h1") == ["Benchmark of some by x"]
    ids = ["ranking", "compared", "curves", "kinds", "attributes", "strengths", "cost", "pictures", "run", "words"]
    assert browser.evaluate("[...document.querySelectorAll('h2')].map((one) => one.id)") == ids
    assert browser.evaluate("[...document.querySelectorAll('nav a')].map((one) => one.hash.slice(1))") == ids
    ranked = browser.evaluate(f"[...{COLUMN}.rows].map((row) => row.cells[0].lastChild.textContent.trim())")
    assert ranked == sorted(SLOPES, key=lambda name: SLOPES[name])
    assert browser.evaluate(f"[...{COLUMN}.rows].map((row) => row.className)")[1] == "ours"
    viewers = browser.page.locator("latentedit-viewer[ready]")
    viewers.nth(5 * 3 - 2).wait_for(state="attached")
    assert viewers.count() == 5 * 3 - 1, "five methods, three items, one missing"
    assert texts(browser, ".missing") == ["median i3: a picture is missing"]
    assert texts(browser, "#run ~ .table td")[:2] == ["sdedit", "it is <gone>"]
    assert texts(browser, "pre") == ["latentedit bench run <x>"]
    opened = "[...document.querySelectorAll('details[open]')].map((one) => one.firstChild.textContent)"
    browser.open(report, width=1200)
    assert browser.evaluate(opened) == ["eim"], "pictures of ours"


@pytest.mark.slow
def test_nothing_comes_from_elsewhere_and_nothing_complains(browser: Browser, report: Path) -> None:
    browser.open(report, width=1200, dark=True)
    assert browser.requests == [report.resolve().as_uri()]
    assert browser.complaints == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, paper[4:-1].split(","))) < 64, "dark where the reader's system is"
    assert browser.evaluate("getComputedStyle(document.querySelector('.plots svg text')).fill") != "rgb(0, 0, 0)"


@pytest.mark.slow
def test_the_browser_tells_what_goes_wrong(browser: Browser, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    page = tmp_path / "page.html"
    page.write_text("<img src='other.png'><script>console.error('x'); missing()</script>")
    browser.open(page, width=400)
    assert [url.rpartition("/")[2] for url in browser.requests] == ["page.html", "other.png"]
    assert {"error: x", "thrown: missing is not defined"} <= set(browser.complaints)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 400, 1000])
def test_the_page_does_not_scroll_sideways(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    browser.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    wide = "[...document.querySelectorAll('.table')].some((one) => one.scrollWidth > one.clientWidth)"
    assert browser.evaluate(wide), "tables do, in their boxes"


@pytest.mark.slow
def test_the_first_column_and_the_head_stay(browser: Browser, report: Path) -> None:
    browser.open(report, width=400)
    script = """(() => {
        const box = document.querySelector("#ranking ~ .table"), cell = box.querySelector("tbody tr :first-child");
        const before = cell.getBoundingClientRect().left; box.scrollLeft = 200;
        return [box.scrollLeft, cell.getBoundingClientRect().left - before] })()"""
    scrolled, moved = browser.evaluate(script)
    assert scrolled == 200
    assert abs(moved) < 2


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


@pytest.mark.slow
def test_values_that_are_missing_come_last(browser: Browser, report: Path) -> None:
    browser.open(report, width=1200)
    table = "document.querySelector('#cost + .table table')"
    for _ in range(2):
        browser.evaluate(f"{table}.tHead.rows[0].cells[1].querySelector('button').click()")
        assert browser.evaluate(f"[...{table}.tBodies[0].rows].map((row) => row.cells[1].textContent)")[-1] == "-"


@pytest.mark.nightly
def test_a_run_that_goes_on_is_told(tmp_path: Path) -> None:
    write_report(made_run(tmp_path / "r", units=40, drop=tuple(SLOPES)[2:]), tmp_path / "report.html")
    assert "6 of 40 parts" in " ".join((tmp_path / "report.html").read_text().split())


@pytest.mark.nightly
def test_without_ours_nothing_is_compared(tmp_path: Path) -> None:
    write_report(made_run(tmp_path / "r", drop=tuple(SLOPES)[1:4]), tmp_path / "report.html")
    told = (tmp_path / "report.html").read_text()
    assert 'id="ranking"' in told
    assert 'id="compared"' not in told


@pytest.mark.slow
def test_without_right_answers_nothing_is_ranked(tmp_path: Path) -> None:
    write_report(made_run(tmp_path / "r", ranked=False), tmp_path / "report.html")
    told = (tmp_path / "report.html").read_text()
    assert "nothing can be ranked" in told
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

"""Pages of results fit a laptop's window and a phone's, or show that they go on."""

from pathlib import Path
from typing import Any

import pytest

from latentedit_bench.report.page import page
from latentedit_keep.base.files import write_text
from latentedit_keep.check_folder import _page
from tests.browser import Browser

pytestmark = pytest.mark.slow

NAME = "a_long_name_of_a_photograph_from_a_camera_without_any_space_" * 2
REPORT: dict[str, Any] = {
    "passed": False, "reasons": ["outside"], "verdict": "1 % changed outside the mask", "also": [],
    "declares": {}, "doubts": [], "next_step": f"Use latentedit keep folder/{NAME}.jpg edited/{NAME}.png",
    "changed": {"value": 0.25}, "outside": {"value": 0.01},
}  # fmt: skip
OVER = "[...document.querySelectorAll('div')].map((one) => one.scrollWidth - one.clientWidth)"


@pytest.mark.parametrize("width", [1366, 390])
def test_a_report_of_checks_has_no_column_out_of_sight(browser: Browser, tmp_path: Path, width: int) -> None:
    write_text(tmp_path / "index.html", _page({NAME: REPORT}, {f"{NAME}-2": "cannot be read"}))
    browser.open(tmp_path / "index.html", width=width)
    assert browser.evaluate(OVER) == [0]
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_a_ranking_fits_a_laptop_and_fades_where_it_goes_on(browser: Browser, tmp_path: Path) -> None:
    cell = '<td class="number">0.123 <small>[0.101, 0.145]</small></td>'
    heads, cells = (
        "".join([first, *[one] * 13]) for first, one in (("<th>m</th>", "<th>error</th>"), ("<th>m</th>", cell))
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"
    write_text(tmp_path / "report.html", page("a ranking", table))
    browser.open(tmp_path / "report.html", width=1366)
    assert browser.evaluate(OVER) == [0]
    faded = "document.querySelector('.table').matches('.more')"
    assert not browser.evaluate(faded)
    browser.open(tmp_path / "report.html", width=390)
    browser.wait(faded)
    browser.evaluate("document.querySelector('.table').scrollTo(9999, 0)")
    browser.wait(f"!{faded}")

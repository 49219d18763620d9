"""Pages of results fit a laptop's window and a phone's, or show that they go on, in the browser's font and a wider one.

DejaVu Sans, which browsers take on many Linux systems, is the widest of the fonts that people have for `system-ui`: its
digits are .636 em wide, those of Arial and Liberation Sans .556 em.
"""

import base64
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from latentedit.core.files import write_text
from latentedit.keeping.check_folder import _page
from latentedit_bench.report.page import page
from tests.browser import Browser

NAME = "a_long_name_of_a_photograph_from_a_camera_without_any_space_" * 2
REPORT: dict[str, Any] = {
    "passed": False, "reasons": ["outside"], "verdict": "1 % changed outside the mask", "also": [],
    "declares": {}, "doubts": [], "next_step": f"Use latentedit keep folder/{NAME}.jpg edited/{NAME}.png",
    "changed": {"value": 0.25}, "outside": {"value": 0.01},
}  # fmt: skip
_DEJAVU = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
OVER = "[...document.querySelectorAll('div')].map((one) => one.scrollWidth - one.clientWidth)"


@pytest.fixture(params=["", _DEJAVU], ids=["its own font", "DejaVu"])
def style(request: pytest.FixtureRequest) -> str:
    """A style sheet that gives a page a font of this machine's own choice."""
    if not request.param:
        return ""
    font = base64.b64encode(request.param.read_bytes()).decode()
    face = f"@font-face {{font-family: wide; src: url(data:font/ttf;base64,{font})}}"
    return f"<style>{face} * {{font-family: wide !important}}</style>"


@pytest.mark.parametrize("width", [1366, 390])
def test_a_report_of_checks_has_no_column_out_of_sight(
    browser: Browser, tmp_path: Path, width: int, style: str
) -> None:
    write_text(tmp_path / "index.html", _page({NAME: REPORT}, {f"{NAME}-2": "cannot be read"}) + style)
    browser.open(tmp_path / "index.html", width=width)
    assert browser.evaluate(OVER) == [0]
    assert browser.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow_except("its own font")
def test_a_ranking_fits_a_laptop_and_fades_where_it_goes_on(browser: Browser, tmp_path: Path, style: str) -> None:
    cell = '<td class="number">0.123 <small>[0.101, 0.145]</small></td>'
    heads, cells = (
        "".join([first, *[one] * 13]) for first, one in (("<th>m</th>", "<th>error</th>"), ("<th>m</th>", cell))
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"
    write_text(tmp_path / "report.html", page("a ranking", table + style).replace("img-src", "font-src data:; img-src"))
    browser.open(tmp_path / "report.html", width=1366)
    assert browser.evaluate("document.fonts.load('16px wide').then((faces) => faces.length)") == bool(style)
    assert browser.evaluate(OVER) == [0]
    faded = "document.querySelector('.table').matches('.more')"
    assert not browser.evaluate(faded)
    browser.open(tmp_path / "report.html", width=390)
    browser.wait(faded)
    browser.evaluate("document.querySelector('.table').scrollTo(9999, 0)")
    browser.wait(f"!{faded}")

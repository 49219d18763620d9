"""The numbers of the README and of the pages are those of the results, all of them."""

import json
import re
from pathlib import Path

import pytest
from tools import claims
from tools.marked_numbers import ROOT, TABLES, filled, pages

from latentedit.core.errors import ConfigError

GENERATED = {ROOT / "docs" / "results" / f"{name}.md" for name in claims.PAGES}


@pytest.mark.slow
def test_pages_are_what_the_generator_writes() -> None:
    """Where this fails: python -m tools.marked_numbers."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    assert [page for page, text in texts.items() if filled(text, ROOT / "results") != text] == []


def test_every_interval_is_read_from_the_results() -> None:
    for page in set(pages()) - GENERATED:
        text = page.read_text(encoding="utf-8")
        typed = re.sub(r"```.+?```|<!--table .+?<!--/table-->|<!--[^/].*?<!--/-->", "", text, flags=re.DOTALL)
        assert re.findall(r"[0-9.]+ \[-?[0-9.]+, -?[0-9.]+\]", typed) == [], page


def test_every_template_is_used() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert set(TABLES) - set(re.findall(r"<!--table (.+?)-->", text)) == set()


def test_numbers_and_rows_are_filled_in_and_ratios_taken(tmp_path: Path) -> None:
    runs = [{"steps": 90, "seconds": 2, "fits": True, "gain": {"mean": 1, "low": 0.5, "high": 2}}, {"steps": 0}]
    (tmp_path / "a.json").write_text(json.dumps({"runs": runs}))
    (tmp_path / "b.csv").write_text("method,measure,mean,low,high\ncodec alone,error,0.25,,\nflowedit,error,4,3,5")
    page = """<!--a.json runs/0/gain | .1f dB interval-->?<!--/-->
<!--a.json runs/0/steps over runs/0/seconds | .0f--><!--/-->
<!--b.csv codec alone/error | .3f-->1<!--/-->
<!--table a.json runs | {key} | {steps} | {fits} | {gain:.2f}-->
| a | table | with | head |
| --- | --- | --- | --- |
<!--/table-->"""
    told = page.replace("-->?<", "-->1.0 dB [0.5, 2.0]<").replace(".0f--><", ".0f-->45<").replace("-->1<", "-->0.250<")
    told = told.replace("<!--/table", "| 0 | 90 | holds | 1.00 |\n| 1 | 0 | | |\n<!--/table")
    assert filled(page, tmp_path) == told


@pytest.mark.parametrize("mark", ["nothing.json | d-->1<!--/-->", "table nothing-->\n| a |\n| --- |\n<!--/table-->"])
def test_a_mark_of_something_that_is_not_there_is_refused(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing"):
        filled(f"<!--{mark}", tmp_path)

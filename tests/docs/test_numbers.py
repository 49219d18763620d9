"""The numbers of the README and of the pages are those of the results, all of them."""

import json
import re
from pathlib import Path

import pytest
from tools.marked_numbers import NUMBERS, ROOT, TABLES, filled, pages

from latentedit.core.errors import ConfigError

GENERATED = {ROOT / "docs" / "results" / "claims.md"}


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


def test_nothing_is_known_that_no_page_says() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert set(NUMBERS) - set(re.findall(r"<!--((?!table |/).+?)-->", text)) == set()
    assert set(TABLES) - set(re.findall(r"<!--table (.+?)-->", text)) == set()


def test_numbers_of_json_and_tables_are_filled_in_and_ratios_taken(tmp_path: Path) -> None:
    (tmp_path / "edits.json").write_text(json.dumps({"measures": {"pixels and direction": {"least": 12.34}}}))
    (tmp_path / "throughput.json").write_text(json.dumps({"runs": [{"evaluations": 90, "run_seconds": 2}]}))
    (tmp_path / "benchmark" / "best").mkdir(parents=True)
    rows = ["method,measure,mean,low,high", "codec alone,error,0.25,,", "flowedit,error,4,3,5"]
    (tmp_path / "benchmark" / "best" / "summary.csv").write_text("\n".join(rows))
    page = "a <!--undo worst-->?<!--/--> b <!--speed--><!--/--> c <!--codec-->1<!--/-->"
    told = "a <!--undo worst-->12.3 dB<!--/--> b <!--speed-->45<!--/--> c <!--codec-->0.250<!--/-->"
    assert filled(page, tmp_path) == told


@pytest.mark.parametrize("mark", ["<!--nothing-->1<!--/-->", "<!--table nothing-->\n<!--/table-->"])
def test_a_mark_that_is_not_known_is_refused(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nothing'"):
        filled(mark, tmp_path)

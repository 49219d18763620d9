"""The README's numbers are those of the results, all of them."""

import json
import re
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.numbers import NUMBERS, TABLES, filled

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_what_the_generator_writes() -> None:
    """Where this fails: python -m latentedit_bench.numbers."""
    assert filled(README, ROOT / "results") == README


def test_every_interval_of_the_readme_is_read_from_the_results() -> None:
    typed = re.sub(r"<!--table .+?<!--/table-->|<!--[^/].*?<!--/-->", "", README, flags=re.DOTALL)
    assert re.findall(r"[0-9.]+ \[-?[0-9.]+, -?[0-9.]+\]", typed) == []


def test_nothing_is_known_that_the_readme_does_not_say() -> None:
    assert set(re.findall(r"<!--((?!table |/).+?)-->", README)) == set(NUMBERS)
    assert set(re.findall(r"<!--table (.+?)-->", README)) == set(TABLES)


def test_numbers_are_filled_in_and_ratios_are_of_means(tmp_path: Path) -> None:
    (tmp_path / "undo.json").write_text(json.dumps({"lowest_psnr_db": {"pixels": 12.34}}))
    (tmp_path / "benchmark").mkdir()
    rows = ["method,measure,mean,low,high", "eim,matched,1,,", "flowalign,matched,4,3,5"]
    (tmp_path / "benchmark" / "summary.csv").write_text("\n".join(rows))
    page = "a <!--undo worst-->?<!--/--> b <!--ratio flowalign--><!--/-->"
    assert filled(page, tmp_path) == "a <!--undo worst-->12.3 dB<!--/--> b <!--ratio flowalign-->0.25<!--/-->"


@pytest.mark.parametrize("mark", ["<!--nothing-->1<!--/-->", "<!--table nothing-->\n<!--/table-->"])
def test_a_mark_that_is_not_known_is_refused(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nothing'"):
        filled(mark, tmp_path)

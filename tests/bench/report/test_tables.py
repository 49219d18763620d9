"""Tables as CSV and as Markdown."""

from pathlib import Path

import pandas as pd
import pytest

from latentedit.core.errors import OutputError
from latentedit_bench.report.tables import markdown_table, write_csv


def test_csv_has_five_digits_and_gaps(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, None]}))
    assert (tmp_path / "t.csv").read_bytes() == b"name,value\na,0.33333\nb,\n"


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        write_csv(tmp_path / "missing" / "t.csv", pd.DataFrame({"a": [1]}))


def test_markdown_keeps_its_columns() -> None:
    """A bar inside a cell would begin another."""
    lines = markdown_table(["a", "b"], [["1", "x|y"]])
    assert lines == ["| a | b |", "| --- | --- |", "| 1 | x\\|y |", ""]

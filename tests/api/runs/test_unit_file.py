"""What a unit's file holds comes back; one that is damaged is named."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.api.runs.unit_file import read_about, read_rows, write_unit
from latentedit.api.runs.work import Done, Failure
from latentedit.core.errors import FileFormatError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(
    st.fixed_dictionaries({"name": TEXTS, "x": st.floats(allow_nan=False, allow_infinity=False) | st.none()}),
    max_size=5,
)


@given(rows=ROWS, seconds=st.floats(0, 1e6), why=TEXTS)
def test_rows_and_what_is_told_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], seconds: float, why: str
) -> None:
    place = tmp_path_factory.mktemp("unit") / "it.parquet"
    write_unit(place, Done(rows=rows, failures=[Failure(item="a", what="b", why=why)], about={"seconds": seconds}))
    failures = [{"item": "a", "what": "b", "why": why}]
    assert read_about(place) == {"failures": failures, "seconds": seconds, "rows": len(rows)}
    table = read_rows([place])
    assert len(table) == len(rows)
    if rows:
        assert table["name"].tolist() == [row["name"] for row in rows]
        assert [None if pd.isna(value) else value for value in table["x"]] == [row["x"] for row in rows]


def test_units_lie_below_each_other(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2.5)):
        write_unit(tmp_path / name, Done(rows=[{"x": value, "none": None}]))
    table = read_rows([tmp_path / "b", tmp_path / "a"])
    assert table["x"].tolist() == [2.5, 1.0]
    assert table["none"].dtype == float
    assert len(read_rows([])) == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(200) + b"PAR1"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "unit.parquet"
    place.write_bytes(content)
    for ask in (lambda: read_rows([place]), lambda: read_about(place)):
        with pytest.raises(FileFormatError, match=r"expected a sound .*unit\.parquet; .* Delete it: the same command"):
            ask()

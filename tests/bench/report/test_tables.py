"""Cells say, sort by and show the numbers of a run."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.api.runs.folder import UnitRecord
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.plan import PlanSpec
from latentedit_bench.ranking.summaries import MEAN, SHOWN, Summaries
from latentedit_bench.report import tables
from latentedit_bench.report.tables import Cell, Grid, markdown, number
from latentedit_bench.tuning.search_spaces import Roles
from tests.bench.report.report_runs import PLAN, SLOPES, rows_of

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

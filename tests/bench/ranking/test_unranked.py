"""Runs without right answers: every row is kept, and masks give PIE-Bench's numbers in both modes."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentedit_bench.metrics.statistics import estimate
from latentedit_bench.ranking.evaluate import evaluate
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.unranked import pie_bench_table, write_unranked
from tests.bench.rendered_network import Idle, prepared


@pytest.mark.nightly
def test_a_run_with_masks_alone(tmp_path: Path) -> None:
    """Idle edits leave every background as it was; what needs a network is left out by name."""
    batch = dataclasses.replace(prepared(3, reads=False), truth=None, answer_pixels=None)
    rows, _ = evaluate(Method(name="idle", editor=Idle()), batch, [0.5, 1.0], seed=0)
    assert all("effect" not in row for row in rows)
    left_out = write_unranked(tmp_path, pd.DataFrame(rows))
    assert {line.split(":")[0] for line in left_out} >= {"structure_distance", "background_lpips", "clip_whole"}
    with (tmp_path / "pie-bench.csv").open() as file:
        told = {(row["category"], row["metric"]): row for row in csv.DictReader(file)}
    assert float(told["all", "legacy background_mse"]["mean"]) == 0
    assert float(told["all", "corrected background_psnr_db"]["mean"]) == 100
    assert told["all", "legacy background_mse"]["method"] == "idle"
    assert told["all", "legacy background_mse"]["rows"] == "3"


def test_a_run_without_masks_has_no_numbers_of_pie_bench(tmp_path: Path) -> None:
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0], "changed_rms": [0.5]})
    assert write_unranked(tmp_path, rows) == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "method": "a",
            "strength": 1.0,
            "kind": ["change style"] * 10 + ["add object"] * 8,
            "group": [f"picture {index // 2}" for index in range(18)],
            "legacy background_mse": generator.random(18),
            "corrected background_mse": generator.random(18),
        }
    )
    table.loc[[0, 12, 13], "legacy background_mse"] = float("nan")
    return table


def test_every_category_and_all_of_them_have_a_row_of_each_number(rows: pd.DataFrame) -> None:
    table = pie_bench_table(rows)
    assert table is not None
    assert table["category"].tolist() == ["add object"] * 2 + ["change style"] * 2 + ["all"] * 2
    told = table.set_index(["category", "metric"])
    assert told["rows"].unstack().loc["all"].tolist() == [18, 18]
    assert told["nan"].tolist() == [2, 0, 1, 0, 3, 0]
    # two rows a picture; the picture whose rows are both nan is behind no number
    assert told["pictures"].to_dict()["add object", "legacy background_mse"] == 3
    assert told["pictures"].to_dict()["change style", "legacy background_mse"] == 5
    rows["legacy background_mse"] = float("nan")
    assert pie_bench_table(rows)["mean"].isna().tolist() == [True, False] * 3  # type: ignore[index]


def test_means_leave_out_nan_and_intervals_draw_groups(rows: pd.DataFrame) -> None:
    table = pie_bench_table(rows, seed=3)
    assert table is not None
    values = rows["legacy background_mse"]
    overall = table[table["category"] == "all"].iloc[0]
    assert overall["mean"] == pytest.approx(np.nanmean(values), rel=1e-12)
    groups = pd.factorize(rows["group"])[0].tolist()
    expected = estimate(values.tolist(), [(group,) for group in groups], seed=3)
    assert (overall["low"], overall["high"]) == (expected.low, expected.high)
    alone = estimate(values.tolist(), [(index,) for index in range(18)], seed=3)
    assert (overall["low"], overall["high"]) != (alone.low, alone.high)

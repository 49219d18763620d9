"""Runs without right answers: every row is kept, and masks give PIE-Bench's numbers in both modes."""

import csv
import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit_bench.metrics.pie_bench import background_mse
from latentedit_bench.ranking.evaluate import evaluate
from latentedit_bench.ranking.methods import Method
from latentedit_bench.ranking.unranked import pie_bench_columns, write_unranked
from tests.bench.rendered_network import Idle, prepared


def test_numbers_of_the_background_in_both_modes() -> None:
    """In units of PIE-Bench's tables: mean squared errors times 10,000."""
    batch = dataclasses.replace(prepared(3, reads=False), truth=None)
    assert batch.mask is not None
    edited = (batch.source + 0.25).clamp(-1, 1)
    found = pie_bench_columns(batch, edited)
    for mode in ("legacy", "corrected"):
        wanted = 1e4 * background_mse(edited, batch.source, batch.mask, mode=mode)
        assert torch.allclose(found[f"{mode} background_mse"], wanted)
    assert not torch.allclose(found["legacy background_mse"], found["corrected background_mse"])
    assert pie_bench_columns(dataclasses.replace(batch, mask=None), edited) == {}


def test_a_run_with_masks_alone(tmp_path: Path) -> None:
    """Idle edits leave every background as it was; what needs a network is left out by name."""
    batch = dataclasses.replace(prepared(3, reads=False), truth=None, answer_pixels=None)
    rows, _ = evaluate(Method(name="idle", editor=Idle()), batch, [0.5, 1.0], seed=0, beside=False)
    assert all("effect" not in row for row in rows)
    left_out = write_unranked(tmp_path, pd.DataFrame(rows))
    assert {line.split(":")[0] for line in left_out} >= {"structure_distance", "background_lpips", "clip_whole"}
    with (tmp_path / "pie-bench.csv").open() as file:
        told = {(row["category"], row["metric"]): row for row in csv.DictReader(file)}
    assert float(told["all", "legacy background_mse"]["mean"]) == 0
    assert float(told["all", "corrected background_psnr_db"]["mean"]) == 100
    assert told["all", "legacy background_mse"]["method"] == "idle"
    assert told["all", "legacy background_mse"]["rows"] == "3"
    with (tmp_path / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_a_run_without_masks_has_rows_alone(tmp_path: Path) -> None:
    rows = pd.DataFrame({"method": ["a"], "strength": [1.0], "changed_rms": [0.5]})
    assert write_unranked(tmp_path, rows) == []
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    with pytest.raises(FileNotFoundError):
        (tmp_path / "pie-bench.csv").read_text()

"""Every experiment by its quick plan on the bundled models."""

import math
from pathlib import Path

import pytest

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments.experiment import make_experiment
from latentedit_bench.experiments.run import Record, reproduce


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_a_quick_plan_gives_a_number_of_every_model(tmp_path: Path, name: str) -> None:
    (record,) = reproduce([make_experiment(name)], tmp_path, command="typed", quick=True)
    assert record.failure is None
    told = [model for claim in record.decides for model in claim.model.replace(" vs ", " and ").split(" and ")]
    assert sorted(told) == sorted(record.plan["models"])
    assert all(math.isfinite(claim.estimate) for claim in record.decides)
    assert Record.read(tmp_path / f"{name}.json").weights.keys() == set(told)
    assert (tmp_path / f"{name}.webp").stat().st_size > 500

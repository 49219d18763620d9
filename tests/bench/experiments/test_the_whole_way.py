"""Every experiment by its quick plan on the bundled models, as the command line runs it."""

import json
import math
from pathlib import Path

import pytest

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments.experiment import make_experiment
from tests.commands import Command


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXPERIMENTS.names())
def test_a_quick_plan_gives_a_number_of_every_model(command: Command, tmp_path: Path, name: str) -> None:
    outcome = command("reproduce", name, "--quick", "--json", "-o", tmp_path)
    assert outcome.code == 0, outcome.err
    (record,) = json.loads(outcome.out)["experiments"]
    assert record["failure"] is None
    models = record["plan"]["models"]
    told = " ".join(claim["model"] for claim in record["decides"]).replace(" vs ", " ").replace(" and ", " ").split()
    assert sorted(told) == sorted(models)
    assert all(claim["estimate"] is not None and math.isfinite(claim["estimate"]) for claim in record["decides"])
    assert all((tmp_path / f"{name}{ending}").stat().st_size > 500 for ending in (".webp", ".json"))
    assert make_experiment(name).changed(**make_experiment(name).quick).weights() == record["weights"]

"""Every experiment by name: the contract's attributes, plans of plain values, smaller ones that ask the same."""

import json

import pytest

from latentedit.api.outputs import plain
from latentedit.core.errors import ConfigError
from latentedit_bench.analysis.registry import ANALYSES
from latentedit_bench.claims.record import planned
from latentedit_bench.claims.registry import EXPERIMENTS, make_experiment


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_what_its_name_says_and_has_a_plan(name: str) -> None:
    experiment = make_experiment(name)
    assert experiment.name == name
    assert "(arXiv " in experiment.paper
    assert not experiment.statement.endswith(".")
    quick = experiment.quick()
    assert type(quick) is type(experiment)
    assert dict(quick.plan) != dict(experiment.plan)
    for one in (experiment, quick):
        told = planned(one, quick=False)
        assert json.loads(json.dumps(told)) == told, "what is stored is what is compared"
        assert plain(dict(one.plan)) == told["plan"]


def test_every_analysis_is_an_experiment() -> None:
    assert [name.removeprefix("geometry-") for name in EXPERIMENTS if name.startswith("geometry-")] == list(ANALYSES)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="got 'geometry-sample': did you mean 'geometry-samples'"):
        make_experiment("geometry-sample")

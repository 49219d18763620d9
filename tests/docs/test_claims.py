"""The page of claims says whose numbers are of an older plan, or of older weights."""

from typing import Any

import pytest
from tools import claims

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import base
from latentedit_bench.experiments.run import read_records


@pytest.mark.nightly
def test_what_an_older_plan_measured_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing where each experiment asks what its record says; the one that asks something else."""
    records = {name: one for name, one in read_records(claims.STORED).items() if name in EXPERIMENTS.names()}
    asks: dict[str, Any] = {name: record.about for name, record in records.items()}
    monkeypatch.setattr(claims, "planned", lambda experiment, **_: asks[experiment.name])
    assert claims.outdated() == []
    assert "older plan" not in claims.page()
    first = next(iter(asks))
    asks[first] = {**asks[first], "statistic": "something else"}
    assert claims.outdated() == [first]
    assert f"is what was found then: {first}." in claims.page()


def test_what_was_measured_on_other_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {name: one for name, one in read_records(claims.STORED).items() if name in EXPERIMENTS.names()}
    monkeypatch.setattr(claims, "planned", lambda experiment, **_: records[experiment.name].about)
    monkeypatch.setattr(base, "weights_fingerprint", lambda name: f"{name}, trained on")
    assert claims.outdated() == [name for name, record in records.items() if record.weights]
    assert "joint-latent" in claims.outdated()

"""The page of claims says whose numbers an older plan has measured."""

from typing import Any

import pytest
from tools import claims

from latentedit_bench.experiments.run import read_records


def test_what_an_older_plan_measured_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing where each experiment asks what its record says; the one that asks something else."""
    records = read_records(claims.STORED)
    asks: dict[str, Any] = {name: record.about for name, record in records.items()}
    monkeypatch.setattr(claims, "planned", lambda experiment, **_: asks[experiment.name])
    assert claims.outdated() == []
    assert "older plan" not in claims.page()
    first = next(iter(asks))
    asks[first] = {**asks[first], "statistic": "something else"}
    assert claims.outdated() == [first]
    assert f"older plan found on the older weights: {first}." in claims.page()

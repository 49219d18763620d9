"""The pages of claims say whose numbers are of an older plan, or of older weights."""

import dataclasses

import pytest
from tools import claims

from latentedit_bench.experiments import experiment
from latentedit_bench.experiments.experiment import Experiment, make_experiment
from latentedit_bench.experiments.run import read_records
from latentedit_keep.files import plain


def test_what_an_older_plan_measured_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing where each experiment asks what its record says; the one that asks something else."""
    records = [dataclasses.replace(one, weights={}) for one in read_records(claims.STORED)]
    first = make_experiment(records[0].name)
    same = [dataclasses.replace(one, plan=plain(make_experiment(one.name).plan)) for one in records]
    monkeypatch.setattr(claims, "read_records", lambda _: same)
    assert claims.outdated() == []
    same[0] = dataclasses.replace(same[0], plan={**same[0].plan, "seed": 1})
    assert claims.outdated() == [first.name]
    (page,) = (name for name, paper in claims.PAGES.items() if paper == first.paper)
    assert f"as these numbers were found then: {first.name}." in claims.page(page, [first.name])
    assert "older" not in claims.page(page, [])


def test_what_was_measured_on_other_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    records = read_records(claims.STORED)
    monkeypatch.setattr(experiment, "weights_fingerprint", lambda name: f"{name}, trained on")
    monkeypatch.setattr(Experiment, "plan", property(lambda one: next(r.plan for r in records if r.name == one.name)))
    assert claims.outdated() == [one.name for one in records if one.weights]
    assert "joint-latent" in claims.outdated()


@pytest.mark.nightly
def test_pages_are_what_the_generator_writes() -> None:
    """Where this fails: python -m tools.claims."""
    old = claims.outdated()
    pages = {claims.ROOT / "docs" / "results" / f"{name}.md": claims.page(name, old) for name in claims.PAGES}
    assert [place.name for place, text in pages.items() if place.read_text(encoding="utf-8") != text] == []

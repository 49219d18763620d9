"""Changes outside that are known, what is left of a search without its Hessian, and when an error turns the verdict."""

import dataclasses

import pandas as pd
import pytest

from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.benchmark_runs import some_latent
from latentedit_bench.experiments.hessian_preservation import (
    AT_EFFECT,
    BASELINES,
    DECIDING,
    FEWER,
    MEMBERS,
    OUTSIDE,
    PIPELINE,
    WITHOUT,
    HessianPreservation,
    methods,
    outside,
    without_hessian,
)
from latentedit_bench.experiments.known_items import CAPTIONS, MODELS, asking
from latentedit_bench.metrics.statistics import Table
from tests.bench.experiments.rendered_bench import rows, use_rendered

NAMES = (WITHOUT, FEWER, *MEMBERS, *BASELINES)


def measured(shares: dict[str, float], errors: dict[str, float], *, model: str = MODELS[0]) -> Table:
    """Eight items of whole effect and a leakage of 1: twice a method's share is its change outside; .2 if not named."""
    tables = [
        rows({name: [shares.get(name, 0.2)] * 8}, "outside", captions=captions, error=errors.get(name, 0.3))
        for name in NAMES
        for captions in CAPTIONS
    ]
    table = pd.DataFrame([row for some in tables for row in some])
    return table.assign(effect=1.0, leakage=1.0, others_changed=0.0, model=model)


def test_the_change_outside_is_an_energy() -> None:
    """A quarter of a change of energy .5^2 + .5^2; nothing where nothing changed; at most the whole wanted change."""
    table = pd.DataFrame({"outside": [0.25, None, 0.9], "effect": [0.5, 0.0, 1.0], "leakage": [0.5, 0.0, 1.0]})
    found = outside(table)
    assert list(found[OUTSIDE]) == pytest.approx([0.125, 0.0, 1.0])
    assert list(found[AT_EFFECT]) == pytest.approx([0.5, 0.0, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "with_it", "error", "verdict"),
    [
        (0.3, 0.2, 0.3, "holds"),
        (0.3, 0.2, 0.25, "holds"),
        (0.3, 0.2, 0.35, "does not hold"),
        (0.2, 0.3, 0.3, "does not hold"),
        (0.2, 0.2, 0.3, "undecided at this size"),
        (0.2, 0.2, 0.35, "does not hold"),
    ],
)
def test_it_holds_where_less_changes_outside_at_no_higher_error(
    without: float, with_it: float, error: float, verdict: str
) -> None:
    table = measured({WITHOUT: without, DECIDING: with_it, "dds": 0.5}, {DECIDING: error})
    found = HessianPreservation(models=MODELS[:1]).conclude(table)
    first, second = found.claims[:2]
    assert first.measure == f"{OUTSIDE}: {WITHOUT} less {DECIDING}, partial captions"
    assert first.estimate == pytest.approx(2 * (without - with_it))
    assert first.verdict == verdict
    assert second.estimate == pytest.approx(0.3 - error)
    assert f"{DECIDING} {with_it / without:.2f}" in found.notes[0]


@pytest.mark.nightly
def test_the_whole_search_beside_sds_and_dds_is_another_claim() -> None:
    found = HessianPreservation().conclude(
        pd.concat([measured({"dds": 0.5, "sds": 0.1}, {}, model=model) for model in MODELS])
    )
    said = {claim.measure: claim for claim in found.claims if claim.statement == PIPELINE}
    assert said[f"{OUTSIDE}: dds less {DECIDING}, partial captions"].verdict == "holds"
    assert said[f"{OUTSIDE}: sds less {DECIDING}, full captions"].verdict == "does not hold"
    assert found.claims[0].statement == HessianPreservation.statement
    assert {claim.model for claim in found.claims} == set(MODELS)


def test_without_the_hessian_nothing_else_changes() -> None:
    search = HSDS(gamma=-0.5, steps=3, keep=0.1)
    assert without_hessian(search) == HSDS(gamma=0.0, steps=3, keep=0.1)
    assert without_hessian(HSDS(filter="newton", damping=0.1)) == HSDS(damping=0.1)


def test_none_is_dearer_and_only_the_hessian_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_rendered(monkeypatch)("portraits")
    latent = some_latent(model, asking("test", 1))
    found = {one.name: one for one in methods(model, latent)}
    searches = {name: one.editor.search for name, one in found.items() if isinstance(one.editor, EIM)}
    assert list(searches) == [WITHOUT, FEWER, *MEMBERS]
    assert not any(one.local for one in found.values())
    costs = {name: one.editor.evaluations(latent) for name, one in found.items()}
    assert max(costs.values()) <= 28
    assert costs[FEWER] < costs[DECIDING]
    assert (searches[FEWER].steps, searches[WITHOUT].steps) == (searches[DECIDING].steps, 7)
    for name, change in MEMBERS.items():
        plain = {"gamma": 0.0, "filter": "gamma", "iterations": searches[WITHOUT].iterations, "steps": 7}
        plain |= {key: getattr(HSDS(), key) for key in change if key not in plain}
        assert dataclasses.replace(searches[name], **plain) == searches[WITHOUT]
        assert {key: getattr(searches[name], key) for key in change} == change

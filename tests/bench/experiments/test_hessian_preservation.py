"""Constructed curves whose leakages are known, what is left of a search without its Hessian, and the whole way."""

import pandas as pd
import pytest

from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.benchmark_runs import asking, some_latent
from latentedit_bench.experiments.hessian_preservation import (
    BASELINES,
    FEWER,
    GAMMA,
    NEWTON,
    WITHOUT,
    HessianPreservation,
    methods,
    without_hessian,
)
from latentedit_bench.metrics.statistics import Table
from tests.bench.experiments.rendered_bench import use_rendered
from tests.bench.rendered_network import constructed

PLAIN = (f"{GAMMA}, {WITHOUT}", f"{NEWTON}, {WITHOUT}", f"{GAMMA}, {FEWER}")


def leaking(**slopes: float) -> Table:
    """Eight items whose leakage is a method's slope times the effect; .5 unless named."""
    named = {"gamma": GAMMA, "newton": NEWTON, "plain": PLAIN[0]}
    told = dict.fromkeys((GAMMA, NEWTON, *PLAIN, *BASELINES), 0.5)
    told |= {named.get(name, name): slope for name, slope in slopes.items()}
    paths = {
        name: {f"i{index}": [(s, s, slope * s) for s in (0.5, 1.0, 1.5)] for index in range(8)}
        for name, slope in told.items()
    }
    return pd.DataFrame(constructed(paths, model="portraits"))


def test_leakage_is_compared_at_one_effect() -> None:
    found = HessianPreservation().conclude(leaking(gamma=0.2, dds=0.6, sds=0.1, plain=0.2))
    numbers = {claim.measure: claim for claim in found.claims}
    assert found.claims[0].measure == f"leakage at 0.75: dds less {GAMMA}"
    assert found.claims[0].estimate == pytest.approx(0.75 * 0.4)
    assert found.claims[0].verdict == "holds"
    assert numbers[f"leakage at 0.75: sds less {GAMMA}"].verdict == "does not hold"
    without = numbers[f"leakage at 0.75: {PLAIN[0]} less {GAMMA}"]
    assert without.estimate == pytest.approx(0)
    assert numbers[f"matched error: dds less {GAMMA}"].estimate == pytest.approx(0.36 - 0.04)
    assert f"{without.verdict}" in found.notes[0]


def test_without_the_hessian_nothing_else_changes() -> None:
    search = HSDS(gamma=-0.5, steps=3, keep=0.1)
    assert without_hessian(search) == HSDS(gamma=0.0, steps=3, keep=0.1)
    assert without_hessian(HSDS(filter="newton", damping=0.1)) == HSDS(damping=0.1)


def test_none_is_local_and_none_is_dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_rendered(monkeypatch)("portraits")
    latent = some_latent(model, asking("test", 1))
    found = {one.name: one for one in methods(model, latent)}
    costs = {name: one.editor.evaluations(latent) for name, one in found.items()}
    assert not any(one.local for one in found.values())
    assert {name: cost for name, cost in costs.items() if cost != 28} == {GAMMA: 24, PLAIN[2]: 12}
    for name in PLAIN:
        editor = found[name].editor
        assert isinstance(editor, EIM)
        assert (editor.search.filter, editor.search.gamma) == ("gamma", 0.0)

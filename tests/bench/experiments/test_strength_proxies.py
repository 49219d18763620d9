"""Walks whose measures are known, answers of steps, and what the correlations say of rows that are made up."""

import math

import pandas as pd
import pytest
import torch

from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit_bench.data.prepared import prepare
from latentedit_bench.experiments.strength_proxies import (
    ERROR,
    FADE,
    FADED,
    PROXIES,
    STRENGTHS,
    StrengthProxies,
    editors,
    ladders,
    measured,
    true_error,
    walked,
)
from latentedit_bench.ranking.methods import Method
from tests.bench.rendered_network import RenderedNetwork, prepared


def test_measures_of_a_straight_walk_and_of_a_jump() -> None:
    """Grey pictures that brighten evenly, and ones that jump at the end; nobody reads them."""
    even = torch.tensor([0.0, *STRENGTHS])
    jump = torch.tensor([0.0] * 6 + [1.0])
    walk = [torch.stack([a.expand(3, 4, 4), b.expand(3, 4, 4)]) for a, b in zip(even, jump, strict=True)]
    found = measured(walk, [None] * 7, None)
    assert [float(found[proxy][0]) for proxy in PROXIES[:3]] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["delta-smooth"][1].isnan()  # three equal pictures in a row
    assert float(found["uniformity"][1]) == pytest.approx(math.sqrt(5) / 6)
    # one of seven against 0, 1, ..., 6: r = 3 / sqrt(28 * 6 / 7)
    assert float(found["1 - |r|"][1]) == pytest.approx(1 - 3 / math.sqrt(24))
    assert found["- range"].isnan().all()


def test_the_error_is_that_to_the_answers_of_the_steps() -> None:
    """Brightness s at strength s: against answers of .5 and 1 nothing, against .25 and 1 a sixteenth, halved."""
    edited = [torch.full((1, 3, 2, 2), strength) for strength in STRENGTHS]
    source = torch.zeros(1, 3, 2, 2)

    def against(*answers: float) -> float:
        return true_error(edited, source, torch.stack([torch.full((3, 2, 2), answer) for answer in answers]))

    assert against(0.5, 1.0) == pytest.approx(0, abs=1e-12)
    assert against(1 / 3, 2 / 3, 1.0) == pytest.approx(0, abs=1e-12)
    assert against(0.25, 1.0) == pytest.approx(0.25**2 / 2)


@pytest.mark.nightly
def test_rows_of_two_portraits() -> None:
    """The method and the cross-fade, which is straight; every step has an answer of its own."""
    steps = ladders(20, 2)
    assert all(len(one) in (2, 3) for one in steps)
    batch = prepare(RenderedNetwork(), [one[-1] for one in steps])
    rows = walked(batch, steps, [Method(name=FADED, editor=FlowSlider(steps=2))], seed=0)
    assert [(row["method"], row["item"]) for row in rows] == [
        (name, one[-1].id) for name in (FADED, FADE) for one in steps
    ]
    for row in rows:
        assert row[ERROR] > 0
        assert -1 <= row["- range"] <= 1
    # whole levels of pictures bend what is straight
    assert all(row["1 - |r|"] < 1e-2 for row in rows if row["method"] == FADE)


def test_correlations_of_made_up_rows() -> None:
    """Delta-smooth ranks as the error does, uniformity the other way round, and the rest says nothing."""
    rows = pd.DataFrame(
        {
            "model": "portraits",
            "method": f"m{method}",
            "item": f"i{item}",
            "group": f"g{item}",
            "delta-smooth": method,
            "uniformity": -method,
            "1 - |r|": None,
            "- range": (method * 2 + item) % 5,
            ERROR: 0.1 * method + item,
        }
        for item in range(10)
        for method in range(5)
    )
    found = StrengthProxies().conclude(rows)
    numbers = {claim.measure: (claim.estimate, claim.verdict) for claim in found.claims}
    within = "with the error, methods within each portrait"
    assert found.claims[0].measure == f"rank correlation of delta-smooth {within}"
    assert numbers[f"rank correlation of delta-smooth {within}"] == (pytest.approx(1), "holds")
    assert numbers[f"rank correlation of uniformity {within}"] == (pytest.approx(-1), "does not hold")
    assert math.isnan(numbers[f"rank correlation of 1 - |r| {within}"][0])
    over_all = numbers["rank correlation of delta-smooth with the error, all walks"][0]
    assert 0 < over_all < 0.5  # portraits differ in their errors


def test_every_method_can_be_made_for_a_model() -> None:
    assert [method.name for method in editors(prepared(2, reads=False).latent.backbone)][:2] == ["eim", "flowedit"]
    assert len(StrengthProxies().parts) == 2

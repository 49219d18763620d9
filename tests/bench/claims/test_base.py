"""What experiments and their outcomes are made of; the laws of all of them are looked at in test_registry."""

import pandas as pd
import pytest

from latentedit_bench.analysis.base import Claim
from latentedit_bench.claims.base import Experiment, Outcome
from latentedit_bench.metrics.statistics import Estimate


def test_an_experiment_without_a_plan_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="plan"):
        Experiment()  # pyright: ignore[reportAbstractUsage]


def test_an_outcome_keeps_the_order_of_its_claims() -> None:
    found = [Estimate(mean=mean, low=mean - 1, high=mean + 1, pictures=8) for mean in (2.0, -2.0, 0.0)]
    claims = tuple(Claim.of("it is so", "portraits", f"number {index}", one) for index, one in enumerate(found))
    outcome = Outcome(claims=claims, table=pd.DataFrame())
    assert [claim.verdict for claim in outcome.claims] == ["holds", "does not hold", "undecided at this size"]
    assert outcome.notes == ()

from latentedit_bench.analysis.base import Claim
from latentedit_bench.analysis.registry import make_analysis
from latentedit_bench.metrics.statistics import Estimate
from tests.bench.analysis.counting import Counting


def test_a_claim_carries_its_estimate_and_is_judged_by_it() -> None:
    found = Estimate(mean=0.2, low=0.1, high=0.3, pictures=8)
    claim = Claim.of("it is so", "a model", "growth, in units", found)
    assert (claim.estimate, claim.low, claim.high, claim.samples) == (0.2, 0.1, 0.3, 8)
    assert (claim.statement, claim.model, claim.measure, claim.verdict) == (
        "it is so",
        "a model",
        "growth, in units",
        "holds",
    )


def test_settings_are_the_fields_of_an_analysis() -> None:
    assert make_analysis("spectrum", rank=4, probes=2).settings == {"rank": 4, "probes": 2}
    assert Counting(start=3).settings == {"start": 3}

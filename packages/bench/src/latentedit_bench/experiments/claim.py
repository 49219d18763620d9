"""A sentence of a paper, and what became of it here."""

import dataclasses
import math

from latentedit_bench.metrics.statistics import Estimate, Verdict, decide


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a paper says, and what was found here.

    Args:
        statement: of the paper, in our words.
        model: where it was looked at.
        measure: what the number is, with its unit; the claim holds where it is above 0.
        estimate: of that number.
        low: end of its 95 % interval.
        high: the other end.
        samples: pictures behind it.
        verdict: by the interval.
    """

    statement: str
    model: str
    measure: str
    estimate: float
    low: float
    high: float
    samples: int
    verdict: Verdict

    @property
    def text(self) -> str:
        """The number, such as "0.42 [0.31, 0.55]"."""
        if math.isnan(self.estimate):
            return "not measured"
        ends = "" if math.isnan(self.low + self.high) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.estimate:.3g}{ends}"

    @staticmethod
    def of(statement: str, model: str, measure: str, found: Estimate) -> "Claim":
        """Judged by an estimate that is above 0 where the claim is true."""
        return Claim(
            statement=statement,
            model=model,
            measure=measure,
            estimate=found.mean,
            low=found.low,
            high=found.high,
            samples=found.pictures,
            verdict=decide(found),
        )

"""What an analysis is: units of work that give rows, and what follows from all rows together."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure

from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import Estimate, Table, Verdict, decide

Item = tuple[str | int | float, ...]
"""One unit of work of one study: plain values, the same in every run."""

Row = dict[str, str | int | float | None]
"""One measured row of a table; None stands for what could not be measured."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a paper says, and what was found here.

    Args:
        statement: of the paper, in our words.
        model: where it was looked at.
        measure: what the number is, with its unit; the claim holds where it is above 0.
        estimate: of that number.
        low: end of its 95 % interval.
        high: likewise.
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conclusion:
    """What all rows together say.

    Args:
        line: the verdict in one line.
        claims: each with its interval.
        summary: the table behind the plot: means, intervals, null levels.
    """

    line: str
    claims: tuple[Claim, ...]
    summary: Table


class Analysis(abc.ABC):
    """One question about the latent space.

    Laws:
        1. ``items`` is the same for the same study.
        2. ``measure`` depends on the study and the item only, so a run can stop anywhere and go on.
        3. ``conclude`` and ``draw`` take rows of one model or of several; rows say in "model" whose they are.

    Subclasses are frozen dataclasses: their fields are settings, part of what a stored row must have been made with.
    """

    name: ClassVar[str]
    """As the command line knows it."""

    title: ClassVar[str]
    """What is looked at, for the plot and the list of analyses."""

    fewest: ClassVar[int] = 2
    """Pictures below which there is nothing to compare."""

    fewest_models: ClassVar[int] = 1
    """Models below which there is nothing to compare."""

    models: ClassVar[tuple[str, ...]] = ("portraits",)
    """Looked at unless told."""

    @abc.abstractmethod
    def items(self, study: Study) -> Sequence[Item]:
        """The units of work in one study."""

    @abc.abstractmethod
    def measure(self, study: Study, item: Item) -> list[Row]:
        """The rows of one unit, without "model"."""

    @abc.abstractmethod
    def conclude(self, table: Table) -> Conclusion:
        """What the rows say, with intervals and against the control."""

    @abc.abstractmethod
    def draw(self, table: Table, figure: Figure) -> None:
        """A plot that can be read alone: axes with units, intervals, the null level."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of this analysis, beside those of the study."""
        fields = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        return {field.name: getattr(self, field.name) for field in fields}

"""Experiments that count, one of items and one of pictures, for the tests of what runs, stores and shows them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.axes import Axes

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.experiments.geometry import Found, Geometry
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Table, estimate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Experiment):
    """One unit an item, with its index plus ``start``; ``calls`` counts them over all runs."""

    name: ClassVar[str] = "tally"
    minutes: ClassVar[int] = 100
    paper: ClassVar[str] = "Counting (arXiv 0000.00001)"
    statement: ClassVar[str] = "items can be counted | one by one"
    statistic: ClassVar[str] = "mean of the items' numbers"
    notes: ClassVar[tuple[str, ...]] = ("counted *twice*",)

    items: int = 8
    start: float = 1.0
    calls: list[int] = dataclasses.field(default_factory=list[int], repr=False, compare=False)

    @property
    def plan(self) -> Mapping[str, Any]:
        return {"items": self.items, "start": self.start, "how": {"by": ["hand", "eye"], "twice": False}}

    def quick(self) -> "Tally":
        return dataclasses.replace(self, items=6)

    def units(self, at: Context) -> Sequence[Unit]:
        return [(item,) for item in range(self.items)]

    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        self.calls.append(int(unit[0]))
        return [{"value": int(unit[0]) + self.start}]

    def conclude(self, rows: Table) -> Outcome:
        found = estimate(rows["value"].tolist(), [(item,) for item in range(len(rows))])
        return Outcome(claims=(Claim.of(self.statement, "fingers", "size of |n|, in <items>", found),), line="some")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Tally):
    """Has nothing to count."""

    name: ClassVar[str] = "broken"
    paper: ClassVar[str] = "Another (arXiv 0000.00002)"

    def units(self, at: Context) -> Sequence[Unit]:
        raise ConfigError("there are no items. Bring some")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counting(Geometry):
    """One row a picture: its index plus ``start``; ``calls`` counts, and the call after ``most`` is interrupted."""

    name: ClassVar[str] = "geometry-counting"
    title: ClassVar[str] = "Pictures, counted"
    twins: ClassVar[bool] = False

    start: int = 1
    calls: list[int] = dataclasses.field(default_factory=list[int], repr=False)
    most: int = 10_000

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"start": self.start}

    def items(self, study: Study) -> Sequence[Unit]:
        return [(picture,) for picture in range(len(study))]

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        if len(self.calls) >= self.most:
            raise KeyboardInterrupt
        self.calls.append(int(item[0]))
        return [{"picture": item[0], "value": float(self.start + int(item[0]))}]

    def of_model(self, part: Table) -> Found:
        found = estimate(part["value"].tolist(), [(one,) for one in part["picture"]])
        summary = part.assign(level=0.5, mean=part["value"])
        return [("pictures can be counted", "count", found)], [summary]

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        axes[0].plot(part["value"])

"""An experiment that counts, for the tests of what runs, stores and shows experiments."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from latentedit.core.errors import ConfigError
from latentedit.core.files.writing import make_folder
from latentedit_bench.analysis.base import Claim
from latentedit_bench.analysis.journal import Journal
from latentedit_bench.analysis.plotting import panels
from latentedit_bench.claims.base import Experiment, Outcome, Place
from latentedit_bench.metrics.statistics import Table, estimate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Experiment):
    """One unit an item, with its index plus ``start``; ``calls`` counts them over all runs."""

    name: ClassVar[str] = "tally"
    paper: ClassVar[str] = "Counting (arXiv 0000.00001)"
    statement: ClassVar[str] = "items can be counted | one by one"
    statistic: ClassVar[str] = "mean of the items' numbers"

    items: int = 8
    start: float = 1.0
    calls: list[int] = dataclasses.field(default_factory=list[int], repr=False, compare=False)

    @property
    def plan(self) -> Mapping[str, Any]:
        return {"items": self.items, "start": self.start, "how": {"by": ["hand", "eye"], "twice": False}}

    def quick(self) -> "Tally":
        return dataclasses.replace(self, items=6)

    def run(self, at: Place) -> Outcome:
        make_folder(at.folder)
        journal = Journal.open(at.folder / "tally.jsonl")
        for item in range(self.items):
            if (item,) not in journal.known:
                self.calls.append(item)
                journal.add((item,), [{"value": item + self.start}])
            if at.progress is not None:
                at.progress(self.name, item + 1, self.items)
        table = pd.DataFrame([row for item in range(self.items) for row in journal.known[(item,)]])
        found = estimate(table["value"].tolist(), [(item,) for item in range(self.items)])
        claims = (Claim.of(self.statement, "fingers", "size of |n|, in <items>", found),)
        return Outcome(claims=claims, table=table, notes=("counted *twice*",))

    def draw(self, table: Table, figure: Figure) -> None:
        panels(figure, ["items"])[0][0].plot(table["value"])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Tally):
    """Has nothing to count."""

    name: ClassVar[str] = "broken"
    paper: ClassVar[str] = "Another (arXiv 0000.00002)"

    def run(self, at: Place) -> Outcome:
        raise ConfigError("expected items; got none. Bring some")

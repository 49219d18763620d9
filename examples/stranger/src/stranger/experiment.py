"""An experiment: a question, its plan, its units of work, and what their rows say."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from latentedit_bench.domains.base import domain
from latentedit_bench.experiments.base import Context, Experiment, Outcome, Row, Unit
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.metrics.statistics import Table, estimate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Brightness(Experiment):
    """Whether a picture gets darker where its wall turns black."""

    name: ClassVar[str] = "stranger-question"
    paper: ClassVar[str] = "Walls (arXiv 0000.00000)"
    statement: ClassVar[str] = "a black wall makes a picture darker"
    statistic: ClassVar[str] = "mean level before less after, of 255"

    pictures: int = 40
    seed: int = 0

    def units(self, at: Context) -> Sequence[Unit]:
        """One a scene whose wall can turn black."""
        scenes = domain("stranger-world").draw("test", self.pictures, self.seed)
        return [scene for scene in scenes if "black" not in scene[1:]]

    def measure(self, unit: Unit, at: Context) -> Sequence[Row]:
        """The mean level before and after."""
        world = domain("stranger-world")
        before, after = world.render(unit), world.render(world.change(unit, {"wall": "black"}))
        return [{"before": float(before.mean()), "after": float(after.mean())}]

    def conclude(self, rows: Table) -> Outcome:
        """The mean difference, with its interval over scenes."""
        drops = (rows["before"] - rows["after"]).tolist()
        found = estimate(drops, [(index,) for index in range(len(drops))])
        return Outcome(claims=(Claim.of(self.statement, "the stranger's world", self.statistic, found),))

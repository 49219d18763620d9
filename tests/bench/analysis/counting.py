"""An analysis that needs no network, and a study of little, for the tests of what runs and stores analyses."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure

from latentedit_bench.analysis.base import Analysis, Claim, Conclusion, Item, Row
from latentedit_bench.analysis.plotting import panels
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import estimate
from tests.bench.analysis.gaussians import gaussian, study_of


@dataclasses.dataclass(slots=True)
class Counting(Analysis):
    """One row a picture: its index plus ``start``; ``calls`` counts, and the call after ``most`` is interrupted."""

    name: ClassVar[str] = "counting"
    title: ClassVar[str] = "Pictures, counted"

    start: int = 1
    calls: list[Item] = dataclasses.field(default_factory=list[Item], repr=False)
    most: int = 10_000

    @property
    def settings(self) -> dict[str, Any]:
        return {"start": self.start}

    def items(self, study: Study) -> Sequence[Item]:
        return [(picture, 0.5) for picture in range(len(study))]

    def measure(self, study: Study, item: Item) -> list[Row]:
        if len(self.calls) >= self.most:
            raise KeyboardInterrupt
        self.calls.append(item)
        return [{"picture": item[0], "value": float(self.start + int(item[0]))}]

    def conclude(self, table: pd.DataFrame) -> Conclusion:
        claims: list[Claim] = []
        for model, part in table.groupby("model"):
            found = estimate(part["value"].tolist(), [(one,) for one in part["picture"]])
            claims.append(Claim.of("pictures can be counted", str(model), "count", found))
        return Conclusion(line="counted", claims=tuple(claims), summary=table)

    def draw(self, table: pd.DataFrame, figure: Figure) -> None:
        axis = panels(figure, ["all"])[0][0]
        axis.plot(table["value"])


def small_study(count: int, *, rank: int = 2) -> Study:
    """Latents of one Gaussian at two levels."""
    variances = torch.tensor([4.0, 1.0, 0.3])
    return study_of(gaussian(variances, torch.eye(6)[:3], (6,)), count, levels=(0.9, 0.6), rank=rank)

"""What the rows of all cases say: every bar with the value that was measured, whether it holds or not."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentedit_bench.known_pairs.baselines import THRESHOLDS
from latentedit_bench.known_pairs.cases import DRAWN
from latentedit_bench.known_pairs.measured import Row
from latentedit_bench.metrics.statistics import Table

_DRAWS = 2000
BEST_THRESHOLDS = {"threshold": 50, "sift": 25}
"""Of each baseline the threshold with the best median mask on the calibration half; see `best_thresholds`."""

Values = NDArray[np.floating[Any]]
Statistic = Callable[[Values], Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One sentence of what should hold.

    Args:
        statement: with its number.
        value: that was measured.
        low: end of its 95 % interval (bootstrap over photographs, most of which are in many cases).
        high: the other end.
        bar: that it should reach.
        at_least: or at most, where this is false.
        cases: behind it.
    """

    statement: str
    value: float
    low: float
    high: float
    bar: float
    at_least: bool
    cases: int

    @property
    def holds(self) -> bool:
        """The value reaches the bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def bars(rows: Sequence[Row]) -> list[Bar]:
    """Every bar."""
    every = _table(rows)
    local, different = every[every["kind"] == "local"], every[every["kind"] == "different"]
    gain = (local["keep_outside_db"] - local["editor_outside_db"]).dropna()
    below = local["bound_inside_db"] - local["keep_inside_db"]
    aligned = (local["keep_inside_db"] - local["aligned_inside_db"]).dropna()
    shift, iou, far = every["shift_error_px"], local["keep_iou"], every["keep_far_touched"].dropna()
    strangers = different["verdict"] == "kept"

    def bar(statement: str, values: Table, wanted: float, statistic: Statistic = np.mean, *, least: bool = True) -> Bar:
        known = values.dropna().astype(float)
        low, high = _interval(known, every["photograph"], statistic)
        value, cases = float(statistic(known.to_numpy())) if len(known) else math.nan, len(known)
        return Bar(statement=statement, value=value, low=low, high=high, bar=wanted, at_least=least, cases=cases)

    found = [
        bar("outside at least 20 dB better than the editor's picture: share of cases", gain >= 20, 0.95),
        bar("nothing touched farther than 12 px from the change: share of cases", far == 0, 0.99),
        bar("inside below the bound (true mask, true frame): median, dB", below, 1.0, np.median, least=False),
        bar("inside no worse than the aligned picture: share of cases", aligned >= 0, 0.90),
        bar("error of the frame: median, px", shift, 0.03, np.median, least=False),
        bar("error of the frame: 95 % of cases, px", shift, 0.2, _upper, least=False),
        bar("soft IoU of the mask: median", iou, 0.95, np.median),
        bar("soft IoU of the mask at least .85: share of cases", iou.dropna() >= 0.85, 0.90),
        bar("verdict right: share of cases", every["right"], 0.95),
        bar("different pictures called kept: cases", strangers, 0.0, np.sum, least=False),
    ]
    return [one for one in found if one.cases]


def against(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ours, the bound and each baseline at its best threshold, in medians, and how much better ours is in each case."""
    every = _table(rows)
    local = every[every["kind"] == "local"]
    names = ["keep", "editor", "poisson", *(f"{name}{level}" for name, level in BEST_THRESHOLDS.items())]
    told: list[dict[str, Any]] = []
    for name in names:
        line: dict[str, Any] = {"method": name}
        for measure in ("iou", "inside_db", "outside_db"):
            key = f"{name}_{measure}"
            if key not in local:
                continue
            line[measure] = float(local[key].median())
            if name != "keep":
                better = (local[f"keep_{measure}"] - local[key]).dropna()
                line[f"keep_better_{measure}"] = [
                    float(better.median()),
                    *_interval(better, every["photograph"], np.median),
                ]
        told.append(line)
    told.append({"method": "bound", "inside_db": float(local["bound_inside_db"].median())})
    return told


def best_thresholds(rows: Sequence[Row]) -> dict[str, int]:
    """Of each baseline the threshold with the best median mask."""
    every = _table(rows)
    medians = every[every["kind"] == "local"].median(numeric_only=True)
    return {name: max(THRESHOLDS, key=lambda level: float(medians[f"{name}{level}_iou"])) for name in BEST_THRESHOLDS}


def parts(rows: Sequence[Row], by: str) -> list[dict[str, Any]]:
    """Medians of the local cases by a column, such as "what" or "codec"."""
    every = _table(rows)
    local = every[every["kind"] == "local"]
    return [
        {
            by: value,
            "cases": len(some),
            "iou": float(some["keep_iou"].median()),
            "iou_at_least_85": float((some["keep_iou"].dropna() >= 0.85).mean()),
            "inside_below_bound_db": float((some["bound_inside_db"] - some["keep_inside_db"]).median()),
            "shift_error_px": float(some["shift_error_px"].median()),
        }
        for value, some in local.groupby(local[by].astype(str))
    ]


def _table(rows: Sequence[Row]) -> Table:
    """A row a case; "photograph" is of which it is one, drawn portraits each of their own."""
    table = pd.DataFrame(rows)
    return table.assign(photograph=table["picture"].where(table["picture"] != DRAWN, table["case"].astype(str)))


def _upper(values: Values) -> Any:
    return np.quantile(values, 0.95)


def _interval(values: Table, photograph: Table, statistic: Statistic) -> tuple[float, float]:
    """Ends of the 95 % interval of a statistic, by bootstrap over photographs, each with all its cases; nan of none."""
    if not len(values):
        return math.nan, math.nan
    known = [part.to_numpy() for _, part in values.groupby(photograph[values.index])]
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(known), size=(_DRAWS, len(known)))
    found = [float(statistic(np.concatenate([known[index] for index in row]))) for row in drawn]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)

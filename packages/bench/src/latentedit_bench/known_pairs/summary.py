"""What the rows of all cases say: every bar with the value that was measured, whether it holds or not."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_bench.known_pairs.baselines import THRESHOLDS
from latentedit_bench.known_pairs.measured import Row

_DRAWS = 2000
BEST_THRESHOLDS = {"threshold": 50, "orb": 25}
"""Of each baseline the threshold with the best median mask on the calibration half; see `best_thresholds`."""

Values = NDArray[np.floating[Any]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One sentence of what should hold.

    Args:
        statement: with its number.
        value: that was measured.
        low: end of its 95 % interval (bootstrap over cases).
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
    local = [row for row in rows if row["kind"] == "local"]
    quiet = [row for row in rows if row.get("keep_far_touched") is not None]
    shift, iou = _column(rows, "shift_error_px"), _column(local, "keep_iou")
    gain = _column(local, "keep_outside_db") - _column(local, "editor_outside_db")
    inside, bound = _column(local, "keep_inside_db"), _column(local, "bound_inside_db")
    aligned = _column(local, "aligned_inside_db")
    right = _column(rows, "right")
    strangers = np.array([row["verdict"] == "kept" for row in rows if row["kind"] == "different"], dtype=float)
    far = _column(quiet, "keep_far_touched") == 0
    return [
        _bar("outside at least 20 dB better than the editor's picture: share of cases", gain >= 20, 0.95),
        _bar("nothing touched farther than 12 px from the change: share of cases", far, 0.99),
        _bar("inside below the bound (true mask, true frame): median, dB", bound - inside, 1.0, np.median, False),
        _bar("inside no worse than the aligned picture: share of cases", inside >= aligned, 0.90),
        _bar("error of the frame: median, px", shift, 0.03, np.median, False),
        _bar("error of the frame: 95 % of cases, px", shift, 0.2, _upper, False),
        _bar("soft IoU of the mask: median", iou, 0.95, np.median),
        _bar("soft IoU of the mask at least .85: share of cases", iou >= 0.85, 0.90),
        _bar("verdict right: share of cases", right, 0.95),
        _bar("different pictures called kept: cases", strangers, 0.0, np.sum, False),
    ]


def against(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Ours, the bound and each baseline at its best threshold, in medians, and how much better ours is in each case."""
    local = [row for row in rows if row["kind"] == "local"]
    names = ["keep", "editor", "poisson", *(f"{name}{level}" for name, level in BEST_THRESHOLDS.items())]
    told: list[dict[str, Any]] = []
    for name in names:
        line: dict[str, Any] = {"method": name}
        for measure in ("iou", "inside_db", "outside_db"):
            key = f"{name}_{measure}"
            if key not in local[0]:
                continue
            line[measure] = float(np.median(_column(local, key)))
            if name != "keep":
                better = _column(local, f"keep_{measure}") - _column(local, key)
                line[f"keep_better_{measure}"] = [float(np.median(better)), *_interval(better, np.median)]
        told.append(line)
    told.append({"method": "bound", "inside_db": float(np.median(_column(local, "bound_inside_db")))})
    return told


def best_thresholds(rows: Sequence[Row]) -> dict[str, int]:
    """Of each baseline the threshold with the best median mask."""
    local = [row for row in rows if row["kind"] == "local"]

    def median(name: str, level: int) -> float:
        return float(np.median(_column(local, f"{name}{level}_iou")))

    return {name: max(THRESHOLDS, key=lambda level: median(name, level)) for name in BEST_THRESHOLDS}


def parts(rows: Sequence[Row], by: str) -> list[dict[str, Any]]:
    """Medians of the local cases by a column, such as "what" or "codec"."""
    local = [row for row in rows if row["kind"] == "local"]
    told: list[dict[str, Any]] = []
    for value in sorted({str(row[by]) for row in local}):
        some = [row for row in local if str(row[by]) == value]
        iou, shift = _column(some, "keep_iou"), _column(some, "shift_error_px")
        told.append(
            {
                by: value,
                "cases": len(some),
                "iou": float(np.median(iou)),
                "iou_at_least_85": float((iou >= 0.85).mean()),
                "inside_below_bound_db": float(
                    np.median(_column(some, "bound_inside_db") - _column(some, "keep_inside_db"))
                ),
                "shift_error_px": float(np.median(shift)),
            }
        )
    return told


def _column(rows: Sequence[Row], name: str) -> Values:
    return np.array([float(row[name]) for row in rows if row.get(name) is not None])  # pyright: ignore[reportArgumentType]


def _upper(values: Values, axis: int | None = None) -> Any:
    return np.quantile(values, 0.95, axis=axis)


def _bar(
    statement: str,
    values: NDArray[Any],
    bar: float,
    statistic: Callable[..., Any] = np.mean,
    at_least: bool = True,
) -> Bar:
    values = values.astype(float)
    low, high = _interval(values, statistic)
    return Bar(
        statement=statement,
        value=float(statistic(values)),
        low=low,
        high=high,
        bar=bar,
        at_least=at_least,
        cases=len(values),
    )


def _interval(values: Values, statistic: Callable[..., Any]) -> tuple[float, float]:
    """Ends of the 95 % interval of a statistic, by bootstrap over cases."""
    generator = np.random.default_rng(0)
    drawn = values[generator.integers(len(values), size=(_DRAWS, len(values)))]
    low, high = np.quantile(statistic(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)

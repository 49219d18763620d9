"""Measures that decide a claim, with thresholds and 95 % intervals over images and seeds."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import (
    Estimate,
    Table,
    Verdict,
    apart,
    decide,
    estimate,
    rank_correlated,
    rank_correlated_means,
)

UNDECIDED: Verdict = "undecided at this size"
FALL = 0.005  # largest fall of an effect between strengths that still counts as rising: rounding of images
JUMP = 0.4  # share of the whole effect that one step of the strength may make at most, to be gradual
Each = Callable[[Table], float]  # from all rows of one image to a number, such as a slope over its levels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A measure's estimate for one model, and what it means for the claim."""

    model: str
    measure: str  # its name
    estimate: float
    low: float  # 95 % interval; nan if there are too few images
    high: float
    images: int  # number of images
    verdict: Verdict  # verdict from the interval
    threshold: float = 0.0  # the claim holds if the interval lies above it
    unit: str = ""  # such as "rad"; values whose unit begins with "%" are shares, shown in percent

    @property
    def scale(self) -> int:
        """Factor from the value to its unit."""
        return 100 if self.unit.startswith("%") else 1

    @property
    def text(self) -> str:
        """Such as "0.42 rad [0.31, 0.55]" or "39 % of edits [27, 50], 90 % required"."""
        if math.isnan(self.estimate):
            return "not measured"
        values = (self.estimate, self.low, self.high, self.threshold)
        number, low, high, threshold = (self.scale * value for value in values)
        ends = "" if math.isnan(low + high) else f" [{low:.3g}, {high:.3g}]"
        required = f", {threshold:g} {self.unit.split(' ')[0]}".rstrip() + " required" if threshold else ""
        return f"{number:.3g} {self.unit}".rstrip() + ends + required

    @staticmethod
    def of(model: str, measure: str, found: Estimate, *, threshold: float = 0.0, unit: str = "") -> "Outcome":
        """The verdict: "holds" if the interval of the estimate lies above the threshold."""
        return Outcome(
            model=model,
            measure=measure,
            estimate=found.mean,
            low=found.low,
            high=found.high,
            images=found.images,
            verdict=decide(found, threshold),
            threshold=threshold,
            unit=unit,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """Value minus baseline within a column: ``Difference("network", "trained", "untrained")``; positive: more."""

    column: str
    value: Any
    baseline: Any  # the largest of several for each image, so that the difference is a gain over the best

    @property
    def baselines(self) -> tuple[Any, ...]:
        """The baselines, also if there is one."""
        return self.baseline if isinstance(self.baseline, tuple) else (self.baseline,)

    def __str__(self) -> str:
        better = "the better of " if isinstance(self.baseline, tuple) else ""
        return f"{self.value} minus {better}{' and '.join(map(str, self.baselines))}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The mean of a column over images, or of differences of it; the claim holds where it exceeds the threshold.

    Args:
        name: as it is reported; names of differences are appended.
        column: averaged over the rows that share their keys; or a function from these rows to a number.
        where: column to the value that rows must have, or a tuple of values; a level may be "highest" or "lowest".
        differences: the first one is taken last.
        trend: "rise" is the value at the lowest level minus that at the highest, "fall" its negative.
        unit: see `Outcome`.
        threshold: see `Outcome`.
        per: one outcome for each value of this column; empty for one of all rows.
        undecided: why an interval over images cannot decide the claim; empty if it can.
    """

    name: str
    column: str | Each
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    differences: tuple[Difference, ...] = ()
    trend: Literal["mean", "rise", "fall"] = "mean"
    unit: str = ""
    threshold: float = 0.0
    per: str = "model"
    undecided: str = ""

    @property
    def full_name(self) -> str:
        """Such as "the distance, trained minus untrained"."""
        return ", ".join([self.name, *map(str, reversed(self.differences))])

    def variant(self, name: str = "", **where: Any) -> "Measure":
        """The same measure of other rows, or with other fields."""
        fields = ("column", "differences", "trend", "threshold", "unit")
        given = {field: where.pop(field) for field in fields if field in where}
        return dataclasses.replace(self, name=name or self.name, where={**self.where, **where}, **given)

    def each(self, column: str, *values: Any, differences: Sequence[Difference] = ()) -> "tuple[Measure, ...]":
        """The measure of the rows with each of some values by itself."""
        about: dict[str, Any] = {"differences": tuple(differences)}
        return tuple(self.variant(f"{self.name}, {one}", **about, **{column: one}) for one in values)

    def outcomes(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Outcome]:
        """One outcome per model; the bootstrap draws images."""
        parts = rows.groupby(self.per, sort=False) if self.per else [(" and ".join(rows["model"].unique()), rows)]
        estimates = {str(model): self.estimate(part, keys, images) for model, part in parts}
        outcome = functools.partial(Outcome.of, measure=self.full_name, threshold=self.threshold, unit=self.unit)
        found = [outcome(model, found=one) for model, one in estimates.items()]
        return [dataclasses.replace(one, verdict=UNDECIDED) for one in found] if self.undecided else found

    def estimate(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> Estimate:
        """The estimate from the rows of one model."""
        values = self.values(rows, keys)
        if self.trend != "mean":
            wide = values.unstack("level").sort_index(axis=1).dropna(axis=1, how="all")
            ends = wide.iloc[:, 0] - wide.iloc[:, -1] if wide.shape[1] > 1 else pd.Series(math.nan, wide.index)
            values = ends if self.trend == "rise" else -ends
        known = values.dropna().astype(float)
        return estimate(known.tolist(), _members(known, images))

    def sides(self) -> "list[Measure]":
        """The measure of each side of the last difference."""
        if not self.differences:
            return []
        last, rest = self.differences[0], self.differences[1:]
        return list(self.each(last.column, last.value, *last.baselines, differences=rest))

    def values(self, rows: Table, keys: Sequence[str]) -> Table:
        """One value for each of the keys."""
        for column, value in self.where.items():
            ends = {"highest": rows[column].max(), "lowest": rows[column].min()} if column == "level" else {}
            wanted = value if isinstance(value, tuple) else (ends.get(value, value),)
            rows = rows[rows[column].isin(wanted)]
        return self._differences(rows, list(keys), self.differences)

    def _differences(self, rows: Table, keys: list[str], differences: tuple[Difference, ...]) -> Table:
        if differences:
            last, rest = differences[0], differences[1:]
            sides = (last.value, *last.baselines)
            value, *baselines = (self._differences(rows[rows[last.column] == one], keys, rest) for one in sides)
            return value - pd.concat(baselines, axis=1).max(axis=1, skipna=False)
        if isinstance(self.column, str):
            return rows.groupby(keys)[self.column].mean().astype(float)
        return rows.groupby(keys).apply(self.column, include_groups=False).astype(float)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelDifference:
    """A measure of one model minus that of a baseline; their images are drawn independently."""

    measure: Measure
    model: str
    baseline: str

    def outcomes(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Outcome]:
        """One outcome for both models; see `Measure.outcomes`."""
        models = (self.model, self.baseline)
        sets = [self.measure.values(rows[rows["model"] == one], keys).dropna() for one in models]
        first, second = ((values.tolist(), _members(values, images)) for values in sets)
        name = f"{self.measure.full_name}, {self.model} minus {self.baseline}"
        found = apart(first, second)
        return [Outcome.of(f"{self.baseline} vs {self.model}", name, found, unit=self.measure.unit)]

    def sides(self) -> list[Measure]:
        """None: one model alone does not show the difference."""
        return []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """Spearman's correlation of two measures over all rows of a model, times a sign; holds if it is above 0."""

    name: str  # name in the report; names of y's differences are appended
    y: Measure
    x: Measure
    given: Measure | None = None  # the correlation is partial: of what the ranks of this one do not explain
    sign: int = 1

    def variant(self, name: str, **changes: Any) -> "RankCorrelation":
        """The same correlation with other fields."""
        return dataclasses.replace(self, name=name, **changes)

    def outcomes(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Outcome]:
        """One outcome per model; the bootstrap draws images."""
        name = dataclasses.replace(self.y, name=self.name).full_name
        columns = [self.y, self.x, *([] if self.given is None else [self.given])]
        found: list[Outcome] = []
        for model, part in rows.groupby("model", sort=False):
            values = pd.concat([one.values(part, keys) for one in columns], axis=1, join="inner").dropna().astype(float)
            about = rank_correlated(values.to_numpy().T, _members(values, images), sign=self.sign)
            found.append(Outcome.of(str(model), name, about))
        return found

    def sides(self) -> list["RankCorrelation"]:
        """The correlation of each side of the last difference of y."""
        return [
            dataclasses.replace(self, name=f"{self.name}, {how.name.removeprefix(f'{self.y.name}, ')}", y=how)
            for how in self.y.sides()
        ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeansCorrelation:
    """Spearman's correlation of two columns' means over images, across settings; holds if it is above the threshold.

    Args:
        name: as it is reported.
        x: a column.
        y: a column; rows in which either is missing are left out.
        across: columns whose combinations are the settings.
        per: one outcome for each value of this column.
        threshold: see `Outcome`.
    """

    name: str
    x: str
    y: str
    across: tuple[str, ...]
    per: str = "model"
    threshold: float = 0.0

    def variant(self, name: str, **changes: Any) -> "MeansCorrelation":
        """The same correlation with other fields."""
        return dataclasses.replace(self, name=name, **changes)

    def outcomes(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Outcome]:
        """One outcome for each value of ``per``; the bootstrap draws images."""
        del keys
        found: list[Outcome] = []
        for name, part in rows.dropna(subset=[self.x, self.y]).groupby(self.per, sort=False):
            settings = list(part[list(self.across)].itertuples(index=False, name=None))
            members = [tuple(row) for row in part[list(images)].to_numpy().tolist()]
            about = rank_correlated_means(part[[self.x, self.y]].to_numpy(float).T, settings, members)
            found.append(Outcome.of(str(name), self.name, about, threshold=self.threshold))
        return found

    def sides(self) -> list[Measure]:
        """None: there is one correlation."""
        return []


Statistic = Measure | ModelDifference | RankCorrelation | MeansCorrelation


def _members(values: Table, images: Sequence[str]) -> list[tuple[Any, ...]]:
    """The images to which each value belongs."""
    return [tuple(row) for row in values.reset_index()[list(images)].to_numpy().tolist()]


def slope(y: str, x: str) -> Each:
    """The least-squares slope of a column over another."""
    return lambda rows: float(np.polyfit(rows[x], rows[y], 1)[0])


def rank_correlation(y: str, x: str, *, sign: int = 1) -> Each:
    """Spearman's, nan where a column does not vary."""

    def found(rows: Table) -> float:
        varies = rows[x].nunique() > 1 and rows[y].nunique() > 1
        return sign * float(rows[x].corr(rows[y], method="spearman")) if varies else math.nan

    return found


def gradual(rows: Table) -> float:
    """1 where no step from 0 up falls by more than `FALL` or rises by more than `JUMP` of the last effect, else 0.

    Of the rows of one item, with "strength" in equal steps; nan where the last effect is `LEAST_EFFECT` or less.
    """
    effects = rows.sort_values("strength")["effect"].to_numpy(float)
    steps = np.diff(effects, prepend=0.0)
    smooth = (steps >= -FALL).all() and steps.max() <= JUMP * effects[-1]
    return float(smooth) if effects[-1] > LEAST_EFFECT else math.nan


def straight(rows: Table) -> float:
    """``1 - max_s |e(s) - s e(1)| / |e(1)|``: 1 on the line through 0 and the end, 0 for a jump at either end."""
    ordered = rows.sort_values("strength")
    effects, strengths = ordered["effect"].to_numpy(float), ordered["strength"].to_numpy(float)
    away, end = float(np.abs(effects - strengths * effects[-1]).max()), abs(float(effects[-1]))
    return 1 - away / end if end > LEAST_EFFECT else math.nan

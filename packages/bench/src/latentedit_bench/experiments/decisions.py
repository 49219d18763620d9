"""What decides a claim: one number, what is required of it, and its 95 % interval over images and seeds."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from latentedit_bench.metrics.matched import LEAST_EFFECT
from latentedit_bench.metrics.statistics import Estimate, Table, Verdict, apart, decide, estimate

UNDECIDED: Verdict = "undecided at this size"
FALL = 0.005  # what an effect may fall from one strength to the next and still count as rising: rounding of images
JUMP = 0.4  # share of the whole effect that one step of the strength may make at most, to be gradual
Each = Callable[[Table], float]  # a number from all rows of one image, such as a slope over its levels


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A number that was found, and what it says."""

    model: str  # where it was measured
    measure: str  # what the number is
    estimate: float  # of that number
    low: float  # its 95 % interval; nan where there are too few images
    high: float
    images: int  # behind it
    verdict: Verdict  # by the interval
    bar: float = 0.0  # required: the claim holds where the number is above it
    unit: str = ""  # such as "rad"; shares whose unit begins with "%" are shown in percent

    @property
    def scale(self) -> int:
        """From the number to its unit."""
        return 100 if self.unit.startswith("%") else 1

    @property
    def text(self) -> str:
        """Such as "0.42 rad [0.31, 0.55]" or "39 % of edits [27, 50], 90 % required"."""
        if math.isnan(self.estimate):
            return "not measured"
        number, low, high, bar = (self.scale * one for one in (self.estimate, self.low, self.high, self.bar))
        ends = "" if math.isnan(low + high) else f" [{low:.3g}, {high:.3g}]"
        required = f", {bar:g} {self.unit.split(' ')[0]}".rstrip() + " required" if bar else ""
        return f"{number:.3g} {self.unit}".rstrip() + ends + required

    @staticmethod
    def of(model: str, measure: str, found: Estimate, *, bar: float = 0.0, unit: str = "") -> "Claim":
        """Judged by an estimate that is above the bar where the claim is true."""
        return Claim(
            model=model,
            measure=measure,
            estimate=found.mean,
            low=found.low,
            high=found.high,
            images=found.images,
            verdict=decide(found, bar),
            bar=bar,
            unit=unit,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Less:
    """One value of a column less another: ``Less("network", "trained", "untrained")``."""

    by: str  # the column
    of: Any  # its value
    than: Any  # the other one; of several the largest, taken image by image, so that it is a gain over the best

    @property
    def others(self) -> tuple[Any, ...]:
        """The other values."""
        return self.than if isinstance(self.than, tuple) else (self.than,)

    def __str__(self) -> str:
        than = f"the better of {' and '.join(self.than)}" if isinstance(self.than, tuple) else self.than
        return f"{self.of} minus {than}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A mean over images of what a column says of each."""

    says: str  # what the number is; its differences are named by themselves
    of: str | Each  # the column, averaged over the rows that share their keys, or what makes a number of these
    # column to the value that rows must have, or several; a level may be the "highest" or the "lowest"
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    less: tuple[Less, ...] = ()  # differences, the first one taken last
    over: Literal["mean", "rise", "fall"] = "mean"  # over levels; from the highest to the lowest
    unit: str = ""  # see `Claim`
    bar: float = 0.0  # likewise
    within: str = "model"  # the column whose values are looked at one by one; empty for all rows together
    undecided: str = ""  # why no interval over images can decide; empty where it can

    @property
    def measure(self) -> str:
        """Such as "the distance, trained minus untrained"."""
        return ", ".join([self.says, *map(str, reversed(self.less))])

    def at(self, says: str = "", **where: Any) -> "Number":
        """The same of other rows, or by another measure."""
        given = {name: where.pop(name) for name in ("of", "less", "over", "bar", "unit") if name in where}
        return dataclasses.replace(self, says=says or self.says, where={**self.where, **where}, **given)

    def claims(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Claim]:
        """What the rows say, one a model; the bootstrap draws images."""
        parts = rows.groupby(self.within, sort=False) if self.within else [(" and ".join(rows["model"].unique()), rows)]
        estimates = {str(model): self.estimate(part, keys, images) for model, part in parts}
        about = functools.partial(Claim.of, measure=self.measure, bar=self.bar, unit=self.unit)
        found = [about(model, found=one) for model, one in estimates.items()]
        return [dataclasses.replace(one, verdict=UNDECIDED) for one in found] if self.undecided else found

    def estimate(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> Estimate:
        """Of the rows of one model."""
        values = self.values(rows, keys)
        if self.over != "mean":
            wide = values.unstack("level").sort_index(axis=1).dropna(axis=1, how="all")
            ends = wide.iloc[:, 0] - wide.iloc[:, -1] if wide.shape[1] > 1 else pd.Series(math.nan, wide.index)
            values = ends if self.over == "rise" else -ends
        known = values.dropna().astype(float)
        return estimate(known.tolist(), _members(known, images))

    def sides(self) -> "list[Number]":
        """Each side of the last difference, by itself."""
        if not self.less:
            return []
        last, rest = self.less[0], self.less[1:]
        return [
            dataclasses.replace(self, says=f"{self.says}, {value}", where={**self.where, last.by: value}, less=rest)
            for value in (last.of, *last.others)
        ]

    def values(self, rows: Table, keys: Sequence[str]) -> Table:
        """One value for each of the keys."""
        for column, value in self.where.items():
            ends = {"highest": rows[column].max(), "lowest": rows[column].min()} if column == "level" else {}
            wanted = value if isinstance(value, tuple) else (ends.get(value, value),)
            rows = rows[rows[column].isin(wanted)]
        return self._differences(rows, list(keys), self.less)

    def _differences(self, rows: Table, keys: list[str], less: tuple[Less, ...]) -> Table:
        if less:
            last, rest = less[0], less[1:]
            sides = (self._differences(rows[rows[last.by] == one], keys, rest) for one in (last.of, *last.others))
            of, *others = sides
            return of - pd.concat(others, axis=1).max(axis=1, skipna=False)
        if isinstance(self.of, str):
            return rows.groupby(keys)[self.of].mean().astype(float)
        return rows.groupby(keys).apply(self.of, include_groups=False).astype(float)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A number in one model less the same in another; their images are drawn independently."""

    number: Number  # of each model
    more: str
    less: str

    def claims(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Claim]:
        """One for both models; see `Number.claims`."""
        sets = [self.number.values(rows[rows["model"] == one], keys).dropna() for one in (self.more, self.less)]
        more, less = ((values.tolist(), _members(values, images)) for values in sets)
        measure = f"{self.number.measure}, {self.more} minus {self.less}"
        return [Claim.of(f"{self.less} vs {self.more}", measure, apart(more, less), unit=self.number.unit)]

    def sides(self) -> list[Number]:
        """None: a model alone says nothing."""
        return []


Statistic = Number | Between


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

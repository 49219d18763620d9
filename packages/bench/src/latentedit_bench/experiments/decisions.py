"""What decides a claim: one number above 0, and whether its 95 % interval over images and seeds agrees."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from latentedit_bench.metrics.statistics import Estimate, Table, Verdict, decide, estimate

Each = Callable[[Table], float]
"""A number from all rows of one image, such as a slope over its levels."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A number that was found, and what it says.

    Args:
        model: where it was measured.
        measure: what the number is, with its unit; the claim holds where it is above 0.
        estimate: of that number.
        low, high: its 95 % interval; nan where there are too few images.
        images: behind it.
        verdict: by the interval.
    """

    model: str
    measure: str
    estimate: float
    low: float
    high: float
    images: int
    verdict: Verdict

    @property
    def text(self) -> str:
        """Such as "0.42 [0.31, 0.55]"."""
        if math.isnan(self.estimate):
            return "not measured"
        ends = "" if math.isnan(self.low + self.high) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.estimate:.3g}{ends}"

    @staticmethod
    def of(model: str, measure: str, found: Estimate) -> "Claim":
        """Judged by an estimate that is above 0 where the claim is true."""
        numbers = {"estimate": found.mean, "low": found.low, "high": found.high, "images": found.pictures}
        return Claim(model=model, measure=measure, **numbers, verdict=decide(found))


class Statistic(Protocol):
    """A number of each model, and the same of each side by itself."""

    def claims(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Claim]:
        """What the rows say.

        Args:
            rows: of all models, with "model".
            keys: columns by which rows are paired.
            images: columns that name the images of a row; the bootstrap draws these.
        """
        ...

    def sides(self) -> "Sequence[Statistic]":
        """What is compared, each by itself."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Less:
    """One value of a column less another: ``Less("network", "trained", "untrained")``.

    Args:
        by: the column.
        of: its value.
        than: the other one; of several the largest, taken image by image, so that it is a gain over the best.
    """

    by: str
    of: Any
    than: Any

    @property
    def others(self) -> tuple[Any, ...]:
        """The other values."""
        return self.than if isinstance(self.than, tuple) else (self.than,)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A mean over images of what a column says of each.

    Args:
        says: what the number is, with its unit.
        of: the column, whose values are averaged over the rows that share their keys, or what makes a number of these.
        where: column to the value that rows must have, or several; a level may be the "highest" or the "lowest".
        less: differences, the first one taken last.
        over: "mean" over levels, or the "rise" from the highest level to the lowest, or the "fall".
        bar: subtracted, for shares and thresholds.
        sign: -1 where less is better.
        within: the column whose values are looked at one by one; empty for all rows together.
    """

    says: str
    of: str | Each
    where: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    less: tuple[Less, ...] = ()
    over: Literal["mean", "rise", "fall"] = "mean"
    bar: float = 0.0
    sign: int = 1
    within: str = "model"

    def at(self, says: str, **where: Any) -> "Number":
        """The same of other rows, or by another measure."""
        given = {name: where.pop(name) for name in ("of", "less", "sign", "over", "bar") if name in where}
        return dataclasses.replace(self, says=says, where={**self.where, **where}, **given)

    def claims(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> list[Claim]:
        """One a model; see `Statistic`."""
        parts = rows.groupby(self.within, sort=False) if self.within else [(" and ".join(rows["model"].unique()), rows)]
        return [Claim.of(str(model), self.says, self.estimate(part, keys, images)) for model, part in parts]

    def estimate(self, rows: Table, keys: Sequence[str], images: Sequence[str]) -> Estimate:
        """Of the rows of one model."""
        for column, value in self.where.items():
            ends = {"highest": rows[column].max(), "lowest": rows[column].min()} if column == "level" else {}
            wanted = value if isinstance(value, tuple) else (ends.get(value, value),)
            rows = rows[rows[column].isin(wanted)]
        values = self._values(rows, list(keys), self.less)
        if self.over != "mean":
            wide = values.unstack("level").sort_index(axis=1)
            ends = wide.iloc[:, 0] - wide.iloc[:, -1] if wide.shape[1] > 1 else pd.Series(dtype=float)
            values = ends if self.over == "rise" else -ends
        known = self.sign * values.dropna().astype(float) - self.bar
        members = [tuple(row) for row in known.reset_index()[list(images)].to_numpy().tolist()]
        return estimate(known.tolist(), members)

    def sides(self) -> "list[Number]":
        """Each side of the last difference, by itself."""
        if not self.less:
            return []
        last, rest = self.less[0], self.less[1:]
        return [
            dataclasses.replace(self, says=f"{self.says}: {value}", where={**self.where, last.by: value}, less=rest)
            for value in (last.of, *last.others)
        ]

    def _values(self, rows: Table, keys: list[str], less: tuple[Less, ...]) -> Table:
        if less:
            last, rest = less[0], less[1:]
            of, *others = (self._values(rows[rows[last.by] == one], keys, rest) for one in (last.of, *last.others))
            return of - pd.concat(others, axis=1).max(axis=1, skipna=False)
        if isinstance(self.of, str):
            return rows.groupby(keys)[self.of].mean().astype(float)
        found = {key: self.of(part) for key, part in rows.groupby(keys)}
        return pd.Series(found, dtype=float, index=pd.MultiIndex.from_tuples(found, names=keys) if found else None)


def slope(y: str, x: str) -> Each:
    """The least-squares slope of a column over another."""
    return lambda rows: float(np.polyfit(rows[x], rows[y], 1)[0])


def rank_correlation(y: str, x: str, *, sign: int = 1) -> Each:
    """Spearman's, nan where a column does not vary."""

    def found(rows: Table) -> float:
        varies = rows[x].nunique() > 1 and rows[y].nunique() > 1
        return sign * float(spearmanr(rows[x], rows[y]).statistic) if varies else math.nan

    return found

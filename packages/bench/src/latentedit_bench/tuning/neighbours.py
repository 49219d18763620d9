"""Where to go on from the best of the settings that were tried: beyond the ends of what was tried, else between."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from latentedit_bench.tuning.search_spaces import ENDS, Settings

_DIGITS = 3
"""Significant ones of settings that are made here."""


def edges(best: Settings, tried: Sequence[Settings]) -> dict[str, float]:
    """Ordered settings whose best value is the least or largest that was tried, and the value to try beyond it.

    One that has its natural end there (`search_spaces.ENDS`) is none, and neither is one of which one value was tried.

    Args:
        best: settings of an editor, whole.
        tried: all that were tried, likewise, the best among them.

    Returns:
        Name to value; "a.b" is b within a. Beyond the last of some numbers lies the next of the geometric series that
        ends with the last two, of the arithmetic one where they are not all above 0.
    """
    found: dict[str, float] = {}
    for name, values in _ranges(best, tried).items():
        own, (low, high) = _at(best, name), ENDS.get(name, ENDS.get(name.rpartition(".")[2], (None, None)))
        for end, last, before in ((high, values[-1], values[-2]), (low, values[0], values[1])):
            if own == last != end:
                beyond = _rounded(_next(before, last, geometric=values[0] > 0), whole=isinstance(own, int))
                passed = end is not None and (beyond > end) == (last > before) and beyond != end
                found[name] = end if passed and end is not None else beyond
    return found


def neighbours(best: Settings, tried: Sequence[Settings]) -> Iterator[dict[str, Any]]:
    """Settings that have not been tried and differ from the best in one number: beyond its edges, then halfway to the
    values on either side of it.

    Args:
        best: settings of an editor, whole.
        tried: all that were tried, likewise, the best among them.
    """
    steps = list(edges(best, tried).items())
    for name, values in _ranges(best, tried).items():
        own = _at(best, name)
        beside = [max((v for v in values if v < own), default=None), min((v for v in values if v > own), default=None)]
        steps += [
            (name, _rounded((own + other) / 2, whole=isinstance(own, int))) for other in beside if other is not None
        ]
    for name, value in steps:
        changed = _changed(best, name, value)
        if changed not in tried:
            yield changed


def _ranges(best: Settings, tried: Sequence[Settings]) -> dict[str, list[float]]:
    """Numbers of which several values were tried, but for the steps, which follow from the budget; values rise."""
    found: dict[str, list[float]] = {}
    for name in _names(best):
        values = {value for one in tried if (value := _at(one, name)) is not None}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and len(values) > 1 and _at(best, name) is not None and name.rpartition(".")[2] != "steps":
            found[name] = sorted(values)
    return found


def _names(settings: Settings, above: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")
        elif not isinstance(value, list | tuple):
            yield above + name


def _at(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = value[part]
    return value


def _changed(settings: Settings, name: str, value: float) -> dict[str, Any]:
    new: dict[str, Any] = copy.deepcopy(dict(settings))
    *above, last = name.split(".")
    at = new
    for part in above:
        at = at[part]
    at[last] = value
    return new


def _next(before: float, last: float, *, geometric: bool) -> float:
    return last * last / before if geometric else 2 * last - before


def _rounded(value: float, *, whole: bool) -> float:
    """Such a whole number, away from 0 where it lies between two; or one of few digits."""
    if whole:
        return math.ceil(value) if value > 0 else math.floor(value)
    return float(f"{value:.{_DIGITS}g}")

"""Strengths as a user gives them: a wrong one is answered with the one that was meant."""

import math
from typing import Any

from latentedit.core.errors import ConfigError

MAX_STRENGTH = 5  # largest absolute strength of an edit; a larger number is usually meant as percent


def read_strength(
    given: object,
    name: str = "`strength`",
    examples: str = "Give 1 for the full change",
    *,
    least: float = -MAX_STRENGTH,
    most: float = MAX_STRENGTH,
) -> float:
    """A strength from ``least`` to ``most``, as a number or as text; a `ConfigError` suggests 0.7 for 70 %."""
    value = math.nan if isinstance(given, bool) else _float(given)
    if least <= value <= most:
        return value + 0.0  # zero has no sign
    text = str(given)
    share = _float(text.rstrip(" %").replace(",", ".")) / (100 if "%" in text or abs(value) >= 10 else 1)
    limits = "" if (least, most) == (0, 1) else f", at most from {least:g} to {most:g}"
    got = f"{limits}; got {given!r} for {name}. {f'Did you mean {share:g}?' if least <= share <= most else examples}"
    raise ConfigError(f"strengths run from 0 (the original) to 1 (the full change){got}")


def _float(given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        return math.nan

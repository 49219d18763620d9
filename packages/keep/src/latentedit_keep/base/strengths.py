"""Strengths as a user types them: a wrong one is answered with the one that was meant."""

import math

from latentedit_keep.base.errors import ConfigError


def parse_strength(text: str, option: str, *, least: float = 0, most: float = 1, hint: str = "Try 0.7") -> float:
    """The number that an option was given, from ``least`` to ``most``; a `ConfigError` suggests 0.7 for 70 %."""
    value = _number(text)
    if least <= value <= most:
        return value
    share = _number(text.rstrip(" %").replace(",", ".")) / (100 if "%" in text or abs(value) >= 10 else 1)
    limits = "" if (least, most) == (0, 1) else f", at most from {least:g} to {most:g}"
    raise ConfigError(
        f"strengths run from 0 (the original) to 1 (the full change){limits}; got {text!r} for {option}. "
        f"{f'Did you mean {share:g}?' if least <= share <= most else hint}"
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

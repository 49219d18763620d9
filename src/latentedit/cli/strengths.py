"""Strengths on the command line: a number for an edit; LOW:HIGH:COUNT or a list for a sweep."""

import math
from collections.abc import Sequence
from fractions import Fraction

from latentedit.core.errors import ConfigError
from latentedit.core.settings import MAX_STRENGTHS

_MOST = 5  # largest absolute strength; a larger number is usually meant as percent
_FORM = "--strengths=LOW:HIGH:COUNT"
_EXAMPLES = "Try --strengths=-1:1:9, or --strengths=0,0.5,1"


def parse_strength(texts: Sequence[str] | None) -> tuple[float, ...]:
    """Read every ``--strength``; the default is 1."""
    return tuple(float(_number(text, "--strength", "Try --strength 0.7")) for text in texts or ("1",))


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read ``LOW:HIGH:COUNT`` (evenly spaced, both ends included; LOW may exceed HIGH) or a list such as ``0,0.5,1``.

    Spacing is computed in exact fractions of the decimals, so that 0, 1 and 0.1 come out as typed.
    """
    if ":" not in text:
        strengths = tuple(float(_number(item)) for item in text.split(","))
        _check_count(len(strengths))
        return strengths
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(f"{_FORM} has three parts; got {text!r}. {_EXAMPLES}")
    low, high = _number(parts[0]), _number(parts[1])
    if low == high:
        raise ConfigError(f"LOW and HIGH of --strengths are the same in {text!r}. {_EXAMPLES}")
    try:
        count = int(parts[2])
    except ValueError:
        raise ConfigError(f"COUNT in {_FORM} must be a whole number; got {parts[2]!r}. {_EXAMPLES}") from None
    _check_count(count)
    return tuple(float(low + (high - low) * Fraction(index, count - 1)) for index in range(count))


def _number(text: str, option: str = "--strengths", examples: str = _EXAMPLES) -> Fraction:
    """The decimal as typed, to the digits of a float."""
    value = _float(text)
    if abs(value) <= _MOST:
        return Fraction(repr(value))
    share = _float(text.rstrip(" %").replace(",", ".")) / (100 if "%" in text or abs(value) >= 10 else 1)
    raise ConfigError(
        f"strengths run from 0 (the original) to 1 (the full change), at most from -{_MOST} to {_MOST}; got {text!r} "
        f"for {option}. {f'Did you mean {share:g}?' if abs(share) <= _MOST else examples}"
    )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _check_count(count: int) -> None:
    if not 2 <= count <= MAX_STRENGTHS:
        raise ConfigError(f"--strengths takes 2 to {MAX_STRENGTHS} strengths; got {count}. {_EXAMPLES}")

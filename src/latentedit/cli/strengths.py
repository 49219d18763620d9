"""Strengths as they are typed: of an edit, a number; of a sweep, LOW:HIGH:COUNT or numbers between commas."""

import math
from collections.abc import Sequence
from fractions import Fraction

from latentedit.core.errors import ConfigError
from latentedit.core.settings import MAX_STRENGTHS

_MOST = 5
"""The largest strength either way, in whole changes: nobody means more, but percent."""

_FORM = "--strengths takes LOW:HIGH:COUNT or a list of numbers"
_EXAMPLES = "Try --strengths=-1:1:9, or --strengths=0,0.5,1"


def parse_strength(texts: Sequence[str] | None) -> tuple[float, ...]:
    """Read ``--strength``, as often as it was given; 1 where it was not.

    Raises:
        ConfigError: no number, or one beyond `_MOST`; with the number that was probably meant.
    """
    return tuple(float(_number(text, "--strength", "Try --strength 0.7")) for text in texts or ("1",))


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read ``LOW:HIGH:COUNT`` (evenly spaced, both ends included) or a list such as ``0,0.5,1``.

    The k-th of n strengths is LOW + (HIGH - LOW) k / (n - 1), rounded once from the decimals as they are written: where
    the spacing hits 0, 1 or 0.1, that is the number that comes.

    Args:
        text: LOW may lie above HIGH, for a sweep downwards; a list keeps its order.

    Returns:
        Two to 64 finite strengths; zero has no sign.

    Raises:
        ConfigError: another form, no number, one beyond `_MOST`, LOW equal to HIGH, or too few or too many strengths.
    """
    if ":" not in text:
        strengths = tuple(float(_number(item)) for item in text.split(","))
        _check_count(len(strengths))
        return strengths
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(f"{_FORM}; got {text!r}. {_EXAMPLES}")
    low, high = _number(parts[0]), _number(parts[1])
    if low == high:
        raise ConfigError(f"LOW and HIGH of --strengths are the same in {text!r}. {_EXAMPLES}")
    count = _count(parts[2])
    return tuple(float(low + (high - low) * Fraction(index, count - 1)) for index in range(count))


def _number(text: str, option: str = "--strengths", examples: str = _EXAMPLES) -> Fraction:
    """The decimal that was written, to the digits that a float keeps."""
    value = _float(text)
    if abs(value) <= _MOST:
        return Fraction(repr(value))
    share = _float(text.rstrip(" %").replace(",", ".")) / (100 if "%" in text or abs(value) >= 10 else 1)
    raise ConfigError(
        f"strengths run from 0 (the picture) to 1 (the whole change), at most from -{_MOST} to {_MOST}; got {text!r} "
        f"for {option}. {f'Did you mean {share:g}?' if abs(share) <= _MOST else examples}"
    )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        raise ConfigError(
            f"COUNT in --strengths=LOW:HIGH:COUNT must be a whole number; got {text!r}. {_EXAMPLES}"
        ) from None
    _check_count(count)
    return count


def _check_count(count: int) -> None:
    if not 2 <= count <= MAX_STRENGTHS:
        raise ConfigError(f"--strengths takes 2 to {MAX_STRENGTHS} strengths; got {count}. {_EXAMPLES}")

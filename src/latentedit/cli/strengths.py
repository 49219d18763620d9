"""The strengths of a sweep, as ``--strengths`` takes them: LOW:HIGH:COUNT, or numbers between commas."""

import math
from fractions import Fraction

from latentedit.core.errors import ConfigError
from latentedit.core.settings import MAX_STRENGTHS

_FORM = "--strengths takes LOW:HIGH:COUNT or a list of numbers"
_EXAMPLES = "Try --strengths=-1:1:9, or --strengths=0,0.5,1"


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read ``LOW:HIGH:COUNT`` (evenly spaced, both ends included) or a list such as ``0,0.5,1``.

    The k-th of n strengths is LOW + (HIGH - LOW) k / (n - 1), rounded once from the decimals as they are written: where
    the spacing hits 0, 1 or 0.1, that is the number that comes.

    Args:
        text: LOW may lie above HIGH, for a sweep downwards; a list keeps its order.

    Returns:
        Two to 64 finite strengths; zero has no sign.

    Raises:
        ConfigError: another form, a number that is not finite, LOW equal to HIGH, or too few or too many strengths.
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


def _number(text: str) -> Fraction:
    """The decimal that was written, to the digits that a float keeps."""
    try:
        value = float(text)
    except ValueError:
        got = f"{text!r}, which is no number" if text.strip() else "an empty place"
        raise ConfigError(f"{_FORM}; got {got}. {_EXAMPLES}") from None
    if not math.isfinite(value):
        raise ConfigError(f"--strengths must be finite; got {text.strip()}. {_EXAMPLES}")
    return Fraction(repr(value))


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

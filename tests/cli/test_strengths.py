"""Strengths come out as they are written: evenly spaced, both ends included, zero and one exact."""

import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.cli.strengths import MAX_STRENGTHS, parse_strengths
from latentedit.core.errors import ConfigError

COUNTS = st.integers(2, MAX_STRENGTHS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TENTHS = st.integers(-1000, 1000).map(lambda tenths: Decimal(tenths).scaleb(-1))


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        ("-1:1:9", (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)),
        ("0:1:11", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("-0.3:0.3:7", (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)),
        ("1:-1:3", (1.0, 0.0, -1.0)),
        ("0:1e-3:2", (0.0, 0.001)),
        (" -1 : 1 : 2 ", (-1.0, 1.0)),
        ("0,0.5,1", (0.0, 0.5, 1.0)),
        ("1, -2,.5", (1.0, -2.0, 0.5)),
    ],
)
def test_what_is_written_comes_out(text: str, strengths: tuple[float, ...]) -> None:
    assert parse_strengths(text) == strengths


@given(low=TENTHS, step=TENTHS.filter(bool), count=COUNTS)
def test_steps_that_are_decimals_are_exact(low: Decimal, step: Decimal, count: int) -> None:
    text = f"{low}:{low + step * (count - 1)}:{count}"
    # Decimal sums of tenths have no rounding, so float() of each is the nearest float to the true value.
    assert parse_strengths(text) == tuple(float(low + step * index) for index in range(count))


@given(low=NUMBERS, high=NUMBERS, count=COUNTS)
def test_a_range_goes_evenly_from_end_to_end(low: float, high: float, count: int) -> None:
    if low == high:
        return
    strengths = parse_strengths(f"{low!r}:{high!r}:{count}")
    assert len(strengths) == count
    assert (strengths[0], strengths[-1]) == (low, high)
    assert list(strengths) == sorted(strengths, reverse=low > high)
    assert all(math.isfinite(strength) for strength in strengths)
    # HIGH - LOW may overflow where both ends do not, so quarters are compared.
    steps = [second / 4 - first / 4 for first, second in itertools.pairwise(strengths)]
    step = (high / 4 - low / 4) / (count - 1)
    # Each strength is rounded once (2^-53 relative), each difference and quotient once more.
    assert max(abs(found - step) for found in steps) <= 4 * 2**-53 * max(abs(low), abs(high)) + 5e-324


@given(half=TENTHS.filter(lambda half: half > 0), count=st.integers(1, 31).map(lambda half: 2 * half + 1))
def test_the_middle_of_a_symmetric_range_is_zero(half: Decimal, count: int) -> None:
    strengths = parse_strengths(f"-{half}:{half}:{count}")
    assert strengths[count // 2] == 0
    assert all(left == -right for left, right in zip(strengths, reversed(strengths), strict=True))


@given(st.lists(NUMBERS, min_size=2, max_size=MAX_STRENGTHS))
def test_a_list_keeps_numbers_and_order(numbers: list[float]) -> None:
    assert parse_strengths(",".join(map(repr, numbers))) == tuple(numbers)


@pytest.mark.parametrize("text", ["-0,1", "-0.0,1", "-1e-400,1", "-0:1:2", "-1:-0:2"])
def test_zero_has_no_sign(text: str) -> None:
    zero = next(strength for strength in parse_strengths(text) if strength == 0)
    assert math.copysign(1, zero) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty place"),
        ("  ", "empty place"),
        (",", "empty place"),
        ("0,,1", "empty place"),
        ("0,1,", "empty place"),
        (":1:9", "empty place"),
        ("zero,1", "'zero', which is no number"),
        ("0;1", "'0;1', which is no number"),
        ("0.5", "2 to 64 strengths; got 1"),
        ("nan,1", "finite"),
        ("0,inf", "finite"),
        ("-inf:1:3", "finite"),
        ("0:nan:3", "finite"),
        ("0:1e999:3", "finite"),
        ("0:1", "LOW:HIGH:COUNT"),
        ("0:1:2:3", "LOW:HIGH:COUNT"),
        ("1:1:3", "are the same"),
        ("-0:0:3", "are the same"),
        ("0:1:", "whole number; got ''"),
        ("0:1:2.5", "whole number; got '2.5'"),
        ("0:1:3,4", "whole number; got '3,4'"),
        ("0:1:1", "2 to 64 strengths; got 1"),
        ("0:1:0", "2 to 64 strengths; got 0"),
        ("0:1:-3", "2 to 64 strengths; got -3"),
        ("0:1:65", "2 to 64 strengths; got 65"),
        (",".join(["1"] * 65), "2 to 64 strengths; got 65"),
        ("1e-999999999:1:99", "got 99"),
    ],
)
def test_everything_else_is_refused_with_an_example(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_strengths(text)
    assert why in str(caught.value)
    assert "Try --strengths=-1:1:9, or --strengths=0,0.5,1" in str(caught.value)


@given(st.text(alphabet="0123456789.,:-+einfa _", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        strengths = parse_strengths(text)
    except ConfigError:
        return
    assert 2 <= len(strengths) <= MAX_STRENGTHS
    assert all(math.isfinite(strength) for strength in strengths)

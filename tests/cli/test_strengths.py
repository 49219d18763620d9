"""Strengths on the command line: evenly spaced, both ends included, zero and one exact."""

import math
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latentedit.cli.options import MAX_STRENGTHS, parse_strength, parse_strengths
from latentedit.core.errors import ConfigError

COUNTS = st.integers(2, MAX_STRENGTHS)
TENTHS = st.integers(-50, 50).map(lambda tenths: Decimal(tenths).scaleb(-1))


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
        ("-0.0,1", (0.0, 1.0)),
        ("-1:-0:2", (-1.0, 0.0)),
    ],
)
def test_strengths_are_parsed(text: str, strengths: tuple[float, ...]) -> None:
    found = parse_strengths(text)
    assert found == strengths
    assert all(math.copysign(1, one) == 1 for one in found if one == 0), "zero has no sign"


def test_a_strength_is_a_number() -> None:
    assert parse_strength(None) == (1.0,)
    assert parse_strength(["-5", "0.7", "5"]) == (-5.0, 0.7, 5.0)
    for text in ("7", "much", "nan", "inf%", "", "5.01"):
        with pytest.raises(ConfigError, match=r"Try --strength 0\.7$"):
            parse_strength([text])


@given(low=TENTHS, step=st.sampled_from(["-0.1", "0.02", "0.1"]).map(Decimal), count=COUNTS)
def test_decimal_steps_are_exact(low: Decimal, step: Decimal, count: int) -> None:
    assume(abs(low + step * (count - 1)) <= 5)
    text = f"{low}:{low + step * (count - 1)}:{count}"
    # Decimal sums of tenths have no rounding, so float() of each is the nearest float to the true value.
    assert parse_strengths(text) == tuple(float(low + step * index) for index in range(count))


@pytest.mark.parametrize(
    "text",
    [
        *("", "0,,1", ":1:9", "zero,1", "0;1", "0.5", "nan,1", "0,inf", "0:1e999:3", "0:1", "0:1:2:3", "1:1:3"),
        *("-0:0:3", "0:1:", "0:1:2.5", "0:1:3,4", "0:1:1", "0:1:65", ",".join(["1"] * 65), "1e-999999999:1:99"),
    ],
)
def test_other_texts_are_rejected_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Try --strengths=-1:1:9"):
        parse_strengths(text)


@pytest.mark.parametrize("text", ["70%", " 70 %", "0,7", "70"])
def test_percent_and_decimal_commas_are_rejected_with_the_intended_number(text: str) -> None:
    for read in (lambda: parse_strength([text]), lambda: parse_strengths(f"0:{text}:3")):
        with pytest.raises(ConfigError, match=r"mean 0\.7\?"):
            read()

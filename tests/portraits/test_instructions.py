"""Instructions against the attributes that they change."""

import random
from collections import Counter

import pytest

from latentedit.encoding.no_change import NO_CHANGE_WORDINGS
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.instructions import NOTHING, draw_instruction

MAN = draw_split("train", 1, 0)[0].replace(
    hair="short", hair_color="brown", accessory="none", facial_hair="none", clothes="t-shirt", clothes_color="blue",
    background="white",
)  # fmt: skip


def instructions(source: Attributes, answer: Attributes, count: int = 200) -> Counter[str]:
    words = random.Random(0)
    return Counter(draw_instruction(source, answer, words) for _ in range(count))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"accessory": "glasses"}, {"add glasses", "give the person square glasses"}),
        ({"hair_color": "ginger"}, {"make the hair red", "change the hair to ginger"}),
        ({"hair": "mohawk"}, {"give the person a mohawk"}),
        ({"facial_hair": "beard", "facial_hair_color": "gray"}, {"add a gray beard", "give the person a gray beard"}),
        ({"background": "pink"}, {"make the background pink"}),
        ({"clothes_color": "red"}, {"make the shirt red"}),
        ({"hair": "bald"}, {"give the person a bald head"}),
    ],
)
def test_instructions_name_what_differs(change: dict[str, str], expected: set[str]) -> None:
    answer = MAN.replace(**change)
    assert expected <= set(instructions(MAN, answer))
    back = instructions(answer, MAN)
    if answer.accessory == "glasses":
        assert {"remove the glasses", "no glasses"} <= set(back)
    if answer.hair == "bald":
        assert all("hair" in text for text in back), "the color is not named separately"


def test_instructions_for_equal_portraits_request_no_change() -> None:
    """They are the wordings of no change, or request what is already there."""
    texts = instructions(MAN, MAN, 600)
    assert set(NOTHING) < set(texts)
    assert set(NO_CHANGE_WORDINGS) <= set(NOTHING)
    idle = {draw_instruction(MAN, MAN, random.Random(seed), idle=1.0) for seed in range(300)}
    assert {"remove the glasses", "give the person short hair", "make the background white"} <= idle

"""What is wrong with entries is gathered, in one line; pictures are decoded once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.api.manifests.entries import MOST_FAULTS, Checker, Entry, Text
from latentedit.core.errors import ConfigError
from tests.api.manifests.pictures import write_picture


class Said(Entry):
    caption: Text


@pytest.fixture
def checker() -> Checker:
    return Checker("a.csv")


def said(checker: Checker) -> str:
    with pytest.raises(ConfigError) as caught:
        checker.check()
    return str(caught.value)


@given(count=st.integers(0, 3 * MOST_FAULTS))
def test_all_are_told_up_to_the_limit_and_the_rest_counted(count: int) -> None:
    checker = Checker("a.csv")
    for index in range(count):
        checker.add(f"row {index}", f"<fault {index}>")
    assert len(checker) == count
    if not count:
        checker.check()
        return
    message = said(checker)
    assert message.startswith(f"a.csv has faults ({count}): row 0: <fault 0>")
    for index in range(count):
        assert (f"row {index}: <fault {index}>" in message) == (index < MOST_FAULTS)
    assert message.endswith(f"; and {count - MOST_FAULTS} more") == (count > MOST_FAULTS)


def test_the_message_is_one_line(checker: Checker) -> None:
    checker.add("row 1 (id 'a\nb')", "two\r\n lines")
    assert said(checker).endswith("row 1 (id 'a b'): two lines")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (3, "is a number, not text"),
        (2.5, "is a number, not text"),
        (True, "is yes or no, not text"),
        (["a"], "is a list, not text"),
        ({"a": 1}, "is an object, not text"),
        (None, "is missing"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("\ud800", "holds half a character"),
    ],
)
def test_what_is_no_caption_is_told(checker: Checker, value: object, what: str) -> None:
    assert checker.entry(Said, "row 1", {"caption": value}) is None
    assert f"row 1: caption {what}" in said(checker)


def test_a_caption_is_kept_as_it_is(checker: Checker) -> None:
    assert checker.entry(Said, "row 1", {"caption": " été ", "other": 5}) == Said(caption=" été ")
    assert checker.entry(Said, "row 2", {}, noted=("caption",)) is None
    assert not checker


def test_a_picture_that_many_share_is_decoded_once(
    checker: Checker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_picture(tmp_path / "b" / "a.png")
    assert checker.picture("row 1", "picture", tmp_path / "a.png", path) == path, "the first place with a file"
    monkeypatch.setattr("latentedit.api.manifests.entries.read_image", lambda _: pytest.fail("decoded again"))
    assert checker.picture("row 2", "picture", path) == path


def test_a_picture_that_is_none_is_told(checker: Checker, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-80])
    assert checker.picture("row 1", "picture a.jpg", path) is None
    assert "picture a.jpg cannot be used: " in said(checker)
    for name in ("missing.png", "a\0b", "x" * 5000):
        assert checker.picture("row 2", name[:9], tmp_path / name) is None
        assert " ".join(f"row 2: {name[:9]} does not exist".split()) in said(checker)


def test_sizes_are_compared(checker: Checker, tmp_path: Path) -> None:
    small, large = (write_picture(tmp_path / f"{side}.png", (side, 4)) for side in (4, 5))
    checker.same_size("row 1", "truth", small, small)
    assert not checker
    checker.same_size("row 1", "truth", large, small)
    assert "row 1: truth is 5x4 pixels, its picture 4x4" in said(checker)

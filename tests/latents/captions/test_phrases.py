import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.latents.captions.phrases import Phrase, phrase_key, read_phrases

TEXTS = st.text(st.sampled_from("ab ,.wih\n1!"), max_size=40)


@pytest.mark.parametrize(
    ("caption", "lead", "phrases", "ending"),
    [
        ("a man with a hat, a scarf.", "a man with", ["a hat", "a scarf"], "."),
        ("a hat,  , 1,000 cats", "", ["a hat", "1,000 cats"], ""),
        ("A man  WITH\ta hat with a ribbon ?! ", "A man  WITH", ["a hat with a ribbon"], " ?! "),
        ("a man with", "", ["a man with"], ""),
        (" . ", "", [], " . "),
        ("", "", [], ""),
    ],
)
def test_reading_by_hand(caption: str, lead: str, phrases: list[str], ending: str) -> None:
    read = read_phrases(caption, lead=True)
    assert (read.lead, [phrase.text for phrase in read.phrases], read.ending) == (lead, phrases, ending)


@given(TEXTS, st.booleans())
def test_phrases_know_their_places_and_nothing_but_marks_and_the_lead_lies_between(caption: str, lead: bool) -> None:
    read = read_phrases(caption, lead=lead)
    assert all(caption[phrase.start : phrase.end] == phrase.text == phrase.text.strip() for phrase in read.phrases)
    assert all(phrase.text for phrase in read.phrases)
    starts = [phrase.start for phrase in read.phrases]
    assert starts == sorted(starts)
    between = re.sub(r"[\s,]", "", caption[: len(caption) - len(read.ending)])
    assert between == re.sub(r"[\s,]", "", read.lead + "".join(phrase.text for phrase in read.phrases))
    assert caption.endswith(read.ending)


def test_splitting_keeps_places() -> None:
    caption = "x a hat  and a scarf and "
    parts = Phrase(text=caption[2:], start=2).split(re.compile(r"\band\b"))
    assert [(part.text, part.start, part.end) for part in parts] == [("a hat", 2, 7), ("a scarf", 13, 20)]
    assert [caption[part.start : part.end] for part in parts] == ["a hat", "a scarf"]


def test_long_captions_take_no_time() -> None:
    began = time.process_time()
    read = read_phrases("a" + " " * 1_000_000 + "b" + " ." * 1_000_000, lead=True)
    assert [len(phrase.text) for phrase in read.phrases] == [1_000_002]
    assert time.process_time() - began < 3


def test_keys_know_no_case_and_no_spaces() -> None:
    assert phrase_key("  A  Hat\n") == phrase_key("a hat") != phrase_key("ahat")

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.change import MAX_LETTERS, Change, Phrase, phrase_key, read_phrases


@pytest.mark.parametrize(
    ("text", "old", "new", "normal"),
    [
        ("man => woman", "man", "woman", "man => woman"),
        ("  long   hair=>bald ", "long hair", "bald", "long hair => bald"),
        ("=> glasses", "", "glasses", "=> glasses"),
        ("glasses=>", "glasses", "", "glasses =>"),
        ("-> a T-shirt", "", "a T-shirt", "=> a T-shirt"),
        ("a hat → a cap", "a hat", "a cap", "a hat => a cap"),
        ("a hat, a scarf => a coat", "a hat, a scarf", "a coat", "a hat, a scarf => a coat"),
    ],
)
def test_parsing_and_its_inverse(text: str, old: str, new: str, normal: str) -> None:
    change = Change.parse(text)
    assert (change.old, change.new, str(change)) == (old, new, normal)
    assert Change.parse(str(change)) == change


@pytest.mark.parametrize(
    ("text", "example"),
    [
        *((text, "=> NEW") for text in ("", "a => b => c", "a -> b => c", "=>", "  =>  ")),
        *((text, '"=> glasses".*"glasses =>"') for text in ("glasses", "add glasses", " remove  glasses")),
        *((text, "[hH]at => (a )?hat") for text in ("hat => hat", "A  Hat => a hat")),
    ],
)
def test_what_is_no_change_is_refused(text: str, example: str) -> None:
    with pytest.raises(ConfigError, match=example):
        Change.parse(text)


@pytest.mark.parametrize(
    ("caption", "change", "wanted"),
    [
        ("a man with a hat, a dog.", "man => woman", "a woman with a hat, a dog."),
        ("A man with\n a hat", "with a  HAT => smiling", "A man smiling"),
        ("a man's hat, a manual", "man => woman", "a woman's hat, a manual"),
        ("a t-shirt, a shirt", "shirt => coat", "a t-shirt, a coat"),
        ("1,000 cats, a dog", "1,000 cats => a hat", "a hat, a dog"),
        ("a (red) hat", "(red) => blue", "a blue hat"),
        # the article follows
        ("a man, a dog", "man => old man", "an old man, a dog"),
        ("An old man", "old => young", "A young man"),
        ("a hat", "hat => 3 hats", "3 hats"),
        ("sauna man", "man => owner", "sauna owner"),
        # adding
        ("a man, a dog.", "=> a hat", "a man, a dog, a hat."),
        ("", "=> a hat", "a hat"),
        # what denies it gives way
        ("a man, no hat, a dog", "=> a hat", "a man, a hat, a dog"),
        ("a man, No  a Hat, a dog", "=> a hat", "a man, a hat, a dog"),
        ("without glasses.", "=> glasses", "glasses."),
        ("a man without a hat in a garden", "=> hat", "a man with hat in a garden"),
        ("a man without a hat", "=> wearing a hat", "a man wearing a hat"),
        # and what does not deny it does not
        ("a man, no hat stand", "=> a hat", "a man, no hat stand, a hat"),
        ("a casino hat", "=> a hat", "a casino hat, a hat"),
        # removing
        ("two cats, a hat !", "two cats =>", "a hat !"),
        ("a man, a hat, a dog.", "A  hat =>", "a man, a dog."),
        ("a man, a hat, a dog.", "dog =>", "a man, a hat."),
        ("a man, a hat, and a dog", "a dog =>", "a man, a hat"),
        ("a man, wearing a hat", "a hat =>", "a man"),
        # parts of a phrase
        ("a man with a hat", "a hat =>", "a man"),
        ("a man with a hat and a scarf", "a hat =>", "a man with a scarf"),
        ("a man with a hat and a scarf", "a scarf =>", "a man with a hat"),
        ("a man wearing a hat in a garden", "a hat =>", "a man in a garden"),
        ("a hat and a scarf", "a hat =>", "a scarf"),
        # a lead leads to the next phrase, if that is a thing
        ("a man with a hat, a scarf", "a hat =>", "a man with a scarf"),
        ("a man with a hat, sitting on a bench", "a hat =>", "a man, sitting on a bench"),
        ("a man with a hat, on a horse", "a hat =>", "a man, on a horse"),
        ("a house, a man with a hat, a dog", "a hat =>", "a house, a man, a dog"),
    ],
)
def test_replacing_adding_and_removing(caption: str, change: str, wanted: str) -> None:
    assert Change.parse(change).apply(caption) == wanted


@pytest.mark.parametrize(
    ("caption", "change", "words"),
    [
        ("a man with a hat", "woman => girl", "'woman'.*'a man'"),
        ("a man in a red hat", "hat =>", "'hat'.*'a red hat'"),
        ("long hair, no facial hair", "hair => fur", "2.*'long hair', 'no facial hair'"),
        ("a man with a hat", "=> hat", "'hat'"),
        ("a man with a hat", "=> no hat", "a hat => no hat"),
        ("a hat.", "a hat =>", "a hat =>"),
    ],
)
def test_changes_that_cannot_be_made(caption: str, change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Change.parse(change).apply(caption)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caption", "change"),
    [
        ("a and " * 1600, "hat =>"),
        ("a and " * 1600, " and ".join("a" * 1600) + " =>"),
        ("a" + " " * 9000 + "b", "=> a hat"),
        ("no " * 3000, "=> no hat"),
    ],
)
def test_long_captions_take_no_time(caption: str, change: str) -> None:
    """What was tried took the square or the cube of their length."""
    began = time.process_time()
    with contextlib.suppress(ConfigError):
        Change.parse(change).apply(caption)
    assert time.process_time() - began < 3


def test_captions_and_changes_have_an_end() -> None:
    assert Change.parse("a => b").apply("a" + " c" * (MAX_LETTERS // 2 - 1)).startswith("b c")
    for caption, change in (("a" * (MAX_LETTERS + 1), "a => b"), ("a", "=> " + "b" * (MAX_LETTERS + 1))):
        with pytest.raises(ConfigError, match=str(MAX_LETTERS + 1)):
            Change.parse(change).apply(caption)


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


def test_keys_know_no_case_and_no_spaces() -> None:
    assert phrase_key("  A  Hat\n") == phrase_key("a hat") != phrase_key("ahat")

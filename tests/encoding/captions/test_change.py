import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit.encoding.captions.change import (
    MAX_LETTERS,
    Caption,
    Change,
    Phrase,
    align_captions,
    changed_phrases,
    phrase_key,
    prompt_doubts,
)


@pytest.mark.parametrize(
    ("text", "old", "new", "normalized"),
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
def test_changes_round_trip_through_text(text: str, old: str, new: str, normalized: str) -> None:
    change = Change.parse(text)
    assert (change.old, change.new, str(change)) == (old, new, normalized)
    assert Change.parse(str(change)) == change


@pytest.mark.parametrize(
    ("text", "example"),
    [
        *((text, "=> NEW") for text in ("", "a => b => c", "a -> b => c", "=>", "  =>  ")),
        *((text, '"=> glasses".*"glasses =>"') for text in ("glasses", "add glasses", " remove  glasses")),
        *((text, "instruction") for text in ("make him smile more", "Turn the hat red")),
        *((text, "[hH]at => (a )?hat") for text in ("hat => hat", "A  Hat => a hat")),
    ],
)
def test_invalid_changes_are_rejected(text: str, example: str) -> None:
    with pytest.raises(ConfigError, match=example):
        Change.parse(text)


@pytest.mark.parametrize(
    ("caption", "change", "expected"),
    [
        ("a man with a hat, a dog.", "man => woman", "a woman with a hat, a dog."),
        ("A man with\n a hat", "with a  HAT => smiling", "A man smiling"),
        ("a man's hat, a manual", "man => woman", "a woman's hat, a manual"),
        ("a t-shirt, a shirt", "shirt => coat", "a t-shirt, a coat"),
        ("1,000 cats, a dog", "1,000 cats => a hat", "a hat, a dog"),
        ("a (red) hat", "(red) => blue", "a blue hat"),
        # the article adapts
        ("a man, a dog", "man => old man", "an old man, a dog"),
        ("An old man", "old => young", "A young man"),
        ("a hat", "hat => 3 hats", "3 hats"),
        ("sauna man", "man => owner", "sauna owner"),
        # adding
        ("a man, a dog.", "=> a hat", "a man, a dog, a hat."),
        ("", "=> a hat", "a hat"),
        # a negation is replaced
        ("a man, no hat, a dog", "=> a hat", "a man, a hat, a dog"),
        ("a man, No  a Hat, a dog", "=> a hat", "a man, a hat, a dog"),
        ("without glasses.", "=> glasses", "glasses."),
        ("a man without a hat in a garden", "=> hat", "a man with hat in a garden"),
        ("a man without a hat", "=> wearing a hat", "a man wearing a hat"),
        # similar phrases are not negations
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
        # the lead applies to the next phrase if that is a noun phrase
        ("a man with a hat, a scarf", "a hat =>", "a man with a scarf"),
        ("a man with a hat, sitting on a bench", "a hat =>", "a man, sitting on a bench"),
        ("a man with a hat, on a horse", "a hat =>", "a man, on a horse"),
        ("a house, a man with a hat, a dog", "a hat =>", "a house, a man, a dog"),
    ],
)
def test_changes_replace_add_and_remove_phrases(caption: str, change: str, expected: str) -> None:
    assert Change.parse(change).apply(caption) == expected


@pytest.mark.parametrize(
    ("caption", "change", "message"),
    [
        ("a man with a hat", "woman => girl", "'woman'.*a man"),
        ("a man in a red hat", "hat =>", "'hat'.*'a red hat'"),
        ("long hair, no facial hair", "hair => fur", "2.*'long hair', 'no facial hair'"),
        ("a man with a hat", "=> hat", "'hat'"),
        ("a man with a hat", "=> no hat", "a hat => no hat"),
        ("a hat.", "a hat =>", "a hat =>"),
        ("a face, no glasses", "glasses => hat", "'no glasses'.*no glasses => hat"),
        ("a man without a hat", "hat => cap", "'without a hat'"),
    ],
)
def test_inapplicable_changes_are_rejected(caption: str, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Change.parse(change).apply(caption)


def test_captions_and_changes_have_a_maximum_length() -> None:
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
def test_captions_are_split_into_phrases(caption: str, lead: str, phrases: list[str], ending: str) -> None:
    result = Caption.of(caption)
    assert (result.lead, [phrase.text for phrase in result.phrases], result.ending) == (lead, phrases, ending)


@given(TEXTS, st.sampled_from(["phrases", "whole"]))
def test_phrases_have_positions_and_cover_the_caption(caption: str, which: str) -> None:
    result = Caption.of(caption)
    phrases = getattr(result, which)
    assert all(caption[phrase.start : phrase.end] == phrase.text == phrase.text.strip() for phrase in phrases)
    assert all(phrase.text for phrase in phrases)
    starts = [phrase.start for phrase in phrases]
    assert starts == sorted(starts)
    content = re.sub(r"[\s,]", "", caption[: len(caption) - len(result.ending)])
    assert content == re.sub(
        r"[\s,]", "", (result.lead if which == "phrases" else "") + "".join(phrase.text for phrase in phrases)
    )
    assert caption.endswith(result.ending)


def test_splitting_keeps_positions() -> None:
    caption = "x a hat  and a scarf and "
    parts = Phrase(text=caption[2:], start=2).split(re.compile(r"\band\b"))
    assert [(part.text, part.start, part.end) for part in parts] == [("a hat", 2, 7), ("a scarf", 13, 20)]
    assert [caption[part.start : part.end] for part in parts] == ["a hat", "a scarf"]


def test_phrase_keys_ignore_case_and_repeated_spaces() -> None:
    assert phrase_key("  A  Hat\n") == phrase_key("a hat") != phrase_key("ahat")


PHRASES = st.sampled_from(["a hat", "a red hat", "no hat", "blue eyes", "A  Smile", "smiling", "on a wall", "2 cats"])
LISTS = st.lists(PHRASES, max_size=7)
DISTINCT = st.lists(PHRASES, max_size=7, unique=True)
ALIGNED_TEXTS = st.text(st.sampled_from("ab ,.wih\n1"), max_size=30) | LISTS.map(", ".join)


@given(DISTINCT, DISTINCT)
def test_shared_phrases_keep_the_order_of_the_source_and_added_ones_come_last(
    source: list[str], target: list[str]
) -> None:
    aligned = align_captions(", ".join(source), ", ".join(target))[1]
    assert align_captions(", ".join(source), aligned)[1] == aligned
    phrases = [phrase for phrase in aligned.split(", ") if phrase]
    positions = [source.index(phrase) for phrase in phrases if phrase in source]
    assert positions == sorted(positions)
    if len(source) <= len(target):
        assert positions == [position for position, phrase in enumerate(phrases[: len(source)]) if phrase in source]


@given(ALIGNED_TEXTS, ALIGNED_TEXTS)
def test_alignment_keeps_all_words(source: str, target: str) -> None:
    def letters(text: str) -> Counter[str]:
        return Counter(text) - Counter({space: len(text) for space in ", \n"})

    unchanged, aligned = align_captions(source, target)
    assert unchanged == source
    assert letters(aligned) == letters(target)
    assert align_captions(source, source) == (source, source)
    assert changed_phrases(source, source) == ((), ())
    if "," not in target:
        assert aligned == target


@pytest.mark.parametrize(
    ("source", "target", "aligned"),
    [
        ("a, b, c", "c, b, a", "a, b, c"),
        ("a, b, c", "d, c, a", "a, d, c"),
        ("a, b, c", "x, a, b, c", "a, b, c, x"),
        ("a, b, c, d", "d, b", "b, d"),
        ("a, a, b", "b, a, a", "a, a, b"),
        # the most informative word decides: "beard", not "a"
        ("a smile, no beard", "a beard, a grimace", "a grimace, a beard"),
        ("short brown hair, a red beard", "a brown beard, short red hair", "short red hair, a brown beard"),
        ("a smile, closed eyes", "eyes closed, a sad mouth", "a sad mouth, eyes closed"),
        # a lead stays in front if more phrases are then shared, else it is part of its phrase
        ("a man with a, b", "a woman with b, c", "a woman with c, b"),
        ("a, b", "a woman with b, a", "a woman with a, b"),
        ("a cat with a ball, b", "b, a cat with a stick", "a cat with a stick, b"),
        (
            "a cat with a ball, a dog with a stick",
            "a cat with a stick, a dog with a ball",
            "a dog with a ball, a cat with a stick",
        ),
        # an adjective is not a lead
        ("red shirt, trousers", "red trousers, shirt", "shirt, red trousers"),
        # endings, numbers, case
        ("a hat, a beard.", "a beard, a hat.", "a hat, a beard."),
        ("1,000 cats, a hat", "a hat, 1,000 cats", "1,000 cats, a hat"),
        ("A Hat, a beard", "a beard,  a  hat", "a  hat, a beard"),
    ],
)
def test_alignment_examples(source: str, target: str, aligned: str) -> None:
    assert align_captions(source, target)[1] == aligned


def test_changed_phrases() -> None:
    assert changed_phrases("a man with a, b, c.", "a man with c, d") == (("a", "b"), ("d",))
    assert changed_phrases("a man with a", "a woman with a") == (("a man with",), ("a woman with",))
    assert changed_phrases("a, a, b", "A, b, b") == (("a",), ("b",))
    assert changed_phrases("", "a") == ((), ("a",))


def test_an_order_to_a_model_of_instructions_is_answered_by_its_argument() -> None:
    source, order = "a photo of a man", "add a hat"
    (note,) = prompt_doubts(source, order, takes_instructions=True)
    assert "`instruction`" in note
    assert "`instruction`" not in prompt_doubts(source, order)[0]
    assert prompt_doubts(source, "a man with a hat", takes_instructions=True) == ()

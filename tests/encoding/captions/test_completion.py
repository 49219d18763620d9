import pytest

from latentedit.encoding.captions.change import Caption
from latentedit.encoding.captions.completion import append_answer, append_omitted, complete_phrases

SOURCE, TARGET = "a man with a smile", "a man with a smile, glasses"


def test_omitted_phrases_are_appended_to_both_captions() -> None:
    completed = append_omitted("A man.", "a man with a hat", "a man with short hair, a blue shirt")
    assert completed.source == "A man with short hair, a blue shirt."
    assert completed.target == "a man with a hat, short hair, a blue shirt"
    assert completed.added == ("short hair", "a blue shirt")


@pytest.mark.parametrize(
    ("answer", "added"),
    [
        ("short hair, a blue shirt\nWRONG: none", ("short hair", "a blue shirt")),
        ("- short hair\n- a blue shirt\nWRONG: none.", ("short hair", "a blue shirt")),
        ("1. short hair.\n2. a blue shirt.", ("short hair", "a blue shirt")),
        ('"short hair, a blue shirt"', ("short hair", "a blue shirt")),
        ("short hair, no glasses, a wide smile, short hair", ("short hair",)),  # repeats the caption, and itself
        ("WRONG: none", ()),
        ("", ()),
    ],
)
def test_model_answers_are_parsed(answer: str, added: tuple[str, ...]) -> None:
    completed = append_answer(SOURCE, TARGET, answer)
    assert (completed.added, completed.notes) == (added, ())
    assert completed.source == ", ".join([SOURCE, *added])
    assert completed.target == ", ".join([TARGET, *added])


def test_contradictions_are_reported_and_user_text_is_kept() -> None:
    completed = append_answer(SOURCE, TARGET, "short hair\nWRONG: the mouth is closed; it is a woman")
    assert [note.rpartition(": ")[2] for note in completed.notes] == ["the mouth is closed", "it is a woman"]
    assert completed.source == f"{SOURCE}, short hair"


def test_a_grammar_keeps_equivalent_user_phrases() -> None:
    meanings = {"long hair": {"hair": "long"}, "long red hair": {"hair": "long", "color": "red"}}
    meanings |= {"a grin": {"mouth": "smile"}, "a smile": {"mouth": "smile"}}
    complete = Caption.of("a person with long red hair, a smile")
    text, added = complete_phrases(
        "a man with a grin, long hair, a scar", complete, lambda phrase: meanings.get(phrase, {})
    )
    assert text == "a man with long red hair, a grin, long hair, a scar".replace(", long hair", "")
    assert added == ("long red hair",)
    for caption, lead in (("a man", "a man"), ("a grin", "a person"), ("", "a person")):
        text = complete_phrases(caption, complete, lambda phrase: meanings.get(phrase, {}))[0]
        assert text == f"{lead} with long red hair, {'a grin' if caption == 'a grin' else 'a smile'}"

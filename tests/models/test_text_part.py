"""One tokenizer: its room, the words that it drops, and the words of training."""

import pytest

from latentedit.core.errors import ConfigError
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.models.text_part import TextPart, dropped_note, listed, unseen_note, unseen_words, word_pieces


@pytest.fixture
def part(sd: StableDiffusionBackbone) -> TextPart:
    return sd._text.part


def test_ids_are_cut_and_padded_to_their_number(part: TextPart) -> None:
    assert part.clip_length == 20
    assert part.token_ids(["", "red " * 30], part.clip_length).shape == (2, 20)
    assert part.token_ids(["red"], 5).shape == (1, 5)
    with pytest.raises(ConfigError, match="at least one text"):
        part.token_ids([], 5)


def test_words_lose_a_token_or_are_kept(part: TextPart) -> None:
    assert part.room(6) == 4
    assert part.dropped("red hair and glasses", 6) == []
    assert part.dropped("red hair and glasses.", 6) == ["glasses"]
    assert part.dropped("red zebra, hair", 6) == ["zebra", "hair"]
    assert part.dropped("red", 2) == ["red"]


def test_pieces_are_runs_of_letters_and_single_digits() -> None:
    assert word_pieces(["T-shirt", "10"]) == {"t", "shirt", "1", "0"}
    known = word_pieces(["a", "t-shirt"])
    assert unseen_words("A T-shirt, a hat; a hat.", known) == ["hat"]
    assert unseen_words("a hat", None) == []


def test_notes_are_sentences() -> None:
    assert listed(["a"]) == "the word 'a' was"
    assert dropped_note(["a", "b"], 7) == ["the words 'a', 'b' were dropped: the text encoder takes 7 tokens"]
    assert dropped_note([], 7) == []
    assert unseen_note("hat", frozenset()) == ["the word 'hat' was never seen by the model in training"]
    assert unseen_note("hat", None) == []

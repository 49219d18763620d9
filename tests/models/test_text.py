"""What the text encoders read, and what the user is told that they do not."""

import dataclasses
from typing import Any

import pytest
import torch

from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.models.text_part import TextPart, dropped_note, listed, unseen_note, unseen_words, word_pieces

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen


@pytest.fixture(params=["sd", "without_t5"])
def text(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)._text


@pytest.fixture
def part(sd: Any) -> TextPart:
    return sd._text.part


def test_dropped_words_are_named_and_the_rest_is_all_that_counts(text: Any) -> None:
    assert text.notes([LONG, LONG]) == ["the words 'black', 'glasses' were dropped: the text encoder takes 18 tokens"]
    kept, shorter = (" ".join(LONG.split()[:count]) for count in (18, 17))
    assert text.notes([kept, ""]) == []
    assert torch.equal(text.embed([LONG]).tokens, text.embed([kept]).tokens)
    assert not torch.equal(text.embed([LONG]).tokens, text.embed([shorter]).tokens)


def test_a_word_that_is_cut_in_the_middle_counts_as_dropped(text: Any) -> None:
    caption = " ".join(LONG.split()[:16]) + " zebra, a"
    assert text.notes([caption]) == ["the words 'zebra', 'a' were dropped: the text encoder takes 18 tokens"]


def test_t5_reads_what_clip_cannot(with_t5: StableDiffusion3Backbone) -> None:
    assert with_t5.caption_notes([LONG]) == [
        "the words 'black', 'glasses' were read by T5 only: the CLIP encoders take 18 tokens"
    ]
    short = dataclasses.replace(with_t5._text, length=20)
    assert short.notes([LONG]) == [
        "the word 'black' was read by T5 only: the CLIP encoders take 18 tokens",
        "the word 'glasses' was dropped: the text encoder takes 19 tokens",
    ]


def test_words_of_no_training_caption_are_named(text: Any) -> None:
    knowing = dataclasses.replace(text, vocabulary=word_pieces(["a", "t-shirt", "red", "10"]))
    assert knowing.notes(["A red T-shirt; red, 10."]) == []
    assert knowing.notes(["a Zebra, a red yak"]) == [
        "the words 'Zebra', 'yak' were never seen by the model in training"
    ]
    assert text.notes(["a Zebra"]) == []


def test_lengths_and_widths_are_checked(sd: Any, with_t5: Any, without_t5: Any, monkeypatch: Any) -> None:
    short = without_t5._text
    assert dataclasses.replace(short, length=0).embed(["a"]).tokens.shape == (1, 20, 32)
    for text, changes, words in (
        (short, {"length": -1}, ""),
        (with_t5._text, {"length": 0}, ""),
        (short, {"clips": short.clips[:1]}, "two CLIP"),
        (short, {"width": 16}, "joint width"),
        (with_t5._text, {"width": 64}, "T5 of width"),
        (sd._text, {"width": 24}, "width 24; got 16"),
    ):
        with pytest.raises(ModelError if words else ConfigError, match=words or None):
            dataclasses.replace(text, **changes)
    monkeypatch.setattr(sd._text.part.encoder.config, "use_attention_mask", True, raising=False)
    with pytest.raises(ModelError, match="use_attention_mask"):
        dataclasses.replace(sd._text)


def test_ids_are_cut_and_padded_to_their_number(part: TextPart) -> None:
    assert part.clip_length == 20
    assert part.token_ids(["", "red " * 30], part.clip_length).shape == (2, 20)
    assert part.token_ids(["red"], 5).shape == (1, 5)


def test_words_lose_a_token_or_are_kept(part: TextPart) -> None:
    assert part.room(6) == 4
    assert part.dropped("red hair and glasses", 6) == []
    assert part.dropped("red hair and glasses.", 6) == ["glasses"]
    assert part.dropped("red zebra, hair", 6) == ["zebra", "hair"]
    assert part.dropped("red", 2) == ["red"]


def test_pieces_are_runs_of_letters_and_single_digits() -> None:
    assert word_pieces(["T-shirt", "10"]) == {"t", "shirt", "1", "0"}
    assert unseen_words("A T-shirt, a hat; a hat.", word_pieces(["a", "t-shirt"])) == ["hat"]
    assert unseen_words("a hat", None) == []


def test_notes_are_sentences() -> None:
    assert listed(["a"]) == "the word 'a' was"
    assert dropped_note(["a", "b"], 7) == ["the words 'a', 'b' were dropped: the text encoder takes 7 tokens"]
    assert dropped_note([], 7) == []
    assert unseen_note("hat", frozenset()) == ["the word 'hat' was never seen by the model in training"]
    assert unseen_note("hat", None) == []

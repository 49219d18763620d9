"""What the text encoders read, and what the user is told that they do not."""

import dataclasses
from typing import Any

import pytest
import torch

from latentedit.core.errors import ConfigError, ModelError
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.models.sd3_text import SD3Text
from latentedit.models.text_part import word_pieces

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen


@pytest.fixture
def text(without_t5: StableDiffusion3Backbone) -> SD3Text:
    return without_t5._text


def test_dropped_words_are_named_and_the_rest_is_all_that_counts(text: SD3Text) -> None:
    assert text.notes([LONG]) == ["the words 'black', 'glasses' were dropped: the text encoder takes 18 tokens"]
    kept = " ".join(LONG.split()[:18])
    assert text.notes([kept, ""]) == []
    assert torch.equal(text.embed([LONG]).tokens, text.embed([kept]).tokens)
    shorter = " ".join(LONG.split()[:17])
    assert not torch.equal(text.embed([LONG]).tokens, text.embed([shorter]).tokens)


def test_a_word_that_is_cut_in_the_middle_counts_as_dropped(text: SD3Text) -> None:
    caption = " ".join(LONG.split()[:16]) + " zebra, a"
    assert text.notes([caption]) == ["the words 'zebra', 'a' were dropped: the text encoder takes 18 tokens"]
    assert text.notes([caption, caption]) == text.notes([caption])


def test_t5_reads_what_clip_cannot(with_t5: StableDiffusion3Backbone) -> None:
    assert with_t5.caption_notes([LONG]) == [
        "the words 'black', 'glasses' were read by T5 only: the CLIP encoders take 18 tokens"
    ]
    short = dataclasses.replace(with_t5._text, length=20)
    assert short.notes([LONG]) == [
        "the word 'black' was read by T5 only: the CLIP encoders take 18 tokens",
        "the word 'glasses' was dropped: the text encoder takes 19 tokens",
    ]


def test_words_of_no_training_caption_are_named(text: SD3Text) -> None:
    knowing = dataclasses.replace(text, vocabulary=word_pieces(["a", "t-shirt", "red", "10"]))
    assert knowing.notes(["A red T-shirt; red, 10."]) == []
    assert knowing.notes(["a Zebra, a red yak"]) == [
        "the words 'Zebra', 'yak' were never seen by the model in training"
    ]
    assert text.notes(["a Zebra"]) == []


def test_lengths_and_widths_are_checked(text: SD3Text, with_t5: Any) -> None:
    assert dataclasses.replace(text, length=0).embed(["a"]).tokens.shape == (1, 20, 32)
    with pytest.raises(ConfigError):
        dataclasses.replace(text, length=-1)
    with pytest.raises(ConfigError):
        dataclasses.replace(with_t5._text, length=0)
    with pytest.raises(ConfigError, match="at least one text"):
        text.embed([])
    with pytest.raises(ModelError, match="two CLIP"):
        dataclasses.replace(text, clips=text.clips[:1])
    with pytest.raises(ModelError, match="joint width"):
        dataclasses.replace(text, width=16)
    with pytest.raises(ModelError, match="T5 of width"):
        dataclasses.replace(with_t5._text, width=64)

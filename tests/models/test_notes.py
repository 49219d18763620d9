"""Notes on words that text encoders drop or never saw."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ByT5Tokenizer

from latentedit.models.loading import open_folder
from latentedit.models.prompts import dropped_words, room, unseen_note, unseen_words, word_pieces
from latentedit.models.sd3 import StableDiffusion3Backbone

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen


@pytest.fixture(params=["sd", "without_t5"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_dropped_words_are_named_and_have_no_effect(model: Any) -> None:
    notes = model.caption_notes([LONG, LONG])
    assert notes == ["the words 'black', 'glasses' were dropped: the text encoder takes 18 tokens"]
    kept, shorter = (" ".join(LONG.split()[:count]) for count in (18, 17))
    assert model.caption_notes([kept, ""]) == []
    assert torch.equal(model.embed([LONG]).tokens, model.embed([kept]).tokens)
    assert not torch.equal(model.embed([LONG]).tokens, model.embed([shorter]).tokens)
    cut = " ".join(LONG.split()[:16]) + " zebra, a"  # in the middle of a word
    assert model.caption_notes([cut]) == ["the words 'zebra', 'a' were dropped: the text encoder takes 18 tokens"]


@pytest.mark.slow
def test_words_that_only_t5_reads_are_noted(with_t5: Any, folder_with_t5: Path) -> None:
    assert with_t5.caption_notes([LONG]) == [
        "the words 'black', 'glasses' were read by T5 only: the CLIP encoders take 18 tokens"
    ]
    pipeline = open_folder(folder_with_t5).load()
    short = StableDiffusion3Backbone(pipeline, name="short")
    short.window = 20
    assert short.caption_notes([LONG]) == [
        "the word 'black' was read by T5 only: the CLIP encoders take 18 tokens",
        "the word 'glasses' was dropped: the text encoder takes 19 tokens",
    ]
    pipeline.tokenizer_3 = pipeline.text_encoder_3 = None
    none = StableDiffusion3Backbone(pipeline, name="none", settings={"zero_tokens": 0})
    assert none.embed(["a"]).tokens.shape == (1, 20, 32)


def test_words_that_lose_a_token_are_dropped(sd: Any) -> None:
    clip = sd.pipeline.tokenizer
    assert room(clip, 6) == 4
    for text, words in (
        ("red hair and glasses", []),
        ("red hair and glasses.", ["glasses"]),
        ("red zebra, hair", ["zebra", "hair"]),
    ):
        assert dropped_words(clip, text, 6) == words
    assert dropped_words(clip, "red", 2) == ["red"]
    assert unseen_words("A T-shirt 10, a hat; a hat.", word_pieces(["a", "t-shirt", "01"])) == ["hat"]
    assert unseen_words("a hat", None) == []
    assert unseen_note("hat", frozenset()) == ["the word 'hat' was never seen by the model in training"]
    assert unseen_note("glases", frozenset({"glasses", "hat"}))[0].endswith("did you mean 'glasses'?")
    slow = ByT5Tokenizer()  # gives no word offsets; a token for each byte, and one for the end
    assert not slow.is_fast
    for window, words in ((17, []), (16, ["hat"]), (9, ["hair", "a", "hat"])):
        assert dropped_words(slow, "red hair, a hat.", window) == words
    assert dropped_words(slow, "red", 2) == ["red"]

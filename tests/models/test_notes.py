"""Notes on words that text encoders drop or never saw."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ByT5Tokenizer

from latentedit.core.errors import LatentEditWarning
from latentedit.models.families.sd3 import StableDiffusion3Backbone
from latentedit.models.loading import open_folder
from latentedit.models.prompts import dropped_words, room, unseen_words, word_pieces

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen
DROPPED = "the words 'black', 'glasses' were dropped: the text encoder reads 18 tokens"


@pytest.fixture(params=["sd", "without_t5"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_dropped_words_are_named_and_have_no_effect(model: Any) -> None:
    assert model.dropped_notes(LONG) == [DROPPED]
    kept, shorter = (" ".join(LONG.split()[:count]) for count in (18, 17))
    assert model.dropped_notes(kept) == model.dropped_notes("") == []
    with pytest.warns(LatentEditWarning, match="black") as warned:
        assert torch.equal(model.embed([LONG, LONG]).tokens, model.embed([kept, kept]).tokens)
    assert [str(one.message) for one in warned] == [DROPPED]
    assert warned[0].filename == __file__
    cut = (LONG,) * len(model.text_readers)  # one for each encoder: whoever gives these has seen to it
    assert torch.equal(model.embed([cut]).tokens, model.embed([kept]).tokens)
    assert not torch.equal(model.embed([kept]).tokens, model.embed([shorter]).tokens)
    cut = " ".join(LONG.split()[:16]) + " zebra, a"  # in the middle of a word
    assert model.dropped_notes(cut) == ["the words 'zebra', 'a' were dropped: the text encoder reads 18 tokens"]


def test_readers_read_what_is_not_dropped(model: Any) -> None:
    for count in (17, 18, 19):
        text = " ".join(LONG.split()[:count])
        assert [(reader.room, reader.reads(text)) for reader in model.text_readers] == [(18, count < 19)] * len(
            model.text_readers
        )


def test_words_that_only_t5_reads_are_noted(with_t5: Any, folder_with_t5: Path) -> None:
    assert with_t5.dropped_notes(LONG) == ["the words 'black', 'glasses' were read by T5 only: CLIP reads 18 tokens"]
    assert [reader.reads(LONG) for reader in with_t5.text_readers] == [False, False, True]
    pipeline = open_folder(folder_with_t5).load()
    short = StableDiffusion3Backbone(pipeline, name="short")
    short.window = 20
    assert short.dropped_notes(LONG) == [
        "the word 'black' was read by T5 only: CLIP reads 18 tokens",
        "the word 'glasses' was dropped: the text encoder reads 19 tokens",
    ]
    pipeline.tokenizer_3 = pipeline.text_encoder_3 = None
    none = StableDiffusion3Backbone(pipeline, name="none", settings={"zero_tokens": 0})
    assert none.embed(["a"]).tokens.shape == (1, 20, 32)


def test_each_encoder_reads_its_own_text(with_t5: Any) -> None:
    mixed, black, red = with_t5.embed([("red", "red", "black"), "black", "red"]).tokens
    clip = 20
    assert torch.equal(mixed[:clip], red[:clip])
    assert torch.equal(mixed[clip:], black[clip:])
    assert not torch.equal(black[clip:], red[clip:])


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
    assert unseen_words("A T-shirt 10, a hat; a hat.", word_pieces(["a", "t-shirt", "01"])) == ("hat",)
    slow = ByT5Tokenizer()  # gives no word offsets; a token for each byte, and one for the end
    assert not slow.is_fast
    for window, words in ((17, []), (16, ["hat"]), (9, ["hair", "a", "hat"])):
        assert dropped_words(slow, "red hair, a hat.", window) == words
    assert dropped_words(slow, "red", 2) == ["red"]

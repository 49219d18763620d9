"""What the one text encoder reads, and what the user is told that it does not."""

import dataclasses

import pytest
import torch

from latentedit.core.errors import ModelError
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.models.sd_text import SDText
from latentedit.models.text_part import word_pieces

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen


@pytest.fixture
def text(sd: StableDiffusionBackbone) -> SDText:
    return sd._text


def test_dropped_words_are_named_and_the_rest_is_all_that_counts(text: SDText) -> None:
    assert text.notes([LONG, LONG]) == ["the words 'black', 'glasses' were dropped: the text encoder takes 18 tokens"]
    kept = " ".join(LONG.split()[:18])
    assert text.notes([kept, ""]) == []
    assert torch.equal(text.embed([LONG]).tokens, text.embed([kept]).tokens)


def test_words_of_no_training_caption_are_named(text: SDText) -> None:
    knowing = dataclasses.replace(text, vocabulary=word_pieces(["a", "red"]))
    assert knowing.notes(["a Zebra, red"]) == ["the word 'Zebra' was never seen by the model in training"]
    assert text.notes(["a Zebra"]) == []


def test_encoders_that_do_not_fit_are_refused(text: SDText, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="width 24; got 16"):
        dataclasses.replace(text, width=24)
    monkeypatch.setattr(text.part.encoder.config, "use_attention_mask", True, raising=False)
    with pytest.raises(ModelError, match="use_attention_mask"):
        dataclasses.replace(text)

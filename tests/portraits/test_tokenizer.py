from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from latentedit_portraits.captions import MAX_TOKENS, vocabulary
from latentedit_portraits.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


def test_every_word_of_the_grammar_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word  # start, word, end


def test_unknown_words_fall_into_pieces_but_none_is_lost(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a xylophone é 5").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert "".join(tokenizer.convert_ids_to_tokens(ids)[1:-1]).replace("</w>", " ").startswith("a xylophone ")


def test_padding_and_truncation_as_the_stock_pipeline_asks(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer(" ".join(["glasses"] * 90), padding="max_length", truncation=True).input_ids
    assert len(ids) == MAX_TOKENS
    assert len(tokenizer("a", padding="max_length").input_ids) == MAX_TOKENS


def test_saving_and_loading_keeps_the_tokens(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = ", ".join(vocabulary())
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.model_max_length == MAX_TOKENS

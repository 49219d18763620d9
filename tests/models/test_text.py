"""What the text encoders read, what the user is told that they do not, and embedded texts on disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ByT5Tokenizer

from latentedit.core.errors import ConfigError
from latentedit.models.loading import open_folder
from latentedit.models.notes import dropped_words, room, unseen_note, unseen_words, word_pieces
from latentedit.models.registry import load
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.models.text_cache import LARGE_BYTES, VARIABLE, TextCache, cache_folder
from latentedit.testing.miniatures.flow import flux
from tests.models.folders import change_json, folder_with

LONG = " ".join(["red hair and black glasses"] * 4)  # twenty words, one token each; CLIP takes eighteen


@pytest.fixture(params=["sd", "without_t5"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_dropped_words_are_named_and_the_rest_is_all_that_counts(model: Any) -> None:
    notes = model.caption_notes([LONG, LONG])
    assert notes == ["the words 'black', 'glasses' were dropped: the text encoder takes 18 tokens"]
    kept, shorter = (" ".join(LONG.split()[:count]) for count in (18, 17))
    assert model.caption_notes([kept, ""]) == []
    assert torch.equal(model.embed([LONG]).tokens, model.embed([kept]).tokens)
    assert not torch.equal(model.embed([LONG]).tokens, model.embed([shorter]).tokens)
    cut = " ".join(LONG.split()[:16]) + " zebra, a"  # in the middle of a word
    assert model.caption_notes([cut]) == ["the words 'zebra', 'a' were dropped: the text encoder takes 18 tokens"]


@pytest.mark.slow
def test_t5_reads_what_clip_cannot(with_t5: Any, folder_with_t5: Path) -> None:
    assert with_t5.caption_notes([LONG]) == [
        "the words 'black', 'glasses' were read by T5 only: the CLIP encoders take 18 tokens"
    ]
    parts = open_folder(folder_with_t5).components(torch.float32)
    short = StableDiffusion3Backbone(parts, name="short", max_sequence_length=20)
    assert short.caption_notes([LONG]) == [
        "the word 'black' was read by T5 only: the CLIP encoders take 18 tokens",
        "the word 'glasses' was dropped: the text encoder takes 19 tokens",
    ]
    with pytest.raises(ConfigError, match="at least 1"):
        StableDiffusion3Backbone(parts, name="shorter", max_sequence_length=0)
    none = {**parts, "tokenizer_3": None, "text_encoder_3": None}
    assert StableDiffusion3Backbone(none, name="none", max_sequence_length=0).embed(["a"]).tokens.shape == (1, 20, 32)


@pytest.mark.slow
def test_words_of_no_training_caption_are_named(model: Any, folder_sd: Path, tmp_path: Path) -> None:
    words = ["a", "t-shirt", "red", "10"]
    knowing = load(folder_with(folder_sd, tmp_path / "model", "latentedit.json", vocabulary=words), device="cpu")
    assert knowing.caption_notes(["A red T-shirt; red, 10."]) == []
    notes = ["the words 'Zebra', 'yak' were never seen by the model in training"]
    assert knowing.caption_notes(["a Zebra, a red yak"]) == notes
    assert model.caption_notes(["a Zebra"]) == []


def test_words_lose_a_token_or_are_kept(sd: Any) -> None:
    clip = sd._components["tokenizer"]
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
    slow = ByT5Tokenizer()  # does not say where words are; a byte a token, and one for the end
    assert not slow.is_fast
    for window, words in ((17, []), (16, ["hat"]), (9, ["hair", "a", "hat"])):
        assert dropped_words(slow, "red hair, a hat.", window) == words
    assert dropped_words(slow, "red", 2) == ["red"]


TEXT = "a person with glasses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("flux") / "dev"
    flux().save_pretrained(place)
    return place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


def passes(model: Any) -> list[str]:
    """The encoder's passes from here on."""
    seen: list[str] = []
    model._components["text_encoder_2"].register_forward_pre_hook(lambda *_: seen.append("pass"))
    return seen


@pytest.mark.nightly
def test_a_text_is_read_once_by_all_loads_of_a_model(folder: Path, cache: Path) -> None:
    first = load(folder, device="cpu").embed([TEXT, "a face"])
    assert len(list(cache.iterdir())) == 2
    model = load(folder, device="cpu")
    seen = passes(model)
    again = model.embed([TEXT, "a face"])
    assert seen == []
    assert torch.equal(again.tokens, first.tokens)
    assert torch.equal(again.pooled, first.pooled)
    assert len(model.embed(["another"])) == len(seen) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("changed", ["weights", "configuration", "tokenizer", "dtype"])
def test_another_model_reads_none_of_its_entries(folder: Path, cache: Path, tmp_path: Path, changed: str) -> None:
    """One number of one matrix, one setting, one token or the dtype makes it another model."""
    load(folder, device="cpu").embed([TEXT])
    place = tmp_path / "changed"
    shutil.copytree(folder, place)
    file = place / "text_encoder_2" / "model.safetensors"
    if changed == "weights":
        tensors = load_file(file)
        next(iter(tensors.values())).view(-1)[-1] += 1
        save_file(tensors, file, metadata={"format": "pt"})
    elif changed == "configuration":
        change_json(place / "text_encoder_2" / "config.json", layer_norm_epsilon=1e-2)
    elif changed == "tokenizer":
        known = json.loads((place / "tokenizer_2" / "tokenizer.json").read_text())
        vocabulary = known["model"]["vocab"]
        vocabulary[5], vocabulary[6] = vocabulary[6], vocabulary[5]
        change_json(place / "tokenizer_2" / "tokenizer.json", model=known["model"])
    model = load(place, device="cpu", dtype="bfloat16" if changed == "dtype" else "float32")
    seen = passes(model)
    model.embed([TEXT])
    assert seen == ["pass"]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"half"])
def test_damaged_entries_are_read_anew_and_mended(folder: Path, cache: Path, damage: bytes) -> None:
    model = load(folder, device="cpu")
    seen, right = passes(model), model.embed([TEXT])
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] if damage == b"half" else damage)
    assert torch.equal(model.embed([TEXT]).tokens, right.tokens)
    assert entry.read_bytes() == whole
    assert len(seen) == 2


def test_masks_and_missing_parts_come_back_as_they_were(tmp_path: Path, read_only_folder: Path) -> None:
    """What no file holds, or no folder, is not kept."""
    tokens: Tensor = torch.linspace(-1, 1, 12, dtype=torch.bfloat16).reshape(1, 3, 4)
    mask = torch.tensor([[True, False, True]])
    kept = TextCache(tmp_path / "here", window=3)
    assert kept.read(TEXT) is None
    kept.write(TEXT, (tokens, None, mask))
    read = TextCache(tmp_path / "here", window=3).read(TEXT)
    assert read is not None
    assert (read[0].dtype, read[1]) == (tokens.dtype, None)
    assert torch.equal(read[0], tokens)
    assert read[2] is not None
    assert torch.equal(read[2], mask)
    locked = TextCache(read_only_folder / "here", window=3)
    locked.write(TEXT, (tokens, None, mask))
    assert locked.read(TEXT) is None
    assert TextCache(tmp_path / "here", window=4).read(TEXT) is None
    assert kept.read(f"{TEXT}.") is None
    for unkept in (torch.full((1, 2, 3), torch.nan), torch.zeros(1, 2, 3, dtype=torch.float64)):
        kept.write("unkept", (unkept, None, None))
        assert kept.read("unkept") is None


@pytest.mark.slow
def test_where_texts_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    """By the platform's convention and for large encoders; where and as the variable says, or not at all."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(LARGE_BYTES) == tmp_path / "latentedit" / "text"
    assert cache_folder(LARGE_BYTES - 1) is None
    load(folder, device="cpu").embed([TEXT])
    assert not (tmp_path / "latentedit").exists()
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder(LARGE_BYTES) == Path.home() / "Library" / "Caches" / "latentedit" / "text"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder(LARGE_BYTES) == tmp_path / "local" / "latentedit" / "text"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert cache_folder(0) == tmp_path / "mine" / "text"
    monkeypatch.setenv(VARIABLE, "")
    assert cache_folder(LARGE_BYTES) is None

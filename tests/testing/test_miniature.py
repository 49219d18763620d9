"""Miniatures: reproducible by their seed, with all parts of the real pipelines."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentedit.testing.miniature import WORDS, clip_tokenizer, miniature_sd3
from tests.miniatures.noise import miniature_ddpm, miniature_sd

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.slow_except("miniature_ddpm-1")
@pytest.mark.parametrize(
    ("make", "count"),
    [
        (functools.partial(miniature_sd3, t5=True, channels=8), 5),
        (miniature_sd, 3),
        (miniature_ddpm, 1),
    ],
)
def test_same_seed_same_bytes(tmp_path: Path, make: Callable[..., Path], count: int) -> None:
    state = torch.random.get_rng_state()
    first, second, other_seed = (make(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert torch.equal(torch.random.get_rng_state(), state)
    files = sorted(path.relative_to(first) for path in first.glob("*/*.safetensors"))
    assert len(files) == count
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()
        assert (first / file).read_bytes() != (other_seed / file).read_bytes()


def test_known_words_are_one_token_and_others_are_spelled() -> None:
    tokenizer = clip_tokenizer(pad_token="!")
    for word in WORDS:
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1
    assert len(tokenizer("zebra", add_special_tokens=False)["input_ids"]) == 5
    assert tokenizer("", padding="max_length")["input_ids"][-1] == tokenizer.convert_tokens_to_ids("!")


def test_settings_are_saved(tmp_path: Path) -> None:
    sd3, sd = miniature_sd3(tmp_path / "sd3", t5=False, channels=8), miniature_sd(tmp_path / "sd", prediction="sample")
    index = json.loads((sd3 / "model_index.json").read_text())
    assert index["text_encoder_3"] == [None, None]
    weights = load_file(sd3 / "transformer" / "diffusion_pytorch_model.safetensors")
    assert weights["pos_embed.proj.weight"].shape[1] == 8
    scheduler = json.loads((sd / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "sample"
    assert json.loads((sd / "model_index.json").read_text())["safety_checker"] == [None, None]
    ddpm = miniature_ddpm(tmp_path / "ddpm", learned_variance=True)
    assert load_file(ddpm / UNET)["conv_out.weight"].shape[0] == 6

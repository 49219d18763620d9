"""The miniatures: made in a moment, the same for the same seed, with every part of the real thing."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentedit.testing.miniature import WORDS, clip_tokenizer, miniature_ddpm, miniature_sd, miniature_sd3

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("t5", [True, False])
def test_same_seed_same_bytes(tmp_path: Path, t5: bool) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert miniature_sd3(tmp_path / name, t5=t5, channels=8, seed=seed) == tmp_path / name
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").glob("*/*.safetensors"))
    assert len(files) == (5 if t5 else 4)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()
    index = json.loads((tmp_path / "a" / "model_index.json").read_text())
    assert (index["text_encoder_3"] == [None, None]) == (not t5)
    weights = load_file(tmp_path / "a" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert weights["pos_embed.proj.weight"].shape[1] == 8


def test_each_word_is_one_token_and_other_words_are_letters() -> None:
    tokenizer = clip_tokenizer(pad_token="!")
    for word in WORDS:
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1
    assert len(tokenizer("zebra", add_special_tokens=False)["input_ids"]) == 5
    assert tokenizer("", padding="max_length")["input_ids"][-1] == tokenizer.convert_tokens_to_ids("!")


def test_same_seed_same_bytes_of_a_u_net(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for make in (miniature_sd, miniature_ddpm):
        places = [make(tmp_path / make.__name__ / str(number), seed=seed) for number, seed in enumerate((0, 0, 1))]
        first, second, other = ((place / UNET).read_bytes() for place in places)
        assert first == second
        assert first != other
    assert torch.equal(torch.random.get_rng_state(), state)


def test_settings_reach_the_folder(tmp_path: Path) -> None:
    sd = miniature_sd(tmp_path / "sd", prediction="v_prediction")
    scheduler = json.loads((sd / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
    assert json.loads((sd / "model_index.json").read_text())["safety_checker"] == [None, None]
    ddpm = miniature_ddpm(tmp_path / "ddpm", learned_variance=True)
    assert load_file(ddpm / UNET)["conv_out.weight"].shape[0] == 6

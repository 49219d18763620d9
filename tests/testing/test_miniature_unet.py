"""The U-Net miniatures: made in a moment, the same for the same seed, stock folders."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from latentedit.testing.miniature_unet import miniature_ddpm, miniature_sd

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_same_seed_same_bytes(tmp_path: Path) -> None:
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

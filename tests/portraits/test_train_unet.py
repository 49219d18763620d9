import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit_portraits import recipes
from latentedit_portraits.dataset import render_split, to_pixels
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.train_unet import RECIPES, encode_latents, train_unet, with_folded_shift
from tests.portraits.runs import run_in


@torch.no_grad()
def test_the_folded_codec_gives_the_same_latents_and_pictures_without_a_shift(tmp_path: Path) -> None:
    renders = render_split(tmp_path, "train", 2, seed=0, framed=True, workers=1)
    pixels = to_pixels(renders.pixels, torch.device("cpu"))
    plain: Any = open_folder(bundled_folder("portraits")).load("vae")
    folded: Any = with_folded_shift(plain)
    assert folded.config.shift_factor is None
    assert folded.config.scaling_factor == plain.config.scaling_factor
    code, shift = plain.encode(pixels).latent_dist, plain.config.shift_factor
    # one more layer of exact ones: the rounding of float32
    assert torch.allclose(folded.encode(pixels).latent_dist.mode(), code.mode() - shift, atol=1e-5)
    assert torch.allclose(folded.encode(pixels).latent_dist.std, code.std, rtol=1e-5)
    assert torch.allclose(folded.decode(code.mode() - shift).sample, plain.decode(code.mode()).sample, atol=1e-4)


@torch.no_grad()
def test_latents_are_those_of_the_model_and_kept(tmp_path: Path) -> None:
    renders = render_split(tmp_path, "train", 3, seed=0, framed=True, workers=1)
    model = load("portraits", device="cpu")
    latents = encode_latents(model, renders, run_in(tmp_path), batch=2)
    expected = model.encode(to_pixels(renders.pixels, model.device)).numpy()
    # encoded in bfloat16, 8 bits, of values up to 5
    assert np.abs(latents - expected).mean() < 0.05
    (tmp_path / "latents.npy").touch()
    assert np.array_equal(encode_latents(model, renders, run_in(tmp_path)), latents)


def test_the_recipe_makes_a_stock_folder_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    monkeypatch.setitem(RECIPES, "cpu", (4, settings))
    monkeypatch.setattr(recipes, "measure_quality", lambda *_, **__: {"a measure": {"mean": 0.5}})
    folder = train_unet(tmp_path, "cpu", device="cpu", log=lambda _: None)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
    told = json.loads((folder / "latentedit.json").read_text())
    assert told["captioner"] == "portraits"
    assert told["fingerprint"] == load(folder, device="cpu").fingerprint
    assert (folder / "reference.png").is_file()
    assert "models train portraits-unet --recipe cpu" in (folder / "README.md").read_text()

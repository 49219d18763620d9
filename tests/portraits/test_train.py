import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from latentedit.api.calibrate import Calibration, calibrate_guard
from latentedit.core.errors import ConfigError
from latentedit.latents.drawing import draw_pictures
from latentedit.latents.guard import Guard
from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import read_settings
from latentedit_portraits import recipes
from latentedit_portraits import train as recipe
from latentedit_portraits import verify as verify_module
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.autoencoder import (
    build_autoencoder,
    decode,
    encode_posterior,
    fit_autoencoder,
    reconstruction_psnr_db,
)
from latentedit_portraits.dataset import render_split, to_pixels
from latentedit_portraits.fitting import FitSettings, Plan
from latentedit_portraits.render import render_array
from latentedit_portraits.train import encode_renders, reconstruct, rescale_channels, train, train_reader
from latentedit_portraits.train_kontext import train_kontext
from latentedit_portraits.train_pixels import RECIPES as PIXEL_RECIPES
from latentedit_portraits.train_pixels import train_discs, train_portraits
from latentedit_portraits.train_unet import RECIPES as UNET_RECIPES
from latentedit_portraits.train_unet import encode_latents, train_unet, with_folded_shift
from latentedit_portraits.verify import verify
from tests.portraits.runs import run_in

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize("train", [train, train_unet, train_discs, train_portraits])
def test_an_unknown_recipe_is_refused(train: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        train(tmp_path, "cpux")


@pytest.mark.parametrize("train", [train, train_unet, train_kontext, train_discs, train_portraits])
def test_a_folder_of_another_recipe_is_refused(train: Any, tmp_path: Path) -> None:
    """Its latents are of other pictures in another order, and of another codec."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    begun = functools.partial(train.func, *train.args[:2], stop)
    for _ in range(2):  # it goes on
        with pytest.raises(KeyboardInterrupt):
            begun(tmp_path, "cpu", device="cpu")
    with pytest.raises(ConfigError, match="is trained by another recipe"):
        begun(tmp_path, "gpu", device="cpu")


@pytest.mark.parametrize(
    ("name", "train", "plans"),
    [
        ("portraits-unet", train_unet, UNET_RECIPES),
        ("pixels-discs", train_discs, PIXEL_RECIPES),
        ("pixels-portraits", train_portraits, PIXEL_RECIPES),
    ],
)
def test_the_recipe_makes_a_stock_folder_with_its_figures(
    name: str, train: Any, plans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = "unet" if name == "portraits-unet" else "pixels"
    monkeypatch.setitem(
        plans, "cpu", Plan(pictures=4, recolored=2, fits={network: FitSettings(steps=1, batch=2, learning_rate=1e-3)})
    )
    monkeypatch.setattr("latentedit_portraits.unet._WIDTHS", (32, 32, 64))
    monkeypatch.setattr(recipes, "measure_quality", lambda *_, **__: {"a measure": {"mean": 0.5}})
    small = Calibration(pictures=2, steps=1, batch=2, harmed=1)
    monkeypatch.setattr(recipes, "calibrate_guard", functools.partial(calibrate_guard, how=small))
    monkeypatch.setattr(verify_module, "draw_pictures", functools.partial(draw_pictures, steps=3))
    folder = train(tmp_path, "cpu", device="cpu", log=lambda _: None)
    pipeline: Any = DiffusionPipeline.from_pretrained(folder)
    model, settings = load(folder, device="cpu"), read_settings(folder)
    if name == "portraits-unet":
        assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
        assert settings["captioner"] == "portraits"
        guard = Guard.of(model)
        assert guard is not None, "the guard comes with the model"
        assert guard.pictures == 2
    else:
        assert type(pipeline.unet).__name__ == "UNet2DModel"
        assert pipeline.scheduler.config.prediction_type == "v_prediction"
        assert model.capabilities.sizes == (64, 64, 64)
    assert settings["fingerprint"] == model.fingerprint
    assert len(verify(folder)) == 2
    assert f"models train {name} --recipe cpu" in (folder / "README.md").read_text()


@torch.no_grad()
def test_rescaling_channels_changes_latents_and_keeps_pictures(tmp_path: Path) -> None:
    renders = render_split(tmp_path, "train", 2, seed=0, framed=True, workers=1)
    pixels = to_pixels(renders.pixels, torch.device("cpu"))
    autoencoder = build_autoencoder(0)
    posterior = encode_posterior(autoencoder, pixels)
    picture, factor = decode(autoencoder, posterior.mode()), torch.linspace(0.5, 2.0, 8)
    rescale_channels(autoencoder, factor)
    scaled = encode_posterior(autoencoder, pixels)
    # float32 through some twenty layers
    assert torch.allclose(scaled.mode() * factor[:, None, None], posterior.mode(), atol=1e-4)
    assert torch.allclose(scaled.std * factor[:, None, None], posterior.std, rtol=1e-3)
    assert torch.allclose(decode(autoencoder, scaled.mode()), picture, atol=1e-3)


def test_latents_are_normalised_and_kept(tmp_path: Path) -> None:
    renders = render_split(tmp_path, "train", 6, seed=0, framed=True, workers=1)
    autoencoder = build_autoencoder(0)
    latents = encode_renders(autoencoder, renders, run_in(tmp_path))
    assert latents.shape == (6, 8, 16, 16)
    assert latents.astype(np.float32).mean() == pytest.approx(0, abs=1e-2)
    assert latents.astype(np.float32).std() == pytest.approx(1, abs=1e-2)
    pixels = to_pixels(renders.pixels, torch.device("cpu"))
    with torch.no_grad():
        mode = encode_posterior(autoencoder, pixels).mode()
    config = autoencoder.config
    expected = (mode - config.shift_factor) * config.scaling_factor
    # the stored latents were encoded in 8 bits (bfloat16) where that is fast, of values up to 5
    assert np.abs(expected.numpy() - latents).mean() < 0.05
    again = build_autoencoder(0)
    assert np.array_equal(encode_renders(again, renders, run_in(tmp_path)), latents)
    assert again.config.scaling_factor == config.scaling_factor


def test_the_reader_is_trained_once_on_renders_and_what_the_codec_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "_RECONSTRUCTED", 2)
    renders = render_split(tmp_path, "train", 4, seed=0, framed=True, workers=1)
    autoencoder, settings = build_autoencoder(0), FitSettings(steps=4, batch=2, learning_rate=1e-3)
    told: list[str] = []
    run = run_in(tmp_path, progress=lambda name, done, total: told.append(name))
    reader, _ = train_reader(autoencoder, renders, settings, run)
    assert [told.count(name) for name in ("reconstructions", "reader")] == [1, 4]
    decoded = np.load(tmp_path / "reconstructions-2.npy")
    assert np.array_equal(decoded, reconstruct(autoencoder, renders.pixels[:2], lambda *_: None))
    again, _ = train_reader(autoencoder, renders, settings, run)
    assert len(told) == 5, "the second call had nothing left to do"
    for one, other in zip(reader.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


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
    latents = encode_latents(model, renders, run_in(tmp_path))
    expected = model.encode(to_pixels(renders.pixels, model.device)).numpy()
    # encoded in 8 bits (bfloat16) where that is fast, of values up to 5
    assert np.abs(latents - expected).mean() < 0.05
    (tmp_path / "latents.npy").touch()
    assert np.array_equal(encode_latents(model, renders, run_in(tmp_path)), latents)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([render_array(item, 64) for item in draw_split("train", 4, 0)])


def test_a_few_steps_lower_the_error(pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the last of them leave the latents as they are."""
    monkeypatch.setattr("latentedit_portraits.autoencoder._CROP", 32)
    autoencoder = build_autoencoder(0)
    whole, found = to_pixels(pictures, torch.device("cpu")), list[tuple[float, torch.Tensor]]()
    settings = FitSettings(steps=4, batch=4, learning_rate=2e-3, warm_up=1, average=0.5)
    for stages in ((0, 0, 0), (4, 4, 0), (4, 4, 4)):
        names = ("autoencoder", "autoencoder_whole", "decoder")
        plans = {name: dataclasses.replace(settings, steps=n) for name, n in zip(names, stages, strict=True)}
        fit_autoencoder(autoencoder, pictures[:2], pictures[2:], plans, run_in(tmp_path))
        with torch.no_grad():
            mode = encode_posterior(autoencoder, whole).mode()
        found.append((float(np.mean(reconstruction_psnr_db(autoencoder, pictures))), mode))
    (untrained, _), (coded, latents), (decoded, same) = found
    assert untrained + 0.3 < min(coded, decoded)
    assert coded != decoded  # four steps of the decoder alone may go either way, by rounding
    assert torch.equal(latents, same)
    assert all(one.requires_grad for one in autoencoder.parameters())


def test_psnr_of_a_known_error(pictures: np.ndarray) -> None:
    autoencoder = build_autoencoder(0)
    with torch.no_grad():
        autoencoder.decoder.conv_out.weight.zero_()  # it now decodes everything to mid-grey
        autoencoder.decoder.conv_out.bias.zero_()
    black = np.zeros_like(pictures)
    # error 1 on a range of 2: 10 log10(4)
    assert reconstruction_psnr_db(autoencoder, black) == pytest.approx([6.0206] * 4, abs=1e-3)

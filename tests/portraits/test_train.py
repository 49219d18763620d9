from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit_portraits import train as recipe
from latentedit_portraits.autoencoder import build_autoencoder, decode, encode_posterior
from latentedit_portraits.dataset import render_split, to_pixels
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.train import encode_renders, reconstruct, rescale_channels, train, train_reader
from latentedit_portraits.train_pixels import train_discs, train_portraits
from latentedit_portraits.train_unet import train_unet
from tests.portraits.runs import run_in


@pytest.mark.parametrize("recipe", [train, train_unet, train_discs, train_portraits])
def test_an_unknown_recipe_is_refused(recipe: Callable[[Path, str], Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        recipe(tmp_path, "cpux")


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
    latents = encode_renders(autoencoder, renders, run_in(tmp_path), batch=3)
    assert latents.shape == (6, 8, 16, 16)
    assert latents.astype(np.float32).mean() == pytest.approx(0, abs=1e-2)
    assert latents.astype(np.float32).std() == pytest.approx(1, abs=1e-2)
    pixels = to_pixels(renders.pixels, torch.device("cpu"))
    with torch.no_grad():
        mode = encode_posterior(autoencoder, pixels).mode()
    config = autoencoder.config
    expected = (mode - config.shift_factor) * config.scaling_factor
    # the stored latents were encoded in bfloat16, 8 bits, of values up to 5
    assert np.abs(expected.numpy() - latents).mean() < 0.05
    again = build_autoencoder(0)
    assert np.array_equal(encode_renders(again, renders, run_in(tmp_path)), latents)
    assert again.config.scaling_factor == config.scaling_factor


def test_reconstructions_are_pictures(tmp_path: Path) -> None:
    renders = render_split(tmp_path, "train", 2, seed=0, framed=True, workers=1)
    pictures = reconstruct(build_autoencoder(0), renders.pixels)
    assert pictures.shape == renders.pixels.shape
    assert pictures.dtype == np.uint8


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
    assert np.array_equal(decoded, reconstruct(autoencoder, renders.pixels[:2]))
    again, _ = train_reader(autoencoder, renders, settings, run)
    assert len(told) == 5, "the second call had nothing left to do"
    for one, other in zip(reader.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)

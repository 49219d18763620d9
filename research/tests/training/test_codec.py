"""The image codec: rescaled channels, normalized latents, and PSNR."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit import load
from latentedit_drawn.render import render_array
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.classifiers import to_pixels
from research.tests.training.runs import trainer_in
from research.training.codec import (
    build_autoencoder,
    decode,
    encode_posterior,
    normalized_latents,
    reconstruction_psnr_db,
    rescale_channels,
)
from research.training.data import encode_latents

pytestmark = pytest.mark.nightly

IMAGES, SMALL = (np.stack([render_array(item, side) for item in draw_split("train", 6, 0)]) for side in (128, 64))
SMALL = SMALL[:4]


@torch.no_grad()
def test_rescaling_channels_changes_only_latents() -> None:
    pixels = to_pixels(IMAGES[:2])
    autoencoder = build_autoencoder()
    posterior = encode_posterior(autoencoder, pixels)
    image, factor = decode(autoencoder, posterior.mode()), torch.linspace(0.5, 2.0, 8)
    rescale_channels(autoencoder, factor)
    scaled = encode_posterior(autoencoder, pixels)
    # float32 through some twenty layers
    assert torch.allclose(scaled.mode() * factor[:, None, None], posterior.mode(), atol=1e-4)
    assert torch.allclose(scaled.std * factor[:, None, None], posterior.std, rtol=1e-3)
    assert torch.allclose(decode(autoencoder, scaled.mode()), image, atol=1e-3)


def test_latents_are_normalized_and_cached(tmp_path: Path) -> None:
    autoencoder = build_autoencoder()
    latents = normalized_latents(autoencoder, IMAGES, trainer_in(tmp_path))
    assert latents.shape == (6, 8, 16, 16)
    assert latents.astype(np.float32).mean() == pytest.approx(0, abs=1e-2)
    assert latents.astype(np.float32).std() == pytest.approx(1, abs=1e-2)
    with torch.no_grad():
        mode = encode_posterior(autoencoder, to_pixels(IMAGES)).mode()
    config = autoencoder.config
    expected = (mode - config.shift_factor) * config.scaling_factor
    # the stored latents were encoded in 8 bits (bfloat16) where that is fast, of values up to 5
    assert np.abs(expected.numpy() - latents).mean() < 0.05
    again = build_autoencoder()
    assert np.array_equal(normalized_latents(again, IMAGES, trainer_in(tmp_path)), latents)
    assert again.config.scaling_factor == config.scaling_factor


@torch.no_grad()
def test_latents_are_those_of_the_model_and_cached(tmp_path: Path) -> None:
    model = load("portraits", device="cpu")
    latents = encode_latents(model, IMAGES[:3], trainer_in(tmp_path))
    expected = model.encode(to_pixels(IMAGES[:3])).numpy()
    # encoded in 8 bits (bfloat16) where that is fast, of values up to 5
    assert np.abs(latents - expected).mean() < 0.05
    (tmp_path / "latents.npy").touch()
    assert np.array_equal(encode_latents(model, IMAGES[:3], trainer_in(tmp_path)), latents)


def test_psnr_of_a_known_error() -> None:
    autoencoder = build_autoencoder()
    with torch.no_grad():
        autoencoder.decoder.conv_out.weight.zero_()  # it now decodes everything to mid-gray
        autoencoder.decoder.conv_out.bias.zero_()
    black = np.zeros_like(SMALL)
    # error 1 on a range of 2: 10 log10(4)
    assert reconstruction_psnr_db(autoencoder, black) == pytest.approx([6.0206] * 4, abs=1e-3)

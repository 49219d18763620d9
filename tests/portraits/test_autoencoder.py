from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.autoencoder import build_autoencoder, fit_autoencoder, reconstruction_psnr_db
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.render import render_array
from tests.portraits.runs import run_in


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([render_array(item) for item in draw_split("train", 4, 0)])


def test_a_few_steps_lower_the_error(pictures: np.ndarray, tmp_path: Path) -> None:
    autoencoder = build_autoencoder(0)
    before = np.mean(reconstruction_psnr_db(autoencoder, pictures))
    settings = FitSettings(steps=12, batch=2, learning_rate=2e-3, warm_up=1, average=0.5)
    fit_autoencoder(autoencoder, pictures, settings, run_in(tmp_path))
    assert np.mean(reconstruction_psnr_db(autoencoder, pictures)) > before + 0.5


def test_psnr_of_a_known_error(pictures: np.ndarray) -> None:
    autoencoder = build_autoencoder(0)
    with torch.no_grad():
        autoencoder.decoder.conv_out.weight.zero_()  # it now decodes everything to mid-grey
        autoencoder.decoder.conv_out.bias.zero_()
    black = np.zeros_like(pictures)
    # error 1 on a range of 2: 10 log10(4)
    assert reconstruction_psnr_db(autoencoder, black) == pytest.approx([6.0206] * 4, abs=1e-3)

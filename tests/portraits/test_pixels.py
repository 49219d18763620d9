from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.pixels import SIDE, draw_discs, fit_pixels, noise_scheduler, shrink
from tests.portraits.runs import run_in


def test_discs_are_one_colour_on_white_and_as_large_as_drawn() -> None:
    pictures = draw_discs(20, seed=0)
    assert pictures.shape == (20, SIDE, SIDE, 3)
    for picture in pictures:
        assert (picture[0] == 255).all()
        inside = (picture.min(2) < 128).mean()
        # radii of .1 to .2 of a side, and half a pixel at the edge: 2 pi r / (2 * 64)
        assert np.pi * 0.1**2 - 0.01 < inside < np.pi * 0.2**2 + 0.01
        darkest = picture.reshape(-1, 3)[picture.sum(2).argmin()]
        assert darkest.min() == 0
        assert darkest.max() == 255, "a pure hue"
    assert np.array_equal(draw_discs(5, seed=0), pictures[:5])
    assert not np.array_equal(draw_discs(5, seed=1), pictures[:5])


def test_pictures_shrink_as_pillows_box_filter_does() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    theirs = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX)) for one in pictures]
    assert np.abs(shrink(pictures).astype(int) - np.stack(theirs)).max() <= 1, "halves are rounded either way"


class _Answer(torch.nn.Module):
    """Says the same of all pictures, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x_t: torch.Tensor, times: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        self.asked.append((x_t, times))
        return (self.value.expand_as(x_t),)


def test_it_learns_v_at_all_times(tmp_path: Path) -> None:
    network: Any = _Answer()
    white = np.full((4, SIDE, SIDE, 3), 255, np.uint8)
    settings = FitSettings(steps=1, batch=8, learning_rate=1e-3)
    told: list[str] = []
    fit_pixels(network, white, settings, run_in(tmp_path, log=told.append))
    x_t, times = network.asked[0]
    assert times.sort().values.div(125, rounding_mode="floor").tolist() == list(range(8)), "one an eighth of the range"
    alphas = noise_scheduler().alphas_cumprod[times.long()]
    alpha, sigma = alphas.sqrt()[:, None, None, None], (1 - alphas).sqrt()[:, None, None, None]
    noise = (x_t - alpha) / sigma
    loss = float(told[0].split("loss ")[1].split()[0])
    # diffusers' own target for v, with a picture of ones; five digits are printed
    target = noise_scheduler().get_velocity(torch.ones_like(noise), noise, times.long())
    assert loss == pytest.approx(float(target.square().mean()), abs=2e-4)

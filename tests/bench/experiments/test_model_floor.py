"""The model's floor against the closed form of Gaussian images, whose flow is affine."""

from typing import Any

import pytest
import torch

from latentedit.latents.drawing import draw_images, in_8_bits
from latentedit_bench.experiments.model_floor import model_floor
from latentedit_bench.experiments.study import Study
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone

LEVELS = (0.95, 0.6, 0.3)


def rows(image: int, model: ColorBackbone, **settings: Any) -> list[dict[str, Any]]:
    study = Study(backbone=model, latents=(), levels=LEVELS, texts=("red", "blue"))
    return list(model_floor.function(study, image, **settings))


@pytest.mark.parametrize(("image", "color"), [(0, "red"), (3, "blue")])
def test_the_floor_of_gaussian_images_is_the_closed_form(image: int, color: str) -> None:
    """The flow takes ``(1 - s) m + r w`` to ``m + sqrt(var) w``, with ``r^2 = (1 - s)^2 var + s^2``; noises cancel."""
    drawn = in_8_bits(draw_images(ColorBackbone(), [color], seed=0, first=image)).double()
    away = drawn - torch.tensor(COLORS[color])[:, None, None]
    for row, s in zip(rows(image, ColorBackbone(), steps=200), LEVELS, strict=True):
        kept = (1 - s) * (VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)) ** 0.5
        expected = 10 * (4 / ((1 - kept) * away).square().mean()).log10()
        assert (row["level"], row["codec_db"]) == (s, 100), "the codec is exact"
        assert row["psnr_db"] == pytest.approx(float(expected), abs=0.2)  # Euler steps, and 8 bits
        assert row["lost_db"] == 100 - row["psnr_db"]


def test_it_costs_what_it_states_and_the_codec_counts_at_every_level() -> None:
    model = ColorBackbone()
    exact = rows(0, model, steps=3)
    model.decode = lambda z: 0.9 * z
    with model.count() as cost:
        found = rows(0, model, steps=3)
    assert cost.evaluations == 28 + 2 * 3 * len(LEVELS)
    assert all(one["codec_db"] < 100 for one in found)
    assert [one["level"] for one in found] == [one["level"] for one in exact]

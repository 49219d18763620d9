"""The model's floor against the closed form of Gaussian images, whose flow is affine."""

from typing import Any

import pytest
import torch

from latentedit.guard.floor import model_floor
from latentedit.latents.drawing import draw_images, in_8_bits
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone


def test_the_floor_of_gaussian_images_is_the_closed_form() -> None:
    """The flow takes ``(1 - s) m + r w`` to ``m + sqrt(var) w``, with ``r^2 = (1 - s)^2 var + s^2``; noises cancel."""
    levels = (0.95, 0.3, 0.6)
    found = model_floor(ColorBackbone(), captions=["red"], levels=levels, images=12, steps=200)
    assert [one.level for one in found] == [0.0, 0.3, 0.6, 0.95]
    assert (found[0].error["mean"], found[0].psnr_db["mean"]) == (0, 100), "the codec is exact"
    image = in_8_bits(draw_images(ColorBackbone(), 12 * ["red"])).double()
    away = image - torch.tensor(COLORS["red"])[:, None, None]
    for one in found[1:]:
        s = one.level
        kept = (1 - s) * (VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)) ** 0.5
        squares = ((1 - kept) * away).square().flatten(1).mean(1)
        relative = squares / image.flatten(2).var(2, correction=0).mean(1)
        assert one.error["mean"] == pytest.approx(float(relative.mean()), rel=0.03)  # Euler steps, and 8 bits
        assert one.psnr_db["mean"] == pytest.approx(float((10 * (4 / squares).log10()).mean()), abs=0.2)
        assert one.error["low"] < one.error["mean"] < one.error["high"]


def test_it_costs_what_it_states_and_the_codec_counts_at_every_level() -> None:
    report: list[Any] = []
    about: Any = {"captions": ["red"], "images": 10, "steps": 3, "levels": (0.1, 0.5)}
    model = ColorBackbone()
    exact = model_floor(model, **about)
    model.decode = lambda z: 0.9 * z
    with model.count() as cost:
        found = model_floor(model, progress=lambda *step: report.append(step), **about)
    assert cost.evaluations == 10 * (28 + 2 * 3 * 2)
    assert report == [("floor", 8, 10), ("floor", 10, 10)]
    assert all(one.error["mean"] > other.error["mean"] for one, other in zip(found, exact, strict=True))

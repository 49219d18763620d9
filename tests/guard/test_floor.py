"""The model's floor against the closed form of Gaussian images, whose flow is affine."""

import dataclasses
from typing import Any

import pytest
import torch

from latentedit.guard.floor import LEVELS, model_floor, refinement_level
from latentedit.latents.drawing import draw_pictures, in_8_bits
from tests.editors.colours import COLOURS, VARIANCE, ColourBackbone


def test_the_floor_of_gaussian_images_is_the_closed_form() -> None:
    """The flow takes ``(1 - s) m + r w`` to ``m + sqrt(var) w``, with ``r^2 = (1 - s)^2 var + s^2``; noises cancel."""
    levels = (0.95, 0.3, 0.6)
    found = model_floor(ColourBackbone(), captions=["red"], levels=levels, pictures=12, steps=200)
    assert [one.level for one in found] == [0.0, 0.3, 0.6, 0.95]
    assert (found[0].error["mean"], found[0].psnr_db["mean"]) == (0, 100), "the codec is exact"
    image = in_8_bits(draw_pictures(ColourBackbone(), 12 * ["red"])).double()
    away = image - torch.tensor(COLOURS["red"])[:, None, None]
    for one in found[1:]:
        s = one.level
        kept = (1 - s) * (VARIANCE / ((1 - s) ** 2 * VARIANCE + s**2)) ** 0.5
        squares = ((1 - kept) * away).square().flatten(1).mean(1)
        relative = squares / image.flatten(2).var(2, correction=0).mean(1)
        assert one.error["mean"] == pytest.approx(float(relative.mean()), rel=0.03)  # Euler steps, and 8 bits
        assert one.psnr_db["mean"] == pytest.approx(float((10 * (4 / squares).log10()).mean()), abs=0.2)
        assert one.error["low"] < one.error["mean"] < one.error["high"]


def test_it_costs_what_it_says_and_names_the_level_at_which_the_model_errs_as_little_as_the_codec() -> None:
    told: list[Any] = []
    model = ColourBackbone()
    model.decode = lambda z: 0.9 * z
    with model.count() as cost:
        found = model_floor(model, captions=["red"], pictures=10, steps=9, progress=lambda *step: told.append(step))
    assert cost.evaluations == 10 * (28 + 2 * 9 * len(LEVELS))
    assert told == [("floor", 8, 10), ("floor", 10, 10)]
    errors = {one.level: one.error["mean"] / found[0].error["mean"] for one in found}
    level = refinement_level(found)
    assert level is not None
    assert errors[level] <= 2 < min(error for above, error in errors.items() if above > level)
    assert refinement_level([dataclasses.replace(found[0], error={"mean": 0.0}), *found[1:]]) is None

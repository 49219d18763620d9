"""Cached images on disk are computed once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from latentedit_drawn.render import render_array
from latentedit_portraits.attributes import draw_split
from research.tests.training.runs import trainer_in
from research.training import data
from research.training.data import portrait_images, render_cached
from research.training.loop import Plan


def render_numbers(start: int, items: Sequence[int]) -> list[np.ndarray]:
    if 5 in items and not ALLOWED:
        raise KeyboardInterrupt
    return [np.full((2, 2, 3), 10 * item + (start == items[0]), np.uint8) for item in items]


ALLOWED = False


def test_renders_survive_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHUNK", 2)
    monkeypatch.setattr(data.os, "cpu_count", lambda: 1)
    reported: list[tuple[int, int]] = []
    trainer = trainer_in(tmp_path, progress=lambda _, *done: reported.append(done))
    with pytest.raises(KeyboardInterrupt):
        render_cached("numbers", range(7), render_numbers, trainer)
    cached = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "renders").iterdir()}
    assert [*sorted(cached)] == ["numbers-0-2.npy", "numbers-2-2.npy"]
    monkeypatch.setattr(f"{__name__}.ALLOWED", True)
    pixels = render_cached("numbers", range(7), render_numbers, trainer)
    assert pixels[:, 0, 0, 0].tolist() == [10 * item + 1 for item in range(7)]
    assert reported == [(2, 7), (4, 7), (2, 7), (4, 7), (6, 7), (7, 7)]
    assert cached.items() <= {file.name: file.stat().st_mtime_ns for file in (tmp_path / "renders").iterdir()}.items()


def test_images_belong_to_their_attributes(tmp_path: Path) -> None:
    pixels, portraits = portrait_images(trainer_in(tmp_path), Plan(images=3, recolored=2, provenance="", fits={}))
    assert pixels.shape == (5, 128, 128, 3)
    assert set(portraits) >= set(draw_split("train", 3, 0))
    for image, portrait in zip(pixels, portraits, strict=True):
        if portrait in draw_split("train", 3, 0):
            assert np.abs(image.astype(int) - render_array(portrait)).mean() < 25, "except for framing and tint"

"""The framer finds portraits wherever they sit, and leaves alone what sits right or is none."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.latents.crop import cut
from latentedit.models.registry import bundled_folder
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.framer import PortraitFramer, build_framer, fit_framer
from latentedit_portraits.render import Framing, render
from latentedit_portraits.variety import VIEW_SIZE, Views, draw_any_framing, render_other, render_view, render_views
from tests.portraits.runs import run_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundled() -> PortraitFramer:
    return PortraitFramer.from_folder(bundled_folder("portraits"))


@pytest.mark.parametrize("size", [64, 128, 300])
def test_standard_portraits_stay_whole(bundled: PortraitFramer, size: int) -> None:
    assert bundled.boxes([render(item, size) for item in draw_split("test", 8, 11)]) == [None] * 8


@pytest.mark.nightly
@pytest.mark.parametrize("size", [100, 128, 400])
def test_portraits_framed_otherwise_are_found(bundled: PortraitFramer, size: int) -> None:
    """Against the renderer's own framing: side = size * zoom, centre = (1/2 + shift) size."""
    generator = random.Random(f"found/{size}")
    for item in draw_split("test", 6, 12):
        zoom = generator.choice((0.5, 0.6, 0.72, 1.3))
        shift_x, shift_y = generator.uniform(-0.12, 0.12), generator.uniform(-0.12, 0.12)
        box = bundled.boxes([render(item, size, Framing(zoom=zoom, shift_x=shift_x, shift_y=shift_y))])[0]
        assert box is not None
        left, top, width, height = box
        assert width == height
        assert abs(math.log(width / (size * zoom))) < 0.1
        assert abs(left + width / 2 - (0.5 + shift_x) * size) < 0.05 * width
        assert abs(top + height / 2 - (0.5 + shift_y) * size) < 0.05 * width


@pytest.mark.nightly
def test_what_was_found_needs_no_framing(bundled: PortraitFramer) -> None:
    images = [render(item, 300, Framing(zoom=0.65, shift_x=0.1)) for item in draw_split("test", 10, 13)]
    boxes = bundled.boxes(images)
    views = [cut(image, box) for image, box in zip(images, boxes, strict=True) if box is not None]
    assert len(views) == 10
    assert bundled.boxes(views) == [None] * 10


@pytest.mark.nightly
def test_pictures_without_a_portrait_stay_whole(bundled: PortraitFramer) -> None:
    generator = random.Random("other")
    images = [Image.fromarray(render_other(generator)) for _ in range(40)]
    images += [Image.new("RGB", (50, 80), color) for color in ("white", "black", "navy")]
    assert bundled.boxes(images).count(None) >= 42


@pytest.mark.nightly
def test_training_learns_a_few_views_by_heart(tmp_path: Path) -> None:
    generator = random.Random("views")
    framings = [draw_any_framing(generator) for _ in range(12)]
    rows = [(item.shift_x, item.shift_y, math.log(item.zoom), 1.0) for item in framings]
    pixels = np.stack([render_view(item, generator) for item in framings])
    views = Views(pixels=pixels, framings=np.asarray(rows, dtype=np.float32))
    network = build_framer(0)
    losses: list[str] = []
    settings = FitSettings(steps=80, batch=16, learning_rate=2e-3, warm_up=5, average=0.9)
    assert fit_framer(network, views, settings, run_in(tmp_path, log=losses.append)) > 0
    assert "80/80" in losses[-1]
    with torch.no_grad():
        found = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    wanted = torch.from_numpy(views.framings)
    spread = (wanted[:, 2] - wanted[:, 2].mean()).abs().mean()
    assert (found[:, 2] - wanted[:, 2]).abs().mean() < 0.4 * spread
    assert (found[:, 3] > 0).all()


def test_a_view_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    framing = Framing(zoom=0.7, shift_x=0.1)
    views = [render_view(framing, random.Random(seed)) for seed in (1, 1, 2)]
    assert views[0].shape == (VIEW_SIZE, VIEW_SIZE, 3)
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_framing_says_where_the_portrait_sits() -> None:
    """At half the zoom, one sixteenth to the right, the middle of a view twice as large is the view at full zoom.

    Seed 0 draws a plain background and repeats no edges, which would differ between the two.
    """
    near = render_view(Framing(), random.Random(0), size=64)
    far = render_view(Framing(zoom=0.5, shift_x=1 / 16, shift_y=-1 / 8), random.Random(0), size=128)
    assert np.abs(far[16:80, 40:104].astype(int) - near.astype(int)).max() < 16
    assert np.abs(far[32:96, 32:96].astype(int) - near.astype(int)).mean() > 5


def test_half_of_the_framings_are_about_standard_and_the_rest_reach_far() -> None:
    generator = random.Random(5)
    framings = [draw_any_framing(generator) for _ in range(400)]
    near = [item for item in framings if max(abs(item.shift_x), abs(item.shift_y)) <= 0.1 and 0.8 < item.zoom < 1.25]
    assert 0.5 < len(near) / len(framings) < 0.7
    assert min(item.zoom for item in framings) < 0.4
    assert max(item.zoom for item in framings) > 1.6


@pytest.mark.nightly
def test_views_are_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "new" / "views.npz", []
    first = render_views(path, 24, seed=7, workers=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(24, 24)]
    assert first.pixels.shape == (24, VIEW_SIZE, VIEW_SIZE, 3)
    assert 0 < first.framings[:, 3].sum() < 24
    assert not first.framings[first.framings[:, 3] == 0].any()
    again = render_views(path, 24, seed=7, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 1
    assert np.array_equal(again.pixels, first.pixels)
    assert np.array_equal(again.framings, first.framings)

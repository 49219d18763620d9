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
from latentedit_portraits.variety import Views, draw_any_framing, render_other, render_view
from tests.portraits.runs import run_in


@pytest.fixture(scope="module")
def bundled() -> PortraitFramer:
    return PortraitFramer.from_folder(bundled_folder("portraits"))


@pytest.mark.parametrize("size", [64, 128, 600])
def test_standard_portraits_stay_whole(bundled: PortraitFramer, size: int) -> None:
    assert bundled.boxes([render(item, size) for item in draw_split("test", 20, 11)]) == [None] * 20


@pytest.mark.parametrize("size", [100, 128, 700])
def test_portraits_framed_otherwise_are_found(bundled: PortraitFramer, size: int) -> None:
    """Against the renderer's own framing: side = size * zoom, centre = (1/2 + shift) size."""
    generator = random.Random(f"found/{size}")
    for item in draw_split("test", 12, 12):
        zoom = generator.choice((0.5, 0.6, 0.72, 1.3))
        shift_x, shift_y = generator.uniform(-0.12, 0.12), generator.uniform(-0.12, 0.12)
        box = bundled.boxes([render(item, size, Framing(zoom=zoom, shift_x=shift_x, shift_y=shift_y))])[0]
        assert box is not None
        left, top, width, height = box
        assert width == height
        assert abs(math.log(width / (size * zoom))) < 0.1
        assert abs(left + width / 2 - (0.5 + shift_x) * size) < 0.05 * width
        assert abs(top + height / 2 - (0.5 + shift_y) * size) < 0.05 * width


def test_what_was_found_needs_no_framing(bundled: PortraitFramer) -> None:
    images = [render(item, 300, Framing(zoom=0.65, shift_x=0.1)) for item in draw_split("test", 10, 13)]
    boxes = bundled.boxes(images)
    views = [cut(image, box) for image, box in zip(images, boxes, strict=True) if box is not None]
    assert len(views) == 10
    assert bundled.boxes(views) == [None] * 10


def test_pictures_without_a_portrait_stay_whole(bundled: PortraitFramer) -> None:
    generator = random.Random("other")
    images = [Image.fromarray(render_other(generator)) for _ in range(40)]
    images += [Image.new("RGB", (50, 80), color) for color in ("white", "black", "navy")]
    assert bundled.boxes(images).count(None) >= 42


def test_saving_and_loading(tmp_path: Path) -> None:
    framer = PortraitFramer(build_framer(3))
    framer.save(tmp_path)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = framer.network(pixels), PortraitFramer.from_folder(tmp_path).network(pixels)
    assert torch.allclose(found, expected, atol=5e-3)
    assert not torch.allclose(build_framer(4)(pixels), expected, atol=5e-3)


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

"""The framer finds portraits of other framings, and leaves standard portraits and other images uncropped."""

import math
import random

import pytest

from latentedit.encoding.images import cut
from latentedit_drawn.render import Framing, render
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.framer import PortraitFramer

BUNDLED = PortraitFramer.bundled()


@pytest.mark.parametrize("size", [64, 128])
def test_standard_portraits_are_not_cropped(size: int) -> None:
    assert BUNDLED.boxes([render(item, size) for item in draw_split("test", 8, 11)]) == [None] * 8


@pytest.mark.nightly
@pytest.mark.parametrize("size", [100, 128, 400])
def test_portraits_of_other_framings_are_found(size: int) -> None:
    """Compared with the renderer's framing: side = size * zoom, center = (1/2 + shift) size."""
    generator = random.Random(f"found/{size}")
    for item in draw_split("test", 6, 12):
        zoom = generator.choice((0.5, 0.6, 0.72, 1.3))
        shift_x, shift_y = generator.uniform(-0.12, 0.12), generator.uniform(-0.12, 0.12)
        box = BUNDLED.boxes([render(item, size, Framing(zoom=zoom, shift_x=shift_x, shift_y=shift_y))])[0]
        assert box is not None
        left, top, width, height = box
        assert width == height
        assert abs(math.log(width / (size * zoom))) < 0.1
        assert abs(left + width / 2 - (0.5 + shift_x) * size) < 0.05 * width
        assert abs(top + height / 2 - (0.5 + shift_y) * size) < 0.05 * width


@pytest.mark.nightly
def test_a_crop_is_not_cropped_again() -> None:
    images = [render(item, 300, Framing(zoom=0.65, shift_x=0.1)) for item in draw_split("test", 10, 13)]
    boxes = BUNDLED.boxes(images)
    views = [cut(image, box) for image, box in zip(images, boxes, strict=True) if box is not None]
    assert len(views) == 10
    assert BUNDLED.boxes(views) == [None] * 10

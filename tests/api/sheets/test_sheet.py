"""The sheet shows both pictures and a difference whose factor is the one written under it."""

import numpy as np
import pytest
from PIL import Image

from latentedit.api.sheets.sheet import amplified_difference, draw_sheet
from latentedit.core.errors import ShapeError
from tests.api.sheets.boxes import box_of


def plain(size: tuple[int, int] = (40, 30), color: tuple[int, ...] = (90, 120, 150)) -> Image.Image:
    return Image.new("RGB", size, color)


def changed(by: int, share: float) -> Image.Image:
    values = np.asarray(plain((100, 100))).copy()
    values[: round(100 * share), :, 0] += np.uint8(by)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("by", "share", "factor"),
    [(100, 0.5, 4), (100, 0.01, 32), (20, 0.5, 8), (10, 0.5, 16), (3, 0.5, 32)],
)
def test_the_factor_is_the_largest_that_saturates_at_most_one_percent(by: int, share: float, factor: int) -> None:
    difference, found = amplified_difference(plain((100, 100)), changed(by, share))
    assert found == factor
    assert np.asarray(difference)[0, 0].tolist() == [min(255, by * factor), 0, 0]
    assert not np.asarray(difference)[-1].any()


def test_differences_of_one_size() -> None:
    difference, factor = amplified_difference(plain(), plain())
    assert factor == 1
    assert not np.asarray(difference).any()
    with pytest.raises(ShapeError, match="one size"):
        draw_sheet(plain((40, 30)), plain((30, 40)), title="t")


@pytest.mark.nightly
def test_the_three_pictures_lie_side_by_side() -> None:
    sheet = np.asarray(draw_sheet(plain(), plain(color=(200, 100, 150)), title="t", lines=("one", "two " * 200)))
    boxes = [box_of(sheet, plain(color=color)) for color in ((90, 120, 150), (200, 100, 150), (255, 80, 0))]
    assert len({box[1:] for box in boxes}) == 1
    assert boxes[0][0] < boxes[1][0] < boxes[2][0]

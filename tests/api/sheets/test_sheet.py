"""The sheet shows both pictures and a difference whose factor is the one written under it."""

import numpy as np
import pytest
from PIL import Image

from latentedit.api.sheets.sheet import amplified_difference, draw_sheet
from latentedit.core.errors import ShapeError


def plain(size: tuple[int, int] = (40, 30), color: tuple[int, ...] = (90, 120, 150), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)


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


def test_no_difference_is_black_and_not_amplified() -> None:
    difference, factor = amplified_difference(plain(), plain())
    assert factor == 1
    assert not np.asarray(difference).any()


@pytest.mark.parametrize("size", [(128, 128), (2, 2), (1000, 20), (20, 1000), (900, 600)])
def test_the_three_pictures_lie_side_by_side(size: tuple[int, int]) -> None:
    sheet = np.asarray(draw_sheet(plain(size), plain(size, (200, 20, 20)), title="t", lines=("one", "two " * 200)))
    counts = [int((sheet == color).all(axis=2).sum()) for color in ((90, 120, 150), (200, 20, 20))]
    assert counts[0] == counts[1] >= 384 * max(1, round(384 * min(size) / max(size)))
    columns = [np.nonzero((sheet == color).all(axis=(2)))[1] for color in ((90, 120, 150), (200, 20, 20))]
    assert columns[0].max() < columns[1].min()


def test_the_sheet_is_the_same_every_time() -> None:
    sheets = [draw_sheet(plain(), plain(color=(1, 2, 3)), title="a", lines=("b",)).tobytes() for _ in range(2)]
    assert sheets[0] == sheets[1]


def test_long_titles_do_not_widen_the_sheet() -> None:
    short, long = (draw_sheet(plain(), plain(), title="title " * count) for count in (1, 100))
    assert short.size == long.size


def test_transparent_parts_are_white() -> None:
    clear = plain((50, 50), (0, 0, 0, 0), "RGBA")
    sheet = np.asarray(draw_sheet(clear, clear, title="t"))
    assert (sheet[200, 40:400] == 255).all()


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match="one size"):
        draw_sheet(plain((40, 30)), plain((30, 40)), title="t")

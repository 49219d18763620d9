"""Pictures stand in their places, labels below theirs, and text stays within its width."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from latentedit.api.sheets.drawing import (
    GREY,
    INK,
    PANEL_PX,
    check_one_size,
    draw_grid,
    fitted,
    on_white,
    shortened,
    wrapped,
)
from latentedit.core.errors import ShapeError
from tests.api.sheets.boxes import box_of
from tests.editors.pictures import plain, series

pytestmark = pytest.mark.slow

WORDS = st.lists(st.text(alphabet="abcMW.,-→é", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)
WIDE = 100_000


def text_width(text: str, size_px: int) -> float:
    return ImageFont.load_default(size_px).getlength(text)


def pixels(sheet: Image.Image) -> np.ndarray:
    return np.asarray(sheet).astype(int)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (5, 2), (7, 3)])
@pytest.mark.parametrize("beside", [False, True])
def test_pictures_stand_in_reading_order(count: int, columns: int, beside: bool) -> None:
    images, labels = series(count)
    texts = ["eim\n" + "words " * 99] * -(-count // columns) if beside else []
    sheet = pixels(draw_grid(images, labels, columns=columns, title="t", beside=texts, panel_px=130))
    boxes = [box_of(sheet, image) for image in images]
    assert {box[2:] for box in boxes} == {(130, 130)}
    lefts, tops = (sorted({box[axis] for box in boxes}) for axis in (0, 1))
    assert [(tops.index(box[1]), lefts.index(box[0])) for box in boxes] == [divmod(i, columns) for i in range(count)]
    left = slice(0, lefts[0] - 1)
    for top, following in itertools.pairwise([*tops, len(sheet)]):
        assert (sheet[top : following - 32, left] != 255).any() == beside


def test_a_missing_picture_leaves_its_place_empty() -> None:
    images, _ = series(4)
    whole, gap = (pixels(draw_grid(row, columns=2)) for row in (images, [images[0], None, *images[2:]]))
    left, top, width, height = box_of(whole, images[1])
    assert (gap[top - 1 : top + height + 1, left - 1 : left + width + 1] == 255).all()
    assert box_of(gap, images[3]) == box_of(whole, images[3])
    assert draw_grid([None], columns=1).size


@pytest.mark.parametrize("size", [(2, 2), (1000, 20), (20, 1000), (900, 600), (300, 500)])
def test_pictures_of_any_size_fit(size: tuple[int, int]) -> None:
    images, labels = series(3, size)
    boxes = [box_of(pixels(draw_grid(images, labels, columns=3, panel_px=200)), image) for image in images]
    width, height = boxes[0][2:]
    assert width == 200 or height == PANEL_PX
    assert abs(height - width * size[1] / size[0]) <= 0.5 + 0.5 * size[1] / size[0]  # both are whole pixels
    assert all(other[0] - one[0] >= 120 for one, other in itertools.pairwise(boxes)), "room for labels"


@pytest.mark.parametrize("label", ["2", "2\nread 2", "as asked for " * 20])
def test_a_label_stands_below_its_picture_only(label: str) -> None:
    images, labels = series(5)
    blank, full = (
        pixels(draw_grid(images, [*labels[:2], text, *labels[3:]], columns=5, panel_px=130)) for text in ("\n", label)
    )
    rows, columns = np.nonzero((blank != full).any(axis=2))
    left, top, width, height = box_of(full, images[2])
    assert rows.min() > top + height
    assert left <= columns.min() < columns.max() < left + width
    assert abs((columns.min() + columns.max()) / 2 - (left + width / 2)) <= 3


def test_the_first_line_of_a_text_is_ink_and_the_others_grey() -> None:
    for label in ("0.50", "\n0.50", "0.50\n0.50"):
        lines = [bool(line) for line in label.split("\n")] + [False]
        for sheet in (draw_grid([plain(0)], [label], columns=1), draw_grid([plain(0)], columns=1, beside=[label])):
            colors = {color for _, color in sheet.getcolors(WIDE)}
            assert (INK in colors, GREY in colors) == (lines[0], lines[1])


def test_title_and_lines_stand_above_and_do_not_widen_the_sheet() -> None:
    images, labels = series(2)
    bare, full = (
        draw_grid(images, labels, columns=2, title=title, lines=lines)
        for title, lines in (("t", ()), ("title\n" * 100, ("line", "words " * 300)))
    )
    assert full.width == bare.width
    assert full.height > bare.height + 3 * 24
    assert np.array_equal(np.asarray(full)[-300:], np.asarray(bare)[-300:])


def test_a_sheet_is_the_same_every_time() -> None:
    images, labels = series(6)
    first, second, other = (draw_grid(images, labels, columns=3, title=title).tobytes() for title in "aab")
    assert first == second != other


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ShapeError, match="Each of the 3 pictures needs a label; there are 2"):
        draw_grid(series(3)[0], ["", ""], columns=3)
    with pytest.raises(ShapeError, match="none"):
        check_one_size([])
    with pytest.raises(ShapeError, match=r"one size; there are \[\(3, 3\), \(40, 40\)\]"):
        check_one_size([plain(0), plain(1, (3, 3))])
    check_one_size([plain(0), plain(1)])


def test_transparency_is_blended_with_white() -> None:
    values = [on_white(Image.new("RGBA", (1, 1), (200, 100, 0, alpha))).getpixel((0, 0)) for alpha in (0, 51, 255)]
    # 51/255 = 1/5 of the colour and 4/5 of white.
    assert values == [(255, 255, 255), (244, 224, 204), (200, 100, 0)]
    assert (pixels(draw_grid([Image.new("RGBA", (50, 50))], columns=1))[40:400, 40:400] == 255).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = Image.new(mode, (2, 2))
    assert on_white(picture).mode == "RGB"
    assert (on_white(picture) is picture) == (mode == "RGB")


@given(st.tuples(*[st.integers(1, 300)] * 4))
def test_a_fitted_picture_fills_its_box_and_keeps_its_proportions(sides: tuple[int, int, int, int]) -> None:
    width, height, box = sides[0], sides[1], sides[2:]
    picture = Image.new("RGB", (width, height))
    size = fitted(picture, box).size
    assert size[0] <= box[0]
    assert size[1] <= box[1]
    assert size[0] == box[0] or size[1] == box[1]
    scale = min(box[0] / width, box[1] / height)
    # Sides are whole, and at least one pixel.
    assert abs(size[0] - max(1, scale * width)) <= 0.5 + 1e-9
    assert abs(size[1] - max(1, scale * height)) <= 0.5 + 1e-9
    assert fitted(picture, (width, height + 60)) is picture


@given(text=WORDS, width=st.integers(20, 400), size=st.integers(8, 30))
@example(text="M", width=20, size=25)  # wider than what it is to fit, and nothing to cut
def test_a_shortened_text_is_as_long_as_fits(text: str, width: int, size: int) -> None:
    whole, cut = shortened(text, WIDE * 10, size), shortened(text, width, size)
    if cut == whole:
        assert text_width(whole, size) <= width or len(whole) == 1
        return
    assert text_width(whole, size) > width
    assert cut.endswith("…")
    kept = cut.removesuffix("…")
    assert whole.startswith(kept)
    assert text_width(cut, size) <= width or len(kept) == 1
    longer = whole[: len(kept) + 2].rstrip()  # a blank that was cut off comes back with the letter after it
    if len(longer) < len(whole) - 1:
        assert text_width(f"{longer}…", size) > width - 2 * text_width("M", size)


def test_texts_are_shortened_and_spelt() -> None:
    assert text_width(shortened("many words " * 500, 500, 20), 20) <= 500
    assert shortened("a → b\n− 1 ×  2", 1000, 16) == "a -> b - 1 x 2"
    assert wrapped("1 ≤ 2", 1000, 16) == ["1 <= 2"]


@given(text=WORDS, width=st.integers(20, 400))
def test_a_wrapped_text_keeps_its_words(text: str, width: int) -> None:
    pieces = wrapped(text, width, 16)
    assert " ".join(pieces) == shortened(text, WIDE, 16)
    assert all(text_width(piece, 16) <= width or " " not in piece for piece in pieces)

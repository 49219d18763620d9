"""Text stays within its width, pictures within their box, and a label under its panel."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from latentedit.api.sheets.drawing import (
    GREY,
    INK,
    MARGIN_PX,
    PAPER,
    Line,
    draw_head,
    draw_rows,
    fitted,
    label_height,
    on_white,
    put_panel,
    shortened,
    text_width,
    wrapped,
)

WORDS = st.lists(st.text(alphabet="abcMW.,-→é", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)


def inked(image: Image.Image) -> np.ndarray:
    """Rows and columns that are not paper."""
    return np.argwhere((np.asarray(image) != PAPER).any(axis=2))


def test_transparency_is_blended_with_white() -> None:
    values = [on_white(Image.new("RGBA", (1, 1), (200, 100, 0, alpha))).getpixel((0, 0)) for alpha in (0, 51, 255)]
    # 51/255 = 1/5 of the colour and 4/5 of white.
    assert values == [(255, 255, 255), (244, 224, 204), (200, 100, 0)]


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = Image.new(mode, (2, 2))
    assert on_white(picture).mode == "RGB"
    assert (on_white(picture) is picture) == (mode == "RGB")


@given(st.tuples(*[st.integers(1, 300)] * 4))
def test_a_fitted_picture_fills_its_box_and_keeps_its_proportions(sides: tuple[int, int, int, int]) -> None:
    width, height, box = sides[0], sides[1], sides[2:]
    size = fitted(Image.new("RGB", (width, height)), box).size
    assert size[0] <= box[0]
    assert size[1] <= box[1]
    assert size[0] == box[0] or size[1] == box[1]
    scale = min(box[0] / width, box[1] / height)
    # Sides are whole, and at least one pixel.
    assert abs(size[0] - max(1, scale * width)) <= 0.5 + 1e-9
    assert abs(size[1] - max(1, scale * height)) <= 0.5 + 1e-9


def test_a_picture_that_fits_is_not_resampled() -> None:
    picture = Image.new("RGB", (30, 20))
    assert fitted(picture, (30, 90)) is picture


@given(text=WORDS, width=st.integers(20, 400), size=st.integers(8, 30))
@example(text="M", width=20, size=25)  # wider than what it is to fit, and nothing to cut
def test_a_shortened_text_is_as_long_as_fits(text: str, width: int, size: int) -> None:
    whole, cut = shortened(text, 100_000, size), shortened(text, width, size)
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


def test_very_long_texts_are_shortened_at_once() -> None:
    assert text_width(shortened("many words " * 2000, 500, 20), 20) <= 500


@given(text=WORDS, width=st.integers(20, 400))
def test_a_wrapped_text_keeps_its_words(text: str, width: int) -> None:
    pieces = wrapped(text, width, 16)
    assert " ".join(pieces) == shortened(text, 100_000, 16)
    assert all(text_width(piece, 16) <= width or " " not in piece for piece in pieces)


def test_signs_that_the_font_lacks_are_spelt() -> None:
    assert shortened("a → b\n− 1 ×  2", 1000, 16) == "a -> b - 1 x 2"
    assert wrapped("1 ≤ 2", 1000, 16) == ["1 <= 2"]
    assert text_width("a → b", 16) == text_width("a -> b", 16)


def test_the_head_is_as_wide_as_asked_and_grows_with_its_lines() -> None:
    heads = [draw_head("title", ("line",) * count, 300) for count in range(3)]
    assert {head.width for head in heads} == {300}
    # A line of 16 px takes 24.
    assert [head.height - heads[0].height for head in heads] == [0, 24, 48]
    colors = {color for _, color in heads[1].getcolors(100_000)}
    assert {INK, GREY} <= colors


def test_the_head_keeps_paper_below_its_text() -> None:
    rows = inked(draw_head("gypq", ("gypq", "gypq"), 300))[:, 0]
    assert rows.max() < draw_head("gypq", ("gypq", "gypq"), 300).height - 14


def test_a_panel_lies_where_it_is_put_with_its_label_centred_below() -> None:
    sheet, panel = Image.new("RGB", (200, 160), PAPER), Image.new("RGB", (60, 40), (1, 2, 3))
    label = [Line(text="HIIH", size_px=17), Line(text="HH", size_px=11, color=GREY)]
    put_panel(sheet, panel, (70, 20), label)
    values = np.asarray(sheet)
    assert (values[20:60, 70:130] == (1, 2, 3)).all()
    assert (values == (1, 2, 3)).all(axis=2).sum() == 60 * 40
    hairline = values[19, 69]
    assert (hairline != PAPER).any()
    assert (values[19:61, [69, 130]] == hairline).all()
    assert (values[[19, 60], 69:131] == hairline).all()
    rows, columns = (inked(sheet.crop((0, 61, 200, 160)))).T
    # Centring is by whole pixels, and letters keep about a pixel of their own to either side.
    assert abs((columns.min() + columns.max()) / 2 - 99.5) <= 2
    assert rows.max() + 61 < 60 + label_height(label)


def test_the_label_height_adds_up() -> None:
    lines = [Line(text="a", size_px=17), Line(text="b", size_px=11)]
    assert label_height(lines) - label_height(lines[:1]) == lines[1].leading_px == 16


def test_rows_lie_below_the_head_with_a_gap_between_them() -> None:
    head, first, second = (Image.new("RGB", size, colour) for size, colour in _PARTS)
    sheet = draw_rows(head, [first, second], gap_px=7)
    assert sheet.size == (40 + 2 * MARGIN_PX, 10 + 20 + 7 + 30 + 2 * MARGIN_PX)
    x, top = MARGIN_PX, MARGIN_PX
    places = [(x, top), (x, top + 10), (x, top + 29), (x, top + 30), (x, top + 37), (x, top + 66)]
    colours = [_PARTS[0][1], _PARTS[1][1], _PARTS[1][1], PAPER, _PARTS[2][1], _PARTS[2][1]]
    assert [sheet.getpixel(place) for place in places] == colours


_PARTS = (((30, 10), (10, 20, 30)), ((40, 20), (200, 0, 0)), ((40, 30), (0, 0, 200)))

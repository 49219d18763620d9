"""Screens: pages that were scrolled under what stayed, and pages in a frame."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from latentedit_keep.api import keep
from latentedit_keep.pixels.scrolling import Scroll, find_scroll
from tests.keep.pairs import as_jpeg, scene, some

HEIGHT, WIDTH = 260, 400


def rows(scroll: int, first: int = 0, changed: int = -1) -> np.ndarray:
    """A part of a long list in boxes of one size, no two of which say the same."""
    image = Image.new("RGB", (WIDTH, 900), "white")
    draw = ImageDraw.Draw(image)
    for number in range(20):
        top = 44 * number + 4
        draw.rectangle((12, top, WIDTH - 12, top + 36), fill=(246, 248, 250), outline=(200, 205, 210))
        text = "VOID" if number == changed else f"{(number + first) ** 5 % 99991} EUR"
        draw.text((24, top + 8), f"Order {7919 * (number + first + 3) % 9973}: {text}", fill=(30, 35, 40), font_size=18)
    return np.array(image)[scroll : scroll + HEIGHT]


def found_in(original: np.ndarray, edited: np.ndarray, *, exact: bool = True) -> Scroll | None:
    """In all of it."""
    return find_scroll(original, edited, (0, 0, *original.shape[1::-1]), exact=exact)


def screen(content: np.ndarray, clock: str = "10:41") -> np.ndarray:
    """A page under a header and beside a list, which stay."""
    image = Image.new("RGB", (WIDTH + 90, HEIGHT + 40), (225, 228, 232))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH + 90, 40), fill=(27, 42, 65))
    draw.text((10, 10), "Shop", fill="white", font_size=18)
    draw.text((WIDTH, 10), clock, fill="white", font_size=18)
    for row in range(5):
        draw.text((8, 60 + 40 * row), f"Part {row}", fill="black", font_size=16)
    image.paste(Image.fromarray(content), (90, 40))
    return np.asarray(image)


@pytest.mark.parametrize(("before", "after"), [(0, 60), (130, 40), (0, 170)], ids=["down", "up", "far"])
@pytest.mark.parametrize("across", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("coded", [False, True], ids=["exact", "jpeg"])
def test_a_scrolled_part_is_found_to_the_pixel(before: int, after: int, across: bool, coded: bool) -> None:
    pair = [screen(rows(scroll)) for scroll in (before, after)]
    pair = [as_jpeg(one) if coded else one for one in pair]
    pair = [one.swapaxes(0, 1) if across else one for one in pair]
    found = some(found_in(*pair, exact=not coded))
    by = before - after
    assert (found.right, found.down) == ((by, 0) if across else (0, by))
    left, top, right, bottom = np.array(found.box)[[1, 0, 3, 2] if across else [0, 1, 2, 3]]
    text = 90 + 24  # all that must differ; boxes may be where others were
    assert 90 <= left <= text
    assert text + 150 <= right <= WIDTH + 90
    assert 36 <= top <= 64
    assert HEIGHT + 10 <= bottom <= HEIGHT + 40
    assert found.rest < (0.01 if coded else 1e-9)


def test_what_differs_after_the_scrolling_is_measured() -> None:
    original = screen(rows(0))
    word, clock = screen(rows(60, changed=3)), screen(rows(60), clock="17:28")
    for edited, same in ((word, screen(rows(60))), (clock, screen(rows(60)))):
        share = float((edited != same).any(axis=2).mean())
        assert 0.3 * share < some(found_in(original, edited)).rest < 3 * share


def carried(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A thing on the left, and the same on the right."""
    pair = image.copy(), image.copy()
    for one, left in zip(pair, (20, 250), strict=True):
        one[60:140, left : left + 100] = scene(100, seed=9)[:80]
    return pair


def popup() -> tuple[np.ndarray, np.ndarray]:
    edited = Image.fromarray(screen(rows(0)))
    ImageDraw.Draw(edited).rectangle((150, 80, 380, 220), fill="white", outline="black")
    return screen(rows(0)), np.asarray(edited)


@pytest.mark.parametrize(
    "pair",
    [
        (screen(rows(0)), screen(rows(0, first=50))),
        (screen(rows(0)), screen(rows(60, first=50))),
        carried(scene(260, width=420)),
        carried(np.full((260, 420, 3), 255, np.uint8)),
        popup(),
        (screen(rows(0)), screen(rows(0))),
    ],
    ids=["other rows", "other rows, scrolled", "a thing in a photograph", "a thing on white", "popup", "same"],
)
def test_replaced_content_and_things_that_moved_are_no_scrolling(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert found_in(*pair, exact=True) is None


def test_a_scrolled_page_is_named_and_its_change_kept() -> None:
    original, edited = screen(rows(0)), screen(rows(60))
    found = keep(original, edited)
    assert found.analysis.scroll is not None
    assert found.analysis.scroll.line in found.doubts
    np.testing.assert_array_equal(found.kept.pixels, edited)


def framed(image: np.ndarray, left: int, top: int, right: int, bottom: int, level: int = 0) -> np.ndarray:
    return np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=level)


SIDES = [(1, 1, 1, 1), (6, 6, 6, 6), (0, 0, 0, 3), (0, 20, 0, 0), (2, 5, 1, 3)]


@pytest.mark.parametrize("sides", SIDES, ids=["1 px", "6 px", "below", "title", "uneven"])
@pytest.mark.slow
def test_in_a_frame_a_page_keeps_its_pixels(sides: tuple[int, int, int, int]) -> None:
    original = screen(rows(0))
    edited = original.copy()
    edited[120:150, 200:260] = (200, 40, 60)
    found = keep(original, framed(edited, *sides))
    np.testing.assert_array_equal(found.kept.pixels, edited)
    np.testing.assert_allclose(found.matrix[:2, 2], sides[:2], atol=1e-9)
    assert len(found.changes) == 1


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.slow
def test_a_frame_and_a_codec_are_no_drift(level: int) -> None:
    """The part inside is shrunk as the original is; a fraction of a pixel apart, rows of text match their neighbors."""
    original = screen(rows(0))
    edited = original.copy()
    edited[120:150, 200:260] = (200, 40, 60)
    found = keep(original, as_jpeg(framed(edited, 1, 1, 1, 1, level), 88))
    assert found.found == "local change"
    outside = np.abs(found.kept.pixels.astype(int) - original).max(axis=2) > 12
    outside[112:158, 192:268] = False
    assert outside.sum() < 50


@pytest.mark.slow
def test_the_same_page_in_a_frame_was_reframed() -> None:
    found = keep(screen(rows(0)), framed(screen(rows(0)), 1, 1, 1, 1))
    assert (found.found, found.changed_share) == ("reframed", 0)

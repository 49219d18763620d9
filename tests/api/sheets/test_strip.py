"""A sweep keeps its order, its labels and its pixels, whether it is written as a sheet or as an animation."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api.sheets import strip
from latentedit.api.sheets.drawing import GREY, INK
from latentedit.api.sheets.strip import check_sweep_output, draw_frames, draw_strip, save_sweep
from latentedit.core.errors import OutputError, ShapeError
from tests.editors.pictures import frames_of, plain, series

SHEETS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def box_of(sheet: np.ndarray, image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, width and height of the pixels in the colour of a plain picture."""
    red, green, blue = image.getpixel((0, 0))
    found = sheet[..., 0] == red
    found &= (sheet[..., 1] == green) & (sheet[..., 2] == blue)
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    box = (int(columns[0]), int(rows[0]), len(columns), len(rows))
    assert found[box[1] : box[1] + box[3], box[0] : box[0] + box[2]].all(), "a panel is one whole rectangle"
    assert found.sum() == box[2] * box[3]
    return box


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 4), (9, 9), (10, 5), (16, 8), (19, 7), (64, 8)])
def test_pictures_stand_in_reading_order_in_even_rows(count: int, columns: int) -> None:
    images, labels = series(count)
    sheet = np.asarray(draw_strip(images, labels, title="t"))
    boxes = [box_of(sheet, image) for image in images]
    assert len({box[2:] for box in boxes}) == 1
    assert boxes[0][2] == boxes[0][3] >= 120
    lefts, tops = (sorted({box[axis] for box in boxes}) for axis in (0, 1))
    assert len(lefts) == columns
    assert len(tops) == math.ceil(count / columns)
    assert [(tops.index(box[1]), lefts.index(box[0])) for box in boxes] == [divmod(i, columns) for i in range(count)]
    assert sheet.shape[1] <= 1256
    assert count < 4 or sheet.shape[1] >= 1240


@pytest.mark.parametrize("size", [(2, 2), (1000, 20), (20, 1000), (900, 600), (300, 500)])
@pytest.mark.parametrize("count", [2, 9, 13])
def test_pictures_of_any_size_fit(size: tuple[int, int], count: int) -> None:
    images, labels = series(count, size)
    sheet = np.asarray(draw_strip(images, labels, title="t"))
    assert sheet.shape[1] <= 1256
    boxes = [box_of(sheet, image) for image in images]
    width, height = boxes[0][2:]
    assert max(width, height) <= 384
    # Both sides are whole pixels: a panel's height is its width times the proportion, within half a pixel of each.
    assert abs(height - width * size[1] / size[0]) <= 0.5 + 0.5 * size[1] / size[0]
    for one, other in itertools.combinations(boxes, 2):
        assert abs(one[0] - other[0]) >= 120 or abs(one[1] - other[1]) > height


def test_a_label_stands_below_its_picture_only() -> None:
    images, labels = series(5)
    blank = np.asarray(draw_strip(images, [*labels[:2], "\n", *labels[3:]], title="t"), dtype=int)
    full = np.asarray(draw_strip(images, labels, title="t"), dtype=int)
    rows, columns = np.nonzero((blank != full).any(axis=2))
    left, top, width, height = box_of(full, images[2])
    assert rows.min() > top + height
    assert left <= columns.min() < columns.max() < left + width
    assert abs((columns.min() + columns.max()) / 2 - (left + width / 2)) <= 2


def test_the_second_line_of_a_label_is_grey() -> None:
    images, _ = series(3)
    colors = [
        {color for _, color in draw_strip(images, [label] * 3, title=" ").getcolors(100_000)}
        for label in ("0.50", "\n0.50", "0.50\n0.50")
    ]
    assert [(INK in found, GREY in found) for found in colors] == [(True, False), (False, True), (True, True)]


def test_labels_of_one_and_two_lines_take_the_same_room() -> None:
    images, _ = series(10)
    tops = [
        [box_of(np.asarray(draw_strip(images, labels, title="t")), image)[1] for image in images]
        for labels in (["a\nb"] * 10, ["a"] * 9 + ["a\nb"])
    ]
    assert tops[0] == tops[1]


def test_long_labels_stay_within_their_column() -> None:
    images, labels = series(9)
    short = np.asarray(draw_strip(images, [*labels[:4], "\n", *labels[5:]], title="t"), dtype=int)
    long = np.asarray(draw_strip(images, [*labels[:4], "\n" + "as asked for " * 20, *labels[5:]], title="t"), dtype=int)
    left, top, width, height = box_of(long, images[4])
    below = slice(top + height + 1, None)
    assert (long[below, left : left + width] != 255).any()
    # The column's own 121 px and nothing of the gaps: to its sides stand the neighbours' labels, smaller alike.
    for gap in (slice(left - 12, left), slice(left + width, left + width + 12)):
        assert (long[below, gap] == 255).all()
    first_line = slice(top + height + 1, top + height + 30)
    assert np.array_equal(
        np.delete(short[first_line], np.s_[left : left + width], axis=1),
        np.delete(long[first_line], np.s_[left : left + width], axis=1),
    )


def test_transparent_parts_are_white() -> None:
    clear = [Image.new("RGBA", (50, 50))] * 4
    sheet = np.asarray(draw_strip(clear, [""] * 4, title=""))
    left, top = 33, 32 + 39 + 14 + 1
    assert (sheet[top : top + 280, left : left + 280] == 255).all()
    assert (np.asarray(draw_frames(clear, [""] * 4)[0])[:384, :384] == 255).all()


def test_the_sheet_is_the_same_every_time() -> None:
    images, labels = series(6)
    sheets = [draw_strip(images, labels, title="a", lines=("b",)).tobytes() for _ in range(2)]
    assert sheets[0] == sheets[1]


def test_title_and_lines_stand_above_and_do_not_widen_the_sheet() -> None:
    images, labels = series(2)
    bare = draw_strip(images, labels, title="t")
    full = draw_strip(images, labels, title="title " * 100, lines=("line", "words " * 300))
    assert full.width == bare.width
    assert full.height > bare.height + 2 * 24
    assert np.array_equal(np.asarray(full)[-300:], np.asarray(bare)[-300:])


def test_frames_hold_picture_and_label() -> None:
    images, labels = series(3, (30, 20))
    frames = draw_frames(images, labels)
    assert len({frame.size for frame in frames}) == 1
    for frame, image in zip(frames, images, strict=True):
        assert box_of(np.asarray(frame), image) == (0, 0, 384, 256)
        assert {INK, GREY} <= {color for _, color in frame.getcolors(100_000)}


def test_frames_of_narrow_pictures_leave_room_for_labels() -> None:
    images, labels = series(2, (10, 100))
    frame = np.asarray(draw_frames(images, labels)[1])
    assert frame.shape[1] == 240
    assert box_of(frame, images[1]) == (101, 0, 38, 384)


def test_long_labels_do_not_touch_the_edges_of_a_frame() -> None:
    images, labels = series(2)
    frame = np.asarray(draw_frames(images, [labels[0], "as asked for " * 30])[1])
    assert frame.shape[1] == 384
    assert (frame[386:, 24:-24] != 255).any()
    assert (frame[386:, :12] == 255).all()
    assert (frame[386:, -12:] == 255).all()


@pytest.mark.parametrize("draw", [draw_frames, lambda images, labels: draw_strip(images, labels, title="t")])
def test_pictures_and_labels_that_do_not_fit_together_are_refused(draw: object) -> None:
    images, labels = series(3)
    with pytest.raises(ShapeError, match="got none"):
        draw([], [])
    with pytest.raises(ShapeError, match="one size"):
        draw([*images, plain(4, (40, 39))], [*labels, ""])
    with pytest.raises(ShapeError, match="label for each of 3 pictures; got 2"):
        draw(images, labels[:2])


@pytest.mark.parametrize("ending", SHEETS)
def test_a_sweep_becomes_a_sheet(tmp_path: Path, ending: str) -> None:
    images, labels = series(3)
    save_sweep(images, labels, tmp_path / f"out{ending}", title="t", lines=("l",))
    found = np.asarray(Image.open(tmp_path / f"out{ending}"), dtype=int)
    drawn = np.asarray(draw_strip(images, labels, title="t", lines=("l",)), dtype=int)
    if ending in (".jpg", ".jpeg"):
        assert abs(found - drawn).mean() < 2
    else:
        assert np.array_equal(found, drawn)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".WebP"])
def test_a_sweep_becomes_an_animation_of_labelled_frames(tmp_path: Path, ending: str) -> None:
    images, labels = series(3)
    save_sweep(images, labels, tmp_path / f"out{ending}", title="t")
    frames = draw_frames(images, labels)
    for frame, index in zip(frames_of(tmp_path / f"out{ending}"), (0, 1, 2, 1), strict=True):
        error = abs(frame.astype(int) - np.asarray(frames[index]))
        if ending == ".gif":  # a palette from a sample of the pixels lacks some of the greys at the edges of letters
            assert error[:384].max() <= 4
            assert error.max() <= 16
        else:
            assert error.max() == 0


@pytest.mark.parametrize(("count", "seconds"), [(1, 0.5), (2, 0.5), (5, 0.5), (9, 0.25), (17, 0.125), (40, 0.06)])
def test_a_sweep_lasts_about_four_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, seconds: float
) -> None:
    paces = []
    monkeypatch.setattr(strip, "save_animation", lambda frames, path, *, seconds: paces.append(seconds))
    images, labels = series(count)
    save_sweep(images, labels, tmp_path / "out.gif", title="t")
    assert paces == [seconds]


@pytest.mark.parametrize("name", ["out.psd", "out", "gif", ".gif"])
def test_unknown_endings_are_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(strip, "draw_strip", lambda *_, **__: pytest.fail("drawn"))
    images, labels = series(2)
    for attempt in (
        lambda: save_sweep(images, labels, tmp_path / name, title="t"),
        lambda: check_sweep_output(tmp_path / name),
    ):
        with pytest.raises(OutputError) as caught:
            attempt()
        assert all(ending in str(caught.value) for ending in (*SHEETS, ".gif", ".webp"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [*SHEETS, ".gif", ".webp", ".GIF"])
def test_places_are_checked_for_every_ending(tmp_path: Path, read_only_folder: Path, ending: str) -> None:
    place = tmp_path / f"out{ending}"
    check_sweep_output(place, source=tmp_path / "me.png")
    assert not place.exists()
    place.mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_sweep_output(place)
    with pytest.raises(OutputError, match="does not"):
        check_sweep_output(tmp_path / "nowhere" / place.name)
    with pytest.raises(OutputError, match=f"out{ending} cannot be written"):
        check_sweep_output(read_only_folder / place.name)
    source = tmp_path / f"me{ending}"
    source.write_bytes(b"a picture")
    with pytest.raises(OutputError, match="is the picture itself"):
        check_sweep_output(source, source=tmp_path / "." / source.name)
    check_sweep_output(source)
    assert source.read_bytes() == b"a picture"

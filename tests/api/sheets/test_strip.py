"""A sweep keeps its order, its labels and its pixels, whether it is written as a sheet or as an animation."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api.sheets import strip
from latentedit.api.sheets.strip import check_sweep_output, draw_strip, save_sweep
from latentedit.core.errors import OutputError, ShapeError
from tests.api.sheets.boxes import box_of
from tests.editors.pictures import frames_of, plain, series

pytestmark = pytest.mark.slow

SHEETS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 4), (9, 9), (10, 5), (16, 8), (19, 7)])
def test_rows_are_even_and_the_sheet_is_no_wider_than_that_of_one_edit(count: int, columns: int) -> None:
    images, labels = series(count)
    sheet = np.asarray(draw_strip(images, labels, title="t"))
    boxes = [box_of(sheet, image) for image in images]
    lefts, tops = (sorted({box[axis] for box in boxes}) for axis in (0, 1))
    assert (len(lefts), len(tops)) == (columns, math.ceil(count / columns))
    assert boxes[0][2] == boxes[0][3] >= 120
    assert sheet.shape[1] <= 1256
    assert count < 4 or sheet.shape[1] >= 1240


@pytest.mark.parametrize("name", ["out.png", "out.gif"])
def test_pictures_and_labels_that_do_not_fit_together_are_refused(name: str, tmp_path: Path) -> None:
    images, labels = series(3)
    for some in ([], [*images, plain(4, (40, 39))]):
        with pytest.raises(ShapeError, match="one size"):
            save_sweep(some, [*labels, ""][: len(some)], tmp_path / name, title="t")


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
    save_sweep(images, [labels[0], "1", labels[2]], tmp_path / f"out{ending}", title="t")
    frames = frames_of(tmp_path / f"out{ending}")
    assert len(frames) == 4
    for frame, index in zip(frames, (0, 1, 2, 1), strict=True):
        top, left = 33, 32
        error = abs(frame[top : top + 384, left : left + 384].astype(int) - np.asarray(images[index])[0, 0])
        assert error.max() <= (4 if ending == ".gif" else 0)
        assert (frame[top + 390 :].min(axis=(1, 2)) < 128).any(), "a label"


@pytest.mark.parametrize(("count", "seconds"), [(1, 0.5), (2, 0.5), (5, 0.5), (9, 0.25), (17, 0.125), (40, 0.06)])
def test_a_sweep_lasts_about_four_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, seconds: float
) -> None:
    paces = []
    monkeypatch.setattr(strip, "save_animation", lambda frames, path, *, seconds: paces.append(seconds))
    save_sweep(*series(count), tmp_path / "out.gif", title="t")
    assert paces == [seconds]


@pytest.mark.parametrize("name", ["out.psd", "out", "gif", ".gif"])
def test_unknown_endings_are_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(strip, "draw_strip", lambda *_, **__: pytest.fail("drawn"))
    for attempt in (
        lambda: save_sweep(*series(2), tmp_path / name, title="t"),
        lambda: check_sweep_output(tmp_path / name),
    ):
        with pytest.raises(OutputError) as caught:
            attempt()
        assert all(ending in str(caught.value) for ending in (*SHEETS, ".gif", ".webp"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".png", ".gif", ".GIF"])
def test_places_are_checked_for_every_ending(tmp_path: Path, ending: str) -> None:
    """As `check_place` does it, whose tests say more."""
    place = tmp_path / f"out{ending}"
    check_sweep_output(place, source=tmp_path / "me.png")
    assert not place.exists()
    place.write_bytes(b"a picture")
    check_sweep_output(place)
    with pytest.raises(OutputError, match="is the picture itself"):
        check_sweep_output(place, source=tmp_path / "." / place.name)
    with pytest.raises(OutputError, match="nowhere"):
        check_sweep_output(tmp_path / "nowhere" / place.name)
    assert place.read_bytes() == b"a picture"

"""Sweeps keep their order, their pace and their pixels, as a sheet or as an animation in which nothing flickers."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentedit.api.sheets import strip
from latentedit.api.sheets.animation import save_animation
from latentedit.api.sheets.strip import check_sweep_output, draw_strip, save_sweep
from latentedit.core.errors import ConfigError, OutputError, ShapeError
from tests.api.sheets.boxes import box_of
from tests.editors.pictures import frames_of, plain, series

pytestmark = pytest.mark.slow


def noise(seed: int, size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)))
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (9, 9), (10, 5), (19, 7)])
def test_rows_are_even_and_the_sheet_is_no_wider_than_that_of_one_edit(count: int, columns: int) -> None:
    images, labels = series(count)
    sheet = np.asarray(draw_strip(images, labels, title="t"))
    boxes = [box_of(sheet, image) for image in images]
    lefts, tops = (sorted({box[axis] for box in boxes}) for axis in (0, 1))
    assert (len(lefts), len(tops)) == (columns, math.ceil(count / columns))
    assert boxes[0][2] == boxes[0][3] >= 120
    assert sheet.shape[1] <= 1256
    assert count < 4 or sheet.shape[1] >= 1240


@pytest.mark.parametrize("ending", [".png", ".jpeg", ".tif"])
def test_a_sweep_becomes_a_sheet(tmp_path: Path, ending: str) -> None:
    images, labels = series(3)
    save_sweep(images, labels, tmp_path / f"out{ending}", title="t", lines=("l",))
    found = np.asarray(Image.open(tmp_path / f"out{ending}"), dtype=int)
    drawn = np.asarray(draw_strip(images, labels, title="t", lines=("l",)), dtype=int)
    assert abs(found - drawn).mean() < (2 if ending == ".jpeg" else 1e-9)


@pytest.mark.parametrize("ending", [".gif", ".WebP"])
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


@pytest.mark.parametrize(("count", "seconds"), [(1, 0.5), (5, 0.5), (9, 0.25), (40, 0.06)])
def test_a_sweep_lasts_about_four_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, seconds: float
) -> None:
    paces = []
    monkeypatch.setattr(strip, "save_animation", lambda frames, path, *, seconds: paces.append(seconds))
    save_sweep(*series(count), tmp_path / "out.gif", title="t")
    assert paces == [seconds]


def test_outputs_and_pictures_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    images, labels = series(3)
    for some in ([], [*images, plain(4, (40, 39))]):
        with pytest.raises(ShapeError, match="one size"):
            save_sweep(some, [*labels, ""][: len(some)], tmp_path / "out.gif", title="t")
        with pytest.raises(ShapeError, match="one size"):
            save_animation(some, tmp_path / "out.gif")
    for name in ("out.psd", "out", ".gif"):
        with pytest.raises(OutputError, match=r"ends in \.png, .*\.gif, \.webp"):
            save_sweep(images, labels, tmp_path / name, title="t")
        with pytest.raises(OutputError, match="cannot be written as"):
            check_sweep_output(tmp_path / name)
    place = tmp_path / "out.GIF"
    check_sweep_output(place, source=tmp_path / "me.png")
    with pytest.raises(OutputError, match="nowhere"):
        check_sweep_output(tmp_path / "nowhere" / place.name)
    assert list(tmp_path.iterdir()) == []
    place.write_bytes(b"a picture")
    with pytest.raises(OutputError, match="is the picture itself"):
        check_sweep_output(place, source=tmp_path / "." / place.name)


@pytest.mark.parametrize("ending", [".gif", ".webp"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_an_animation_goes_there_and_back_for_ever_at_its_pace(tmp_path: Path, ending: str, count: int) -> None:
    images, _ = series(count)
    save_animation(images, tmp_path / f"out{ending}", seconds=0.314)
    order = {1: [0], 2: [0, 1], 3: [0, 1, 2, 1], 5: [0, 1, 2, 3, 4, 3, 2, 1]}[count]
    found = frames_of(tmp_path / f"out{ending}")
    assert len(found) == len(order)
    for frame, index in zip(found, order, strict=True):
        # Pillow looks for the nearest entry of a palette in cells of 4 levels; webp is lossless.
        assert abs(frame.astype(int) - np.asarray(images[index])).max() <= (4 if ending != ".webp" else 0)
    assert [path.name for path in tmp_path.iterdir()] == [f"out{ending}"]
    with Image.open(tmp_path / f"out{ending}") as file:
        if count > 1:
            assert file.info["loop"] == 0
            frames = [frame.info["duration"] for frame in ImageSequence.Iterator(file) if frame.load() is not None]
            assert frames == [310] * len(order)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_keeps_every_pixel(tmp_path: Path, mode: str) -> None:
    images = [noise(seed, mode=mode) for seed in range(3)]
    save_animation(images, tmp_path / "out.webp")
    for frame, index in zip(frames_of(tmp_path / "out.webp", mode), (0, 1, 2, 1), strict=True):
        values = np.asarray(images[index])
        seen = values[..., 3] > 0 if mode == "RGBA" else np.full(values.shape[:2], True)
        assert np.array_equal(frame[seen], values[seen])
        assert np.array_equal(frame[..., 3:], values[..., 3:])


def test_in_a_gif_what_stays_does_not_flicker_and_is_stored_once(tmp_path: Path) -> None:
    still = noise(0, (96, 96))
    images = [still.copy() for _ in range(3)]
    for seed, image in enumerate(images, 1):  # in two corners, so that the change spans the whole picture
        for corner in (0, 86):
            image.paste(noise(seed, (10, 10)), (corner, corner))
    save_animation(images[:1], tmp_path / "one.gif")
    save_animation(images, tmp_path / "four.gif")
    sizes = [(tmp_path / name).stat().st_size for name in ("one.gif", "four.gif")]
    assert sizes[1] < 1.5 * sizes[0], "noise does not compress: four whole frames would take four times as much"
    found = np.stack(frames_of(tmp_path / "four.gif"))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 255
    changing = (found != found[0]).any(axis=(0, 3))
    assert changing[:10, :10].any()
    changing[:10, :10] = changing[86:, 86:] = False
    assert not changing.any()


def test_gif_keeps_white_among_colors_that_are_nearly_white(tmp_path: Path) -> None:
    levels = np.stack(np.meshgrid(*[range(252, 256)] * 3, indexing="ij"), axis=-1).reshape(8, 8, 3)
    save_animation([Image.fromarray(levels.astype(np.uint8))], tmp_path / "out.gif")
    assert frames_of(tmp_path / "out.gif")[0][-1, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_the_same_pictures_give_the_same_bytes_whatever_their_files_said(tmp_path: Path, ending: str) -> None:
    images = [noise(seed) for seed in range(3)]
    save_animation(images, tmp_path / f"a{ending}")
    for image in images:
        image.info |= {"transparency": (0, 0, 0), "comment": b"x", "background": 3, "duration": 7, "loop": 2}
    save_animation(images, tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert images[0].info["duration"] == 7


def test_animations_that_cannot_be_are_refused(tmp_path: Path) -> None:
    images, _ = series(2)
    for seconds in (0.0, 0.01, 61.0, math.nan):
        with pytest.raises(ConfigError, match=r"0\.02 to 60"):
            save_animation(images, tmp_path / "out.gif", seconds=seconds)
    with pytest.raises(OutputError, match=r"'out.png'; it ends in \.gif or \.webp"):
        save_animation(images, tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []

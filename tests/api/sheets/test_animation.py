"""An animation keeps its order, its pace and its pixels, and what stands still does not flicker."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentedit.api.sheets.animation import save_animation
from latentedit.core.errors import ConfigError, OutputError, ShapeError
from tests.editors.pictures import frames_of, plain, series

pytestmark = pytest.mark.slow


def noisy(seed: int, size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)))
    return Image.fromarray(values.astype(np.uint8))


def seconds_of(path: Path) -> list[float]:
    with Image.open(path) as file:
        return [frame.info["duration"] / 1000 for frame in ImageSequence.Iterator(file) if frame.load() is not None]


def gif_color_tables(path: Path) -> list[int]:
    """Entries of the global colour table, then of the local table of each frame, read by the GIF89a grammar."""
    data, tables = path.read_bytes(), []

    def skip_blocks(place: int) -> int:
        while data[place]:
            place += 1 + data[place]
        return place + 1

    def entries(flags: int) -> int:
        return 2 ** ((flags & 7) + 1) if flags & 128 else 0

    tables.append(entries(data[10]))
    place = 13 + 3 * tables[0]
    while data[place] != 0x3B:
        if data[place] == 0x21:
            place = skip_blocks(place + 2)
        else:
            tables.append(entries(data[place + 9]))
            place = skip_blocks(place + 11 + 3 * tables[-1])
    return tables


@pytest.mark.parametrize("ending", [".gif", ".webp", ".GIF"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_an_animation_goes_there_and_back(tmp_path: Path, ending: str, count: int) -> None:
    images, _ = series(count)
    save_animation(images, tmp_path / f"out{ending}", seconds=0.31)
    order = {1: [0], 2: [0, 1], 3: [0, 1, 2, 1], 5: [0, 1, 2, 3, 4, 3, 2, 1]}[count]
    found = frames_of(tmp_path / f"out{ending}")
    assert len(found) == len(order)
    for frame, index in zip(found, order, strict=True):
        # Pillow looks for the nearest entry of a palette in cells of 4 levels; webp is lossless.
        assert abs(frame.astype(int) - np.asarray(images[index])).max() <= (4 if ending != ".webp" else 0)
    assert [path.name for path in tmp_path.iterdir()] == [f"out{ending}"]


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_an_animation_loops_for_ever_at_its_pace(tmp_path: Path, ending: str) -> None:
    save_animation(series(4)[0], tmp_path / f"out{ending}", seconds=0.314)
    with Image.open(tmp_path / f"out{ending}") as file:
        assert file.info["loop"] == 0
    assert seconds_of(tmp_path / f"out{ending}") == [0.31] * 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_keeps_every_pixel(tmp_path: Path, mode: str) -> None:
    images = [noisy(seed, mode=mode) for seed in range(3)]
    save_animation(images, tmp_path / "out.webp")
    found = frames_of(tmp_path / "out.webp", mode)
    for frame, index in zip(found, (0, 1, 2, 1), strict=True):
        values = np.asarray(images[index])
        seen = values[..., 3] > 0 if mode == "RGBA" else np.full(values.shape[:2], True)
        assert np.array_equal(frame[seen], values[seen])
        assert np.array_equal(frame[..., 3:], values[..., 3:])


def test_gif_has_one_palette_and_what_stays_does_not_flicker(tmp_path: Path) -> None:
    still = np.asarray(noisy(0, (64, 64)))
    images = []
    for seed in range(1, 6):
        values = still.copy()
        values[20:30, 20:30] = np.asarray(noisy(seed, (10, 10)))
        images.append(Image.fromarray(values))
    save_animation(images, tmp_path / "out.gif")
    assert gif_color_tables(tmp_path / "out.gif") == [256] + [0] * 8
    found = np.stack(frames_of(tmp_path / "out.gif"))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 255
    changing = (found != found[0]).any(axis=(0, 3))
    assert changing[20:30, 20:30].any()
    changing[20:30, 20:30] = False
    assert not changing.any()


def test_gif_keeps_white_among_colors_that_are_nearly_white(tmp_path: Path) -> None:
    levels = np.stack(np.meshgrid(*[range(252, 256)] * 3, indexing="ij"), axis=-1).reshape(8, 8, 3)
    save_animation([Image.fromarray(levels.astype(np.uint8))], tmp_path / "out.gif")
    assert frames_of(tmp_path / "out.gif")[0][-1, -1].tolist() == [255, 255, 255]


def test_gif_stores_what_stays_once(tmp_path: Path) -> None:
    images = [noisy(0, (96, 96)) for _ in range(3)]
    for index, image in enumerate(images):  # two corners change, so that the change spans the whole picture
        image.paste((80 * index, 0, 0), (0, 0, 4, 4))
        image.paste((80 * index, 0, 0), (92, 92, 96, 96))
    save_animation(images[:1], tmp_path / "one.gif")
    save_animation(images, tmp_path / "four.gif")
    sizes = [(tmp_path / name).stat().st_size for name in ("one.gif", "four.gif")]
    # Noise does not compress: four whole frames would take four times as much.
    assert sizes[1] < 1.5 * sizes[0]


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_the_same_pictures_give_the_same_bytes(tmp_path: Path, ending: str) -> None:
    images = [noisy(seed) for seed in range(3)]
    save_animation(images, tmp_path / f"a{ending}")
    for image in images:
        image.info |= {"transparency": (0, 0, 0), "comment": b"x", "background": 3, "duration": 7, "loop": 2}
    save_animation(images, tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert images[0].info["duration"] == 7


@pytest.mark.parametrize("seconds", [0.0, 0.01, -1.0, 61.0, math.nan, math.inf])
def test_paces_that_cannot_be_are_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.02 to 60"):
        save_animation(series(2)[0], tmp_path / "out.gif", seconds=seconds)


def test_animations_that_cannot_be_are_refused(tmp_path: Path, read_only_folder: Path) -> None:
    images, _ = series(2)
    with pytest.raises(ShapeError, match="none"):
        save_animation([], tmp_path / "out.gif")
    with pytest.raises(ShapeError, match="one size"):
        save_animation([*images, plain(1, (3, 3))], tmp_path / "out.gif")
    with pytest.raises(OutputError, match=r"'out.png'; it ends in \.gif or \.webp"):
        save_animation(images, tmp_path / "out.png")
    for place in (tmp_path / "nowhere", read_only_folder):
        with pytest.raises(OutputError, match="cannot be written"):
            save_animation(images, place / "out.gif")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("full_disk")
def test_a_failed_save_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.gif").write_bytes(b"old")
    with pytest.raises(OutputError, match="No space left"):
        save_animation(series(2)[0], tmp_path / "out.gif")
    assert (tmp_path / "out.gif").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1

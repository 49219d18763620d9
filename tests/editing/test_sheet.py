"""Sheets: images in their places, labels below them, and texts within their width."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from latentedit.cli.path import paths_json
from latentedit.core.errors import OutputError, ShapeError
from latentedit.core.files import plain as plain_values
from latentedit.editing.outputs import same_image
from latentedit.editing.sheet import (
    _amplified_difference,
    _shortened,
    _wrapped,
    draw_grid,
    draw_paths,
    draw_sweep,
    path_images,
)
from latentedit.encoding.captions.base import to_images
from latentedit.geometry.paths import PathsBetween, encode_pair, paths_between
from latentedit.viewer.page import check_page
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray, noisy
from tests.editors.images import plain, series

WORDS = st.lists(st.text(alphabet="abcMW.,-→é", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)
WIDE = 100_000
FRAMES = 4


def measured(text: str, size_px: int) -> float:
    return ImageFont.load_default(size_px).getlength(text)


def pixels(sheet: Image.Image) -> np.ndarray:
    return np.asarray(sheet).astype(int)


def box_of(sheet: np.ndarray, image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, width and height of the area in the color of a plain image."""
    found = (sheet == image.getpixel((0, 0))).all(axis=2)
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    box = (int(columns[0]), int(rows[0]), len(columns), len(rows))
    assert found[box[1] : box[1] + box[3], box[0] : box[0] + box[2]].all(), "a panel is one rectangle"
    assert found.sum() == box[2] * box[3]
    return box


def test_a_label_is_below_its_image_and_the_title_above_all() -> None:
    images, labels = series(5)
    blank, full, titled = (
        pixels(draw_grid(images, [*labels[:2], text, *labels[3:]], columns=5, title=title, panel_px=130))
        for text, title in (("\n", "t"), ("a long label " * 20, "t"), ("\n", "title " * 100))
    )
    rows, columns = np.nonzero((blank != full).any(axis=2))
    left, top, width, height = box_of(full, images[2])
    assert rows.min() > top + height
    assert left <= columns.min() < columns.max() < left + width
    assert abs((columns.min() + columns.max()) / 2 - (left + width / 2)) <= 3
    assert titled.shape == blank.shape
    assert np.nonzero(titled != blank)[0].max() < top


@pytest.mark.slow_except("1-1")
@pytest.mark.parametrize(("count", "columns"), [(1, 1), (9, 9), (10, 5), (19, 7)])
def test_rows_of_a_sweep_are_even_and_no_wider_than_a_sheet(count: int, columns: int) -> None:
    images, labels = series(count)
    sheet = np.asarray(draw_sweep(images, labels, title="t"))
    boxes = [box_of(sheet, image) for image in images]
    lefts, tops = ({box[axis] for box in boxes} for axis in (0, 1))
    assert (len(lefts), len(tops)) == (columns, math.ceil(count / columns))
    assert (1240 if count > 3 else 0) <= sheet.shape[1] <= 1256


def test_transparency_is_blended_with_white() -> None:
    values = [
        pixels(draw_grid([Image.new("RGBA", (50, 50), (200, 100, 0, alpha))], columns=1))[200, 200]
        for alpha in (0, 51, 255)
    ]
    # 51/255 = 1/5 of the color and 4/5 of white.
    assert [tuple(value) for value in values] == [(255, 255, 255), (244, 224, 204), (200, 100, 0)]
    assert (pixels(draw_grid([Image.new("RGBA", (50, 50))], columns=1))[40:400, 40:400] == 255).all()


@pytest.mark.parametrize(("size", "box"), [((60, 20), (150, 50)), ((2, 9), (85, 384)), ((900, 2), (150, 1))])
def test_images_fill_their_panels_and_keep_their_proportions(size: tuple[int, int], box: tuple[int, int]) -> None:
    image = plain(0, size)
    sheet = pixels(draw_grid([image], columns=1, panel_px=150))
    assert box_of(sheet, image)[2:] == box
    assert len(sheet) == 32 + 1 + box[1] + 32


@given(text=WORDS, width=st.integers(20, 400), size=st.integers(8, 30))
@example(text="M", width=20, size=25)  # wider than the limit, and impossible to shorten
def test_texts_are_shortened_or_wrapped_to_their_width(text: str, width: int, size: int) -> None:
    whole, cut, pieces = _shortened(text, WIDE * 10, size), _shortened(text, width, size), _wrapped(text, width, size)
    assert " ".join(pieces) == whole
    assert _shortened("a → b\n− 1 ×  2", WIDE, 16) == "a -> b - 1 x 2"
    assert all(measured(piece, size) <= width or " " not in piece for piece in pieces)
    if cut == whole:
        assert measured(whole, size) <= width or len(whole) == 1
        return
    assert measured(whole, size) > width
    kept = cut.removesuffix("…")
    assert kept != cut
    assert whole.startswith(kept)
    assert measured(cut, size) <= width or len(kept) == 1
    longer = whole[: len(kept) + 2].rstrip()  # a removed space returns with the next letter
    if len(longer) < len(whole) - 1:
        assert measured(f"{longer}…", size) > width - 2 * measured("M", size)


@pytest.mark.parametrize(
    ("by", "share", "factor"), [(100, 0.5, 4), (100, 0.01, 32), (20, 0.5, 8), (10, 0.5, 16), (3, 0.5, 32), (0, 0.5, 1)]
)
def test_the_factor_is_the_largest_that_saturates_at_most_one_percent(by: int, share: float, factor: int) -> None:
    values = np.full((100, 100, 3), 90, np.uint8)
    changed = values.copy()
    changed[: round(100 * share), :, 0] += np.uint8(by)
    difference, found = _amplified_difference(Image.fromarray(values), Image.fromarray(changed))
    assert found == factor
    assert np.asarray(difference)[0, 0].tolist() == [min(255, by * factor), 0, 0]
    assert not np.asarray(difference)[-1].any()


def two_paths(frames: int) -> PathsBetween:
    pair = encode_pair(ColorBackbone(), [noisy(), gray()], ["red", "gray"])
    return paths_between(pair, methods=["lerp", "slerp"], frames=frames, level=0.6, steps=3, rank=2, site="clean")


def test_images_and_measures_of_paths() -> None:
    between = two_paths(FRAMES)
    model: Any = between.latent.backbone
    model.decode = lambda z: 3 * z
    report = json.loads(json.dumps(plain_values(paths_json(between)), allow_nan=False))
    facts = {"captions": ["red", "gray"], "frames": FRAMES, "rank": 2, "site": "clean"}
    assert facts.items() <= report.items()
    assert [path["method"] for path in report["paths"]] == ["lerp", "slerp"]
    for path, one in zip(report["paths"], between.paths, strict=True):
        assert path["feature_length"] == pytest.approx(sum(path["feature_lengths"]))
        assert path["semantic_length"] == pytest.approx(sum(path["curvedness"]))
        assert len(path["curvedness"]) == len(path["norms"]) - 1 == FRAMES - 1
        assert path["norms"][0] == pytest.approx(float(one.points[0].norm()))
        images = path_images(between, one)
        assert torch.equal(images[[0, -1]], torch.stack([frame.pixels for frame in between.latent.frames]))
        assert torch.equal(images[1:-1], (3 * one.z[1:-1]).clamp(-1, 1))
    assert report["random"]["semantic_length"] == pytest.approx(3 * report["random"]["a_segment"]["mean"])
    assert report["evaluations"] == between.evaluations


@pytest.mark.slow_except("4-160")
@pytest.mark.parametrize(("frames", "width"), [(4, 160), (12, 88), (20, 64)])
def test_images_of_a_path_are_in_its_row(frames: int, width: int) -> None:
    between = two_paths(frames)
    sheet = draw_paths(between, title="t")
    assert sheet.width == 32 + 288 + frames * (width + 12) - 12 + 32
    row = (sheet.height - 32 - 39 - 2 * 24 - 12 - 32 + 12) // 2
    for at, path in enumerate(between.paths):
        for index, image in enumerate(to_images(path_images(between, path))):
            left, top = 320 + index * (width + 12), 131 + at * row
            shown = sheet.crop((left, top, left + width, top + width))
            assert same_image(shown, image.resize((width, width), Image.Resampling.LANCZOS))


def test_images_of_several_sizes_and_unusable_paths_are_rejected(tmp_path: Path) -> None:
    images, labels = series(3)
    for some in ([], [*images, plain(4, (40, 39))]):
        with pytest.raises(ShapeError):
            draw_sweep(some, [*labels, ""][: len(some)], title="t")
    place = tmp_path / "out.PNG"
    check_page(place, source=tmp_path / "me.png", sheets=True)
    place.write_bytes(b"an image")
    for name, words in {"out.gif": "'out.gif'", "no/out.png": "no", "./out.PNG": "out.PNG"}.items():
        with pytest.raises(OutputError, match=words):
            check_page(tmp_path / name, source=place, sheets=True)

"""Transparency: every kind of file, and paint and holes on every kind of image."""

import io
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from latentedit.keeping.api import keep
from latentedit.keeping.checking import check
from latentedit.photo.images import read_pixels
from latentedit.pixels.differing import transparency_changed
from latentedit.pixels.transparency import alpha_change, ground_of, without_ground
from tests.keep.pairs import SIDE, as_jpeg, encoded, moved, scene, similarity

Y, X = np.mgrid[:SIDE, :SIDE]
RED = (200, 40, 60)


def sticker() -> np.ndarray:
    """A cut-out with an antialiased outline, black where it is transparent."""
    alpha = np.zeros((SIDE, SIDE), dtype=np.uint8)
    cv2.ellipse(alpha, (80, 90), (55, 60), 0, 0, 360, 255, -1, cv2.LINE_AA)
    return np.dstack([np.where(alpha[..., None] > 0, scene(), 0), alpha]).astype(np.uint8)


def on(pixels: np.ndarray, ground: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), ground)
    image.paste(Image.fromarray(pixels), (0, 0), Image.fromarray(pixels))
    return image


def with_hat(pixels: np.ndarray) -> np.ndarray:
    """A rectangle that covers the outline at the top."""
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).rectangle((50, 8, 110, 45), fill=(*RED, 255))
    return np.array(image)


KINDS = {"gray": 1, "rgb": 3, "rgba": 4}


def write(path: Path, image: np.ndarray, *, depth: int, channels: int) -> Path:
    """Written by OpenCV."""
    pixels = image if depth == 8 else image.astype(np.uint16) * 257
    if channels == 1:
        pixels = pixels[..., 1]
    elif channels == 4:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max)]).astype(pixels.dtype)
    orders = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    order = orders[channels]
    assert cv2.imwrite(str(path), pixels if order is None else cv2.cvtColor(pixels, order))
    return path


DEPTHS = itertools.cycle([(8, 8), (8, 16), (16, 8), (16, 16)])
PAIRS = [
    (ending, kinds, next(DEPTHS)) for ending in ("png", "tiff") for kinds in itertools.product(KINDS, KINDS)
]  # each pair of kinds at two pairs of depths


@pytest.mark.slow_except("png-('gray', 'gray')-(8, 8)")
@pytest.mark.parametrize(("ending", "kinds", "depths"), PAIRS, ids=str)
def test_bit_depths_and_channels_of_a_pair_may_differ(
    depths: tuple[int, int], kinds: tuple[str, str], ending: str, tmp_path: Path
) -> None:
    gray = np.repeat(scene()[..., 1:2], 3, axis=2)
    edited = gray.copy()
    edited[60:90, 70:100] = 250
    pair = [
        write(tmp_path / f"{name}.{ending}", image, depth=depth, channels=KINDS[kind])
        for name, image, depth, kind in zip("oe", (gray, edited), depths, kinds, strict=True)
    ]
    found = keep(*pair)
    first = read_pixels(pair[0])
    assert (found.found, found.kept.pixels.dtype, found.kept.pixels.shape) == (
        "local change",
        first.pixels.dtype,
        first.pixels.shape,
    )
    changed = (edited != gray).any(axis=2)
    np.testing.assert_array_equal(found.kept.pixels[~changed], first.pixels[~changed])
    np.testing.assert_array_equal(found.kept.image.convert("RGB"), edited)
    assert check(*pair).report.found == "local change"


@pytest.mark.parametrize("noisy", [False, True])
def test_paint_and_holes_beyond_an_outline_keep_their_alpha(noisy: bool) -> None:
    edited = with_hat(sticker())
    edited[100:130, 70:100] = 0
    second = edited.copy()
    if noisy:
        second[..., :3] = as_jpeg(edited[..., :3])
    original = Image.fromarray(sticker())
    found = keep(original, Image.fromarray(second))
    assert found.found == "local change"
    np.testing.assert_allclose(found.kept.pixels[..., 3].astype(int), edited[..., 3], atol=8 if noisy else 0)
    assert np.abs(found.kept.pixels[15:40, 60:100].astype(int) - (*RED, 255)).mean() < 5
    assert found.became_transparent == pytest.approx(900 / SIDE**2, rel=0.1)
    assert found.became_opaque > 0.01
    assert any("became transparent" in line for line in found.lines)


@pytest.mark.slow_except("ground0-True")
@pytest.mark.parametrize(("ground", "noisy"), [((255, 255, 255), True), ((0, 0, 0), False), ((90, 140, 60), True)])
def test_an_opaque_edit_is_compared_on_its_own_background(ground: tuple[int, int, int], noisy: bool) -> None:
    edited = with_hat(sticker())
    cv2.circle(edited, (80, 110), 14, (*RED, 255), -1)
    edited[85:100, 10:40] = 0  # a part of the outline is gone
    second = on(edited, ground)
    found = keep(Image.fromarray(sticker()), Image.fromarray(as_jpeg(np.asarray(second))) if noisy else second)
    assert found.found == "local change"
    kept = found.kept.pixels
    assert (kept[15:40, 60:100, 3] == 255).all()
    assert np.abs(kept[15:40, 60:100, :3].astype(int) - RED).mean() < 6
    assert np.abs(kept[105:115, 75:85, :3].astype(int) - RED).mean() < 6
    assert kept[88:97, 12:36, 3].mean() < 10
    corner = np.s_[:6]
    np.testing.assert_array_equal(kept[corner], sticker()[corner])


def with_shadow(pixels: np.ndarray, strength: float, center: tuple[int, int] = (100, 140)) -> np.ndarray:
    """A soft shadow under a cut-out."""
    plane = np.zeros((SIDE, SIDE), dtype=np.float32)
    cv2.ellipse(plane, center, (45, 10), 0, 0, 360, strength, -1)
    alpha = pixels[..., 3:] / 255.0
    all_of_it = alpha + (1 - alpha) * cv2.GaussianBlur(plane, (0, 0), 5)[..., None]
    colors = pixels[..., :3] * alpha / np.maximum(all_of_it, 1e-6)
    return np.rint(np.dstack([colors, 255 * all_of_it])).astype(np.uint8)


@pytest.mark.parametrize("what", ["same", "removed", "moved", "floor"])
def test_a_soft_shadow_changes_as_a_whole_and_the_ground_that_was_taken_off_is_a_doubt(what: str) -> None:
    original = with_shadow(sticker(), 0.5)
    hat, white = with_hat(sticker()), (255, 255, 255)
    edited = hat if what == "removed" else with_shadow(hat, 0.5, (40 if what == "moved" else 100, 140))
    shown = np.asarray(on(edited, white)).copy()
    if what == "floor":
        shown[100:] = np.rint(shown[100:] * (0.8, 0.75, 0.7)).astype(np.uint8)
    found = keep(Image.fromarray(original), Image.fromarray(shown))
    kept, alpha = found.kept.pixels, original[..., 3]
    shadow = (alpha > 2) & (cv2.dilate(sticker()[..., 3], np.ones((9, 9), np.uint8)) == 0)
    again = np.asarray(on(kept, white)).astype(int)
    assert np.abs(again - shown)[shadow].max() < 16, "on the ground that the editor saw"
    alphas = {"same": alpha[shadow], "removed": 0, "floor": 255}
    if what in alphas:
        assert np.abs(kept[shadow, 3].astype(int) - alphas[what]).max() < 8
    np.testing.assert_array_equal(kept[50:70, :25], original[50:70, :25])  # the outline on the left
    assert any("ground" in doubt for doubt in found.doubts) == (found.found != "background replaced")
    opaque = Image.fromarray(original[..., :3])
    assert not any("ground" in doubt for doubt in keep(opaque, opaque).doubts)


def test_a_removed_background_is_kept_even_if_moved() -> None:
    cut = np.dstack([scene(), sticker()[..., 3]])
    report = check(Image.fromarray(scene()), Image.fromarray(cut)).report
    assert report.found == "background replaced"
    assert report.became_transparent == pytest.approx((sticker()[..., 3] < 230).mean(), abs=0.02)
    other = moved(cut, similarity((3.0, -2.0), 1.02), (SIDE, SIDE))
    there = keep(Image.fromarray(scene()), Image.fromarray(other))
    assert there.found == "background replaced"
    np.testing.assert_allclose(there.shift_px, (3.0, -2.0), atol=0.2)
    assert there.became_transparent == pytest.approx(report.became_transparent, abs=0.08), (
        "without what lies outside the frame"
    )
    inside = cv2.erode(sticker()[..., 3], np.ones((9, 9), np.uint8)) == 255
    assert (there.kept.pixels[inside][:, :3] == scene()[inside]).mean() > 0.97


def test_holes_become_white_with_a_warning_in_formats_without_alpha(tmp_path: Path) -> None:
    cut = np.dstack([scene(), sticker()[..., 3]])
    found = keep(Image.fromarray(scene()), Image.fromarray(cut))
    with pytest.warns(UserWarning, match=r"kept\.jpg"):
        found.save(tmp_path / "kept.jpg")
    assert np.asarray(Image.open(tmp_path / "kept.jpg"))[:5, :5].min() > 250
    found.save(tmp_path / "kept.png")
    assert np.asarray(Image.open(tmp_path / "kept.png"))[:5, :5, 3].max() == 0


def written(pixels: np.ndarray, kind: str) -> Image.Image:
    """Encoded and decoded again."""
    if kind == "copy":
        return Image.fromarray(pixels)
    return Image.open(io.BytesIO(encoded(pixels, kind, quality=90)))


def drawn_original(kind: str, seed: int) -> np.ndarray:
    """A photograph-like image, boxes on a background, or one color."""
    generator = np.random.default_rng(seed)
    if kind == "photograph":
        return scene(seed=seed)
    image = np.full((SIDE, SIDE, 3), generator.integers(0, 256, 3), dtype=np.uint8)
    for left, top, width, height in generator.integers(10, 90, (6, 4)) if kind == "graphic" else ():
        image[top : top + height, left : left + width] = generator.integers(0, 256, 3)
    return image


def test_alpha_changed_where_no_shift_of_a_pixel_explains_it() -> None:
    original = np.zeros((40, 60), dtype=np.float32)
    original[10:30, 10:50] = 255
    assert not alpha_change(original, np.roll(original, 1, axis=1)).any()
    for levels, seen in ((15, False), (34, True)):
        edited = original.copy()
        edited[15:20, 20:30] -= levels
        assert alpha_change(original, edited)[17, 25] == seen
    edited[21, 20:30] -= 9  # a soft edge
    edited[22, 20:30] -= 4
    edited[28, 20:30] -= 9  # far from there
    assert alpha_change(original, edited)[[17, 21, 22, 28], 25].tolist() == [True, True, False, False]


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (90, 140, 60)], ids=str)
def test_the_ground_is_the_color_of_the_transparent_part(ground: tuple[int, int, int]) -> None:
    edited = np.asarray(on(with_hat(sticker()), ground)).astype(np.float32)
    edited += np.random.default_rng(0).normal(0, 2, edited.shape)
    found, share = ground_of(sticker()[..., 3], np.kron(edited, np.ones((2, 2, 1))).astype(np.float32))
    np.testing.assert_allclose(found, ground, atol=4)
    clear = sticker()[..., 3] == 0
    painted = clear & (with_hat(sticker())[..., 3] > 0)
    assert share == pytest.approx(1 - painted.sum() / clear.sum(), abs=0.02)
    assert ground_of(np.full((SIDE, SIDE), 255, np.uint8), edited)[1] == 0


def test_without_its_ground_an_edit_has_the_alpha_of_its_parts() -> None:
    """On white: a cut-out of gray with a light bar; bites from its edge, a white dot inside, paint beyond it."""
    original = np.zeros((60, 80, 4), dtype=np.uint8)
    original[10:50, 20:60] = (120, 120, 120, 255)
    original[10:50, 30:33] = (237, 237, 237, 255)  # 18 levels from white, as a bite may not be
    original[20:40, 59] = (120, 120, 120, 100)
    laid = levels_on_white(original)
    shown = laid.copy()
    shown[10:16, 22:40] = 255  # a bite
    shown[25:30, 40:45] = 255  # a dot, which does not reach the transparent part
    shown[30:45, 4:12] = (200, 30, 30)
    shown[30, 70] = (200, 30, 30)  # a speck
    shown[35:38, 50:54] += 0.6  # rounding
    edited = np.rint(shown).astype(np.uint8)
    found = without_ground(original, laid, edited, shown, np.full(3, 255, dtype=np.float32))
    alpha = original[..., 3].copy()
    alpha[10:16, 22:40], alpha[10:16, 30:33], alpha[30:45, 4:12] = 0, 255, 255
    np.testing.assert_array_equal(found[..., 3], alpha)
    np.testing.assert_array_equal(found[20:40, 59], original[20:40, 59], "what is half transparent keeps its colors")
    np.testing.assert_array_equal(found[30:45, 4:12, :3], edited[30:45, 4:12])
    np.testing.assert_array_equal(found[25:30, 40:45, :3], 255)
    soft = shown.copy()
    soft[20:40, 59] = (235, 195, 195)  # paint on what is half transparent
    recolored = without_ground(original, laid, np.rint(soft).astype(np.uint8), soft, np.full(3, 255, dtype=np.float32))
    opacity = 100 / 255
    np.testing.assert_allclose(
        recolored[30, 59, :3], (np.array([235, 195, 195]) - 255 * (1 - opacity)) / opacity, atol=0.51
    )


def levels_on_white(pixels: np.ndarray) -> np.ndarray:
    opacity = pixels[..., 3:].astype(np.float32) / 255
    return pixels[..., :3] * opacity + 255 * (1 - opacity)


@pytest.mark.slow
def test_the_rings_of_a_codec_on_a_flat_image_are_no_restoration() -> None:
    original = drawn_original("flat", 0)
    edited = np.dstack([original, np.full((SIDE, SIDE), 255, np.uint8)])
    edited[4:25, 4:25] = 0
    assert keep(Image.fromarray(original), written(edited, "WEBP")).found == "local change"


@pytest.mark.slow
@settings(max_examples=500 if settings.default.max_examples > 25 else 8)
@given(data=st.data())
def test_any_painted_or_erased_shape_is_found_and_kept(data: Any) -> None:
    seed, side = data.draw(st.integers(0, 10_000), "seed"), data.draw(st.integers(20, 44), "side")
    left, top = (data.draw(st.integers(4, SIDE - 4 - side), name) for name in ("left", "top"))
    kind = data.draw(st.sampled_from(["copy", "WEBP", "JPEG"]), "codec")
    is_cut = data.draw(st.booleans(), "cut out")
    erased = kind != "JPEG" and data.draw(st.booleans(), "erased")
    draw = data.draw(st.sampled_from(["rectangle", "ellipse"]), "shape")
    look = data.draw(st.sampled_from(["photograph", "graphic", "flat"]), "original")
    original = drawn_original(look, seed)
    if is_cut:
        original = np.dstack([original, sticker()[..., 3]])
    shape = Image.new("L", (SIDE, SIDE))
    getattr(ImageDraw.Draw(shape), draw)((left, top, left + side, top + side), fill=255)
    inside = np.asarray(shape) > 0
    usual = original[inside][:, :3].mean(axis=0)
    paint = np.where(usual > 127, usual - 110, usual + 110).astype(np.uint8)
    edited = original.copy() if original.shape[2] == 4 else np.dstack([original, np.full((SIDE, SIDE), 255, np.uint8)])
    edited[inside] = 0 if erased else (*paint, 255)
    if kind == "JPEG":
        second = written(np.asarray(on(edited, (255, 255, 255))), kind)
    else:
        second = written(edited if erased or is_cut else edited[..., :3].copy(), kind)
    visible = inside & ((edited[..., 3] > 0) | (original[..., 3] > 0 if is_cut else True))
    if visible.sum() < 200:
        return
    found = keep(Image.fromarray(original), second)
    kept = (
        found.kept.pixels
        if found.kept.pixels.shape[2] == 4
        else np.dstack([found.kept.pixels, 255 * np.ones_like(inside)])
    )
    shown, wanted = (
        one[..., :3] * (one[..., 3:] / 255) + 255 - one[..., 3:] for one in (kept.astype(float), edited.astype(float))
    )
    core = cv2.erode(visible.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    far = cv2.dilate(inside.astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    assert found.found == "local change"
    assert np.abs(shown - wanted)[core].mean() < 8
    first = original if is_cut else np.dstack([original, np.full((SIDE, SIDE), 255, np.uint8)])
    same = (kept == first).all(axis=2) | ((kept[..., 3] == 0) & (first[..., 3] == 0))
    if kind == "copy" or look == "photograph":  # the rings of codecs around saturated edges are still taken over
        assert same[far].mean() > 0.99


def test_shares_of_what_became_transparent_and_opaque() -> None:
    """A pixel counts if its alpha changes by a tenth or more; an image without alpha is opaque."""
    opaque = np.full((10, 10, 3), 90, np.uint8)
    alpha = np.full((10, 10, 1), 255, np.uint8)
    alpha[:3], alpha[3:] = 128, 232  # 232 of 255 is less than a tenth away
    given, clear = (read_pixels(Image.fromarray(pixels)) for pixels in (opaque, np.dstack([opaque, alpha])))
    assert transparency_changed(given, clear) == (pytest.approx(0.3), 0)
    assert transparency_changed(clear, given) == (0, pytest.approx(0.3))

"""Pairs that are identical, bit for bit, except for the change."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from latentedit.keeping.api import keep
from latentedit.keeping.checking import check
from latentedit.pixels.change import LOCAL
from latentedit.pixels.differing import at_depth
from latentedit.pixels.exact import exact_change
from tests.keep.pairs import SIDE, as_jpeg, cast, encoded, moved, scene, similarity, some, with_object


def page(ground: int, card: int = 240) -> np.ndarray:
    """Text in boxes, like a screenshot."""
    image = Image.new("RGB", (320, 240), (ground,) * 3)
    draw = ImageDraw.Draw(image)
    for top in range(20, 220, 45):
        draw.rectangle((30, top, 290, top + 30), fill=(card,) * 3)
        draw.rectangle((40, top + 10, 150, top + 16), fill=(40,) * 3)
    return np.asarray(image)


def speck(image: np.ndarray, levels: int = 1) -> np.ndarray:
    """One brighter pixel."""
    edited = image.copy()
    edited[50, 60] += levels
    return edited


def sprite() -> np.ndarray:
    return np.kron(np.random.default_rng(4).integers(0, 2, (8, 8, 1)), np.ones((4, 4, 3))).astype(np.uint8) * 90 + 60


def repainted() -> np.ndarray:
    edited = sprite()
    edited[4:7, 10:21] = (200, 40, 60)
    return edited


@pytest.mark.slow_except("pixel art")
@pytest.mark.parametrize(
    ("original", "edited"),
    [
        (scene(), speck(scene())),
        (page(26), page(0)),
        (page(26), page(27)),
        (page(26), page(26, card=235)),
        (sprite(), repainted()),
        (np.full((60, 90, 3), 128, np.uint8), speck(np.full((60, 90, 3), 128, np.uint8), 90)),
        (scene(), with_object(scene(), radius=70)),
    ],
    ids=["one pixel", "a new ground", "by one level", "new cards", "pixel art", "a flat image", "most of it"],
)
def test_the_change_is_every_differing_pixel_without_uncertainty(original: np.ndarray, edited: np.ndarray) -> None:
    first, second = Image.fromarray(original), Image.fromarray(edited)
    found, report = keep(first, second), check(first, second).report
    np.testing.assert_array_equal(found.kept.pixels, edited)
    assert (found.found in LOCAL, found.zoom, report.found) == (True, 1, found.found)
    share = (original != edited).any(axis=2).mean()
    assert report.changed.value == pytest.approx(share) == found.changed_share
    assert {report.changed.uncertainty, report.cast and report.cast.uncertainty, report.box_uncertainty_px} == {0}
    assert report.least_px == 0


def badge(image: np.ndarray) -> np.ndarray:
    """The image with the watermark of a service."""
    stamped = image.copy()
    stamped[-30:, -30:] = scene(30, seed=9)
    return stamped


@pytest.mark.parametrize(
    "edited",
    [
        cast(scene()),
        moved(scene(), similarity((1.0, 0.0)), (SIDE, SIDE)),
        as_jpeg(scene()),
        (scene() + np.random.default_rng(0).integers(0, 2, scene().shape)).astype(np.uint8),
        scene(seed=8),
    ],
    ids=["cast", "moved by a pixel", "jpeg", "noise", "another"],
)
def test_other_pairs_are_registered(edited: np.ndarray) -> None:
    assert exact_change(scene(), edited) is None
    assert exact_change(badge(scene()), badge(edited)) is None


@pytest.mark.parametrize(
    "edited",
    [
        moved(page(26), similarity((1.0, 1.0)), (320, 240)),
        cv2.GaussianBlur(page(26), (0, 0), 0.5),
        as_jpeg(page(26), 98),
        np.rint(page(26) * np.array([1, 0.97, 0.95])).astype(np.uint8),
    ],
    ids=["moved by a pixel", "blurred", "jpeg", "cast"],
)
def test_of_flat_boxes_that_were_not_just_recolored_outlines_or_all_pixels_differ(edited: np.ndarray) -> None:
    assert exact_change(page(26), edited) is None


@pytest.mark.parametrize("cut", [False, True])
def test_pixels_of_another_bit_depth_are_equal_if_rounded_or_truncated_from_the_same(cut: bool) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    flat = (deep >> 8 if cut else (deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    np.testing.assert_array_equal(at_depth(flat, deep), deep)
    np.testing.assert_array_equal(at_depth(deep, flat), flat)
    assert (at_depth(flat + 3, deep) != deep).all()


def test_equal_grain_is_enough_where_all_corners_changed() -> None:
    """A thing with texture is replaced on a ground of two levels; with new grain the ground differs as well."""
    ground = np.full((SIDE, SIDE, 3), 128, np.uint8) + np.random.default_rng(0).integers(
        0, 2, (SIDE, SIDE, 1), np.uint8
    )
    original, edited = ground.copy(), ground.copy()
    original[40:120, 40:120], edited[40:120, 40:120] = scene()[:80, :80], scene(seed=9)[:80, :80]
    np.testing.assert_array_equal(exact_change(original, edited), (original != edited).any(axis=2))
    assert exact_change(original, edited + np.random.default_rng(1).integers(0, 2, edited.shape, np.uint8)) is None


def speckled(image: np.ndarray, count: int, levels: int, side: int = 1) -> np.ndarray:
    """The image with brighter squares on a grid of 16 columns."""
    edited = image.copy()
    for number in range(count):
        top, left = 2 + 9 * (number // 16), 2 + 10 * (number % 16)
        edited[top : top + side, left : left + side] += np.uint8(levels)
    return edited


@pytest.mark.parametrize(
    ("count", "levels", "side", "exact"),
    [(10, 3, 1, True), (40, 3, 1, False), (100, 9, 1, True), (60, 3, 2, False)],
    ids=["few", "many", "strong", "small"],
)
def test_many_faint_specks_are_noise(count: int, levels: int, side: int, exact: bool) -> None:
    """Saving a JPEG twice leaves them."""
    edited = speckled(scene(), count, levels, side)
    assert (exact_change(scene(), edited) is not None) == exact


@pytest.mark.parametrize(("size", "exact"), [(30, False), (100, True)])
def test_equal_structure_must_be_spread_over_half_of_the_image(size: int, exact: bool) -> None:
    edited = scene(seed=8)
    edited[:size, :size] = scene()[:size, :size]
    edited[:3, :size] = scene()[:3, :size]
    assert (exact_change(scene(), edited) is not None) == exact


def test_pixels_that_are_transparent_in_both_images_are_equal() -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[:40] = 0
    original, edited = (np.dstack([image, alpha]) for image in (scene(), with_object(scene())))
    edited[:40, :, :3] = 9
    change = some(exact_change(original, edited))
    np.testing.assert_array_equal(change, (edited != original).any(axis=2) & (alpha[..., 0] > 0))
    edited[60, 60, 3] = 90
    change = some(exact_change(original, edited))
    assert change[60, 60]
    deep = exact_change(original.astype(np.uint16) * 257, edited.astype(np.uint16) * 257)
    np.testing.assert_array_equal(deep, change)
    opaque = some(exact_change(scene(), np.dstack([scene(), np.where(alpha == 0, 250, 255).astype(np.uint8)])))
    assert opaque.sum() == 40 * SIDE


def soft() -> np.ndarray:
    """A wall above a sky of two levels: texture that moving changes everywhere, and grain that it leaves as it is."""
    image = np.full((240, 320, 3), (90, 120, 170), np.float32)
    grain = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 3, (240, 320)).astype(np.float32), (0, 0), 3.0)
    image += np.rint(grain)[..., None]
    image[:130] = scene(130, width=320)
    return np.rint(image).astype(np.uint8)


def patched(image: np.ndarray) -> np.ndarray:
    edited = image.copy()
    edited[150:178, 40:68] = 255 - edited[150:178, 40:68]
    return edited


def shifted(image: np.ndarray, across: float, down: float) -> np.ndarray:
    return moved(image, np.array([[1, 0, across], [0, 1, down]]), (image.shape[1], image.shape[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "editor",
    [
        lambda image: shifted(image, 0.05, 0.05),
        lambda image: shifted(image, 0.0, 0.1),
        lambda image: cv2.addWeighted(image, 1.2, cv2.GaussianBlur(image, (0, 0), 1.0), -0.2, 0),
    ],
    ids=["moved by .05 px", "moved down", "sharpened"],
)
def test_a_resampled_image_is_equal_in_smooth_parts_and_not_exact(editor: Callable[[np.ndarray], np.ndarray]) -> None:
    image, edited = soft(), patched(editor(soft()))
    assert (image != edited).any(axis=2).mean() < 0.6, "most of it is equal"
    assert exact_change(image, edited) is None
    share = float(np.asarray(keep(Image.fromarray(image), Image.fromarray(edited)).mask).mean()) / 255
    assert share < 1.5 * 28 * 28 / image[..., 0].size


def coded(image: np.ndarray, kind: str, **options: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded(image, kind, **options))).convert("RGB"))


LOW, MIDDLE = (150, 300), (260, 150)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "center", "seed"),
    [
        ("WEBP", {"quality": 80, "method": 0}, LOW, 5),
        ("WEBP", {"quality": 60}, MIDDLE, 5),
        ("AVIF", {"quality": 75, "subsampling": "4:4:4", "speed": 8}, MIDDLE, 5),
        ("AVIF", {"quality": 50}, LOW, 5),
        ("AVIF", {"quality": 50}, LOW, 8),
    ],
)
def test_what_a_codec_changes_behind_a_change_is_no_change(
    kind: str, options: dict[str, Any], center: tuple[int, int], seed: int
) -> None:
    """Blocks are predicted from those before: what lies above is equal, bit for bit, and what lies below is noisy."""
    image = cv2.GaussianBlur(scene(384, seed=seed), (0, 0), 1.2).astype(np.uint8)
    changed = with_object(image, center, 24)
    original, edited = coded(image, kind, **options), coded(changed, kind, **options)
    differs, true = (original != edited).any(axis=2), (image != changed).any(axis=2)
    assert differs[true].mean() > 0.9
    for first, second in ((original, edited), (edited, original)):
        found = exact_change(first, second)
        assert found is None or found.mean() < 2 * true.mean()
        report = check(Image.fromarray(first), Image.fromarray(second)).report
        share = report.changed
        assert share.value < 2 * true.mean() or share.value - share.uncertainty <= true.mean()
        assert share.value > 0.5 * true.mean()


def noise_behind(sigma: float = 4.0) -> np.ndarray:
    """Smooth noise below a disc at (150, 120), which falls with the distance from the disc, in levels."""
    noise = np.random.default_rng(0).normal(0, 15 * sigma, (384, 384)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigma)
    distance = np.arange(384)[:, None] - 140
    noise *= np.exp(-distance / 300) * (distance > 0)
    noise[:, 230:] = 0
    return noise[..., None]


def plus(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.rint(image + levels).clip(0, 255).astype(np.uint8)


def test_faint_noise_behind_a_change_is_left_by_a_codec() -> None:
    """The case of an AVIF pair of which 19 % differs for an edit of 1.9 %."""
    image = scene(384, seed=5)
    changed = with_object(image, (150, 120), 24)
    edited = plus(changed, noise_behind())
    true = (image != changed).any(axis=2).mean()
    assert (image != edited).any(axis=2).mean() > 10 * true
    assert exact_change(image, edited) is None
    report = check(Image.fromarray(image), Image.fromarray(edited)).report
    assert 0.5 * true < report.changed.value < 2 * true


def test_faint_soft_lights_and_shadows_are_an_exact_change() -> None:
    image = scene(384, seed=5)
    edited = plus(with_object(image, (150, 120), 24), noise_behind(sigma=20.0))
    np.testing.assert_array_equal(exact_change(image, edited), (image != edited).any(axis=2))


@pytest.mark.parametrize("kind", ["sharpened", "grain"])
def test_faint_filters_in_a_selection_stay_exact(kind: str) -> None:
    image = scene(384, seed=5)
    values = image.astype(np.float32)
    levels = {
        "sharpened": (values - cv2.GaussianBlur(values, (0, 0), 5.0)) / 2,
        "grain": np.random.default_rng(0).normal(0, 3, (384, 384, 1)),
    }[kind]
    edited = with_object(image, (330, 60), 20)
    edited[96:288, 64:256] = plus(image, levels)[96:288, 64:256]
    np.testing.assert_array_equal(exact_change(image, edited), (image != edited).any(axis=2))


@pytest.mark.parametrize(("radius", "exact"), [(75, True), (20, False)])
def test_little_noise_beside_a_large_change_is_left_by_no_codec(radius: int, exact: bool) -> None:
    image = scene(384, seed=5)
    edited = with_object(image, (280, 110), radius)
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 5, (40, 30)).astype(np.float32), (0, 0), 1.0)
    noise = np.rint(noise) + np.where(noise < 0, -1, 1)
    edited[300:340, 40:70] = plus(image[300:340, 40:70], noise[..., None])
    assert (exact_change(image, edited) is not None) == exact


@pytest.mark.parametrize("quality", [50, 90])
def test_jpeg_changes_blocks_around_a_change_alone(quality: int) -> None:
    image = scene(384, seed=5)
    original, edited = (as_jpeg(one, quality) for one in (image, with_object(image, (260, 150), 24)))
    np.testing.assert_array_equal(exact_change(original, edited), (original != edited).any(axis=2))


def brushed(image: np.ndarray, color: float, opacity: float) -> np.ndarray:
    """Drawn over by a large soft brush."""
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    weight = opacity * (1 - (x**2 + y**2) / 0.8).clip(0, 1)[..., None]
    return np.rint(image + weight * (color - image)).astype(np.uint8)


@pytest.mark.parametrize(("color", "opacity"), [(0, 0.1), (255, 0.04)], ids=["a vignette", "light"])
def test_faint_soft_brushes_stay_exact(color: float, opacity: float) -> None:
    image = soft()
    edited = brushed(image, color, opacity)
    np.testing.assert_array_equal(exact_change(image, edited), (image != edited).any(axis=2))


def test_soft_rims_in_a_smooth_image_stay_exact() -> None:
    """Results of `keep` have them; rounded, they are specks of both signs."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[-1:1:180j, -1:1:256j]
    blob, opacity = (np.exp(-(x**2 + (y - low) ** 2) / width)[..., None] for low, width in ((0, 0.25), (0.2, 0.12)))
    image = 120 + 60 * blob + cv2.GaussianBlur(random.normal(0, 1.2, (180, 256, 3)), (0, 0), 1.0)
    paint = cv2.GaussianBlur(random.normal(0, 90, (180, 256, 3)), (0, 0), 6.0) + random.normal(0, 2, (180, 256, 3))
    original = np.rint(image).astype(np.uint8)
    edited = np.rint(original + (1.6 * opacity - 0.1).clip(0, 1) * paint).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(exact_change(original, edited), (original != edited).any(axis=2))


def test_thin_lines_all_over_the_image_are_exact() -> None:
    image = scene(384, seed=5)
    edited = image.copy()
    edited[::24], edited[:, ::24] = 255, 255
    np.testing.assert_array_equal(exact_change(image, edited), (image != edited).any(axis=2))


LONG = [(1, 2), (1, 24), (200, 1), (2, 200), (500, 3), (24, 9)]
SMALL = [(side, side) for side in (2, 3, 4, 5, 6, 7, 8, 11, 16, 24)] + LONG


@pytest.mark.slow
@pytest.mark.parametrize("transparent", [False, True])
def test_small_images_are_compared_pixel_by_pixel(transparent: bool) -> None:
    """Icons and sprites: one pixel or a block of up to half of the image."""
    generator = np.random.default_rng(7)
    for height, width in SMALL:
        original = np.full((height, width, 4), (40, 90, 200, 255), np.uint8)
        cv2.circle(original, (width // 2, height // 2), max(1, min(height, width) // 3), (250, 240, 90, 255), -1)
        if transparent:
            original[:, : width // 3, 3] = 0
            original[..., 3] //= 2
        original = original if transparent else original[..., :3]
        faint = original.copy()
        faint[-1, -1, :3] += 3 if min(height, width) > 1 else 9  # a codec leaves some of so few pixels of one color
        np.testing.assert_array_equal(keep(original, faint).kept.pixels, faint)
        for most in (0.0, 0.7):
            edited = original.copy()
            top, left = int(generator.integers(height)), int(generator.integers(width // 3, width))
            bottom, right = top + 1 + int(most * (height - top - 1)), left + 1 + int(most * (width - left - 1))
            edited[top:bottom, left:right, :3] ^= generator.integers(64, 128, (bottom - top, right - left, 3), np.uint8)
            found = keep(original, edited)
            np.testing.assert_array_equal(found.kept.pixels, edited)
            assert found.found in ("local change", "background replaced", "redrawn"), "it is no noise"
            assert check(kept=found).report.changed.value == (original != edited).any(axis=2).mean()
        assert keep(original, original.copy()).found == "identical"


@pytest.mark.parametrize("side", [4, 8, 16])
def test_small_images_that_were_resized_or_compressed_are_not_exact(side: int) -> None:
    photo = scene(64)[:: 64 // side, :: 64 // side][:side, :side]
    icon = np.full((side, side, 3), (40, 90, 200), np.uint8)
    cv2.circle(icon, (side // 2, side // 2), side // 3, (250, 240, 90), -1, cv2.LINE_AA)
    noise = np.repeat(np.random.default_rng(side).integers(0, 256, (side, side, 1), np.uint8), 3, axis=2)
    for image in (photo, icon, noise):
        for edited in (as_jpeg(image), cv2.resize(image, (4 * side, 4 * side))):
            found = keep(image, edited)
            assert found.found in ("nothing", "faint change")
            assert found.doubts


def test_a_fifth_of_equal_pixels_in_a_small_compressed_image_is_chance() -> None:
    for seed in range(40):
        image = np.repeat(np.random.default_rng(seed).integers(0, 256, (9, 8, 1), np.uint8), 3, axis=2)
        assert exact_change(image, as_jpeg(image)) is None


def test_of_few_pixels_of_about_one_color_some_are_equal_by_chance() -> None:
    original, edited = (np.uint8([[[level] * 3 for level in levels]]) for levels in ((66, 70), (66, 69)))
    assert exact_change(original, edited) is None
    assert exact_change(original, edited + np.uint8([[[0], [20]]])) is not None


def test_of_a_single_pixel_another_color_is_another_image() -> None:
    found = keep(np.full((1, 1, 3), 90, np.uint8), np.full((1, 1, 3), 200, np.uint8))
    assert (found.found, found.kept.pixels.min()) == ("redrawn", 200)

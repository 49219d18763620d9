"""Registration of images with known displacements."""

import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image

from latentedit.keeping.api import keep
from latentedit.photo.warp import scaling, translation
from latentedit.pixels import registration
from latentedit.pixels.registration import (
    Registration,
    _Edges,
    _from_crops,
    _sane,
    _shown_part,
    _textured,
    distance_px,
    find_crops,
    find_drift,
    find_turn,
    normalized,
    register,
    tile_agreement,
    undrift,
)
from tests.keep.pairs import SIDE, cast, moved, scene, similarity, some, with_object


def levels(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def test_crops_of_another_shape_keep_the_center() -> None:
    """Cut at two sides, or with bars at the other two; both are squares in the frame of the original."""
    size, edited, working = (300, 200), (160, 160), (80, 60)
    in_working = list(_from_crops(size, edited, working))
    zooms = list[float]()
    for matrix in in_working:
        full = scaling(working, edited) @ matrix @ scaling(size, working)
        np.testing.assert_allclose(full @ (149.5, 99.5, 1), (79.5, 79.5, 1), atol=1e-9)
        np.testing.assert_allclose(full[:2, :2], full[0, 0] * np.eye(2), atol=1e-12)
        zooms.append(full[0, 0])
    assert zooms == pytest.approx([160 / 200, 160 / 300])
    assert not list(_from_crops(size, (150, 100), working))


@pytest.mark.parametrize(
    ("shift", "zoom", "degrees"),
    [((0.0, 0.0), 1.0, 0.0), ((3.4, -2.7), 1.0, 0.0), ((-6.2, 4.1), 1.04, 0.0), ((1.5, 9.3), 0.96, 0.8)],
)
def test_shift_zoom_and_rotation_are_found(shift: tuple[float, float], zoom: float, degrees: float) -> None:
    image = scene()
    matrix = similarity(shift, zoom, degrees)
    edited = cast(moved(with_object(image), matrix, (SIDE, SIDE)))
    found = register(levels(image), levels(edited))
    assert distance_px(found.matrix, matrix, (SIDE, SIDE)) < min(0.1, 3 * found.uncertainty_px)
    np.testing.assert_allclose(found.shift_px, shift, atol=0.1)
    assert found.zoom == pytest.approx(zoom, abs=2e-3)
    assert found.rotation_degrees == pytest.approx(degrees, abs=0.05)
    assert found.uncertainty_px < 1


def test_another_size_and_aspect_ratio_are_registered() -> None:
    image = scene(width=200)
    matrix = scaling((200, SIDE), (256, 192)) @ similarity((2.3, 1.1))
    edited = moved(with_object(image), matrix, (256, 192))
    found = register(levels(image), levels(edited))
    assert distance_px(scaling((256, 192), (200, SIDE)) @ found.matrix, similarity((2.3, 1.1)), (200, SIDE)) < 0.1
    assert found.zoom == pytest.approx(1, abs=2e-3)


def test_a_central_crop_is_found() -> None:
    image = scene(width=240)
    edited = image[:, 40:200]
    found = register(levels(image), levels(edited))
    np.testing.assert_allclose(found.matrix[:2], [[1, 0, -40], [0, 1, 0]], atol=0.05)
    assert found.outside_share == pytest.approx(80 / 240, abs=0.01)


def test_a_negative_is_registered() -> None:
    matrix = similarity((3.4, -2.7))
    found = register(levels(scene()), 255 - levels(moved(scene(), matrix, (SIDE, SIDE))))
    assert distance_px(found.matrix, matrix, (SIDE, SIDE)) < 0.5


def test_extreme_maps_are_discarded() -> None:
    assert all(_sane(np.diag([zoom, 1.2 * zoom])) for zoom in (0.35, 1, 2.4))
    assert _sane(np.diag([1.5, 1.0]))
    assert not any(_sane(np.diag(scales)) for scales in ((-1.0, 1.0), (0.25, 0.3), (3.5, 3.0), (1.0, 1.7)))


def test_a_miss_by_more_than_noise_counts_the_same_however_large_it_is() -> None:
    plane = normalized(scene()[..., 1].astype(np.float32))
    for offset, miss in ((0.0, 0), (0.5, 0.5), (5.0, 1)):
        assert _Edges(plane, plane + np.float32(offset)).miss(np.eye(3)) == pytest.approx(miss, abs=1e-3)


def test_a_flat_image_is_not_moved() -> None:
    flat = np.full((64, 80, 3), 90, dtype=np.float32)
    found = register(flat, flat)
    np.testing.assert_allclose(found.matrix, np.eye(3), atol=1e-6)


@pytest.mark.slow_except("160-3-False")
@pytest.mark.parametrize(("quarters", "mirrored"), [(1, False), (3, False), (0, True), (2, True)])
@pytest.mark.parametrize("width", [SIDE, pytest.param(240, marks=pytest.mark.nightly)])
def test_turned_and_mirrored_images_are_reported_and_turned_back(quarters: int, mirrored: bool, width: int) -> None:
    original = scene(width=width)
    edited = with_object(original)
    second = np.rot90(edited[:, ::-1] if mirrored else edited, quarters)
    found = keep(Image.fromarray(original), Image.fromarray(np.ascontiguousarray(second)))
    assert found.found == "local change"
    np.testing.assert_array_equal(found.kept.pixels, edited)
    words = found.analysis.turned
    assert found.analysis.registration.rotation_degrees == 0
    assert ("mirrored" in words) == mirrored
    assert ("to the left" in words, "half" in words, "to the right" in words) == tuple(quarters == n for n in (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("quarters", "mirrored"), [(1, False), (3, True)])
def test_opposite_turns_are_distinguished(quarters: int, mirrored: bool) -> None:
    """Features match at any angle, so that either would align."""
    original, edited = (one[:120, :180].astype(np.float32) for one in (scene(), with_object(scene())))
    second = cv2.GaussianBlur(np.rot90(edited[:, ::-1] if mirrored else edited, quarters), (0, 0), 0.7)
    assert find_turn(original, second) == (4 - quarters, mirrored)


@pytest.mark.slow
def test_another_image_is_not_turned() -> None:
    assert find_turn(scene(80).astype(np.float32), scene(80, seed=8).astype(np.float32)) is None


def test_a_registration_describes_its_matrix() -> None:
    """A 200 x 100 image was edited at twice the size, then enlarged by 10 %, turned by 3 degrees and shifted."""
    cos, sin = 1.1 * np.cos(np.radians(3)), 1.1 * np.sin(np.radians(3))
    moves = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    middle = np.array([[1, 0, 99.5], [0, 1, 49.5], [0, 0, 1.0]])
    own = np.array([[1, 0, 4], [0, 1, -2], [0, 0, 1.0]]) @ middle @ moves @ np.linalg.inv(middle)
    size, edited = (200, 100), (400, 200)
    found = Registration(
        matrix=scaling(size, edited) @ own, agreement=1, inliers=0, uncertainty_px=0, size=size, edited_size=edited
    )
    np.testing.assert_allclose(found.resized, own, atol=1e-9)
    np.testing.assert_allclose(found.shift_px, (4, -2), atol=1e-9)
    assert found.zoom == pytest.approx(1.1)
    assert found.rotation_degrees == pytest.approx(3)
    half, matrix = found.scaled(100)
    assert half == (100, 50)
    np.testing.assert_allclose(matrix, scaling(size, edited) @ own @ scaling(half, size), atol=1e-9)
    assert found.scaled() == (size, pytest.approx(found.matrix))
    shifted = dataclasses.replace(Registration.unmoved(size, size), matrix=translation(50, 25))
    assert shifted.outside_share == pytest.approx(1 - 0.75 * 0.75, abs=0.01)
    assert distance_px(np.eye(3), shifted.matrix, size) == pytest.approx(np.hypot(50, 25))
    for stretched, size in (((3.0, 1, 1), (9, 5)), ((1.0, 3, 1), (5, 9))):
        assert distance_px(np.eye(3), np.diag(stretched), size) == pytest.approx(2 * 4), "a mean of 0 to 16"


@pytest.mark.parametrize("share", [0.006, 0.015])
@pytest.mark.parametrize(
    ("at", "sides"),
    [((1, 0), {"left"}), ((0, 1), {"above"}), ((-1, 0), {"right"}), ((0, -1), {"below"}), ((0.5, -1), {"below"})],
)
def test_sides_beyond_which_an_edit_shows_more(share: float, at: tuple[float, float], sides: set[str]) -> None:
    """Named from a hundredth of the side on."""
    size = (400, 200)
    moved_by = (at[0] * share * size[0], at[1] * share * size[1])
    found = dataclasses.replace(Registration.unmoved(size, size), matrix=translation(*moved_by))
    assert {*found.beyond[1]} == (sides if share > 0.01 else set())


def test_agreement_is_the_share_of_textured_tiles_that_are_alike() -> None:
    plane, other = (
        normalized(scene(side, seed=seed)[..., 1].astype(np.float32)) for side, seed in ((240, 3), (240, 5))
    )
    assert tile_agreement(plane, plane) == 1
    assert tile_agreement(plane, other) < 0.1
    mixed = plane.copy()
    mixed[:, 120:] = other[:, 120:]
    assert tile_agreement(plane, mixed) == pytest.approx(0.5, abs=0.06)
    assert tile_agreement(plane, -plane) == tile_agreement(0 * plane, plane) == 0
    inside = np.zeros(plane.shape, dtype=bool)
    inside[:, :120] = True
    assert tile_agreement(plane, mixed, inside) == pytest.approx(1, abs=0.02)
    inside[:, 24:] = False
    assert tile_agreement(plane, plane, inside) == pytest.approx(0.2, abs=0.02), "a tenth of half of the image"
    assert tile_agreement(plane, plane, inside, shown=0.2) == 1
    flat = plane.copy()
    flat[:, 120:] = 0
    assert tile_agreement(flat, plane) > 0.98, "flat tiles do not count"


def test_local_brightness_and_contrast_do_not_matter() -> None:
    plane = scene(SIDE)[..., 1].astype(np.float32)
    x = np.linspace(0, 1, SIDE, dtype=np.float32)[None]
    lit = normalized((0.6 + 0.5 * x) * plane + 40 * x)
    assert np.corrcoef(lit.ravel(), normalized(plane).ravel())[0, 1] > 0.99
    assert normalized(plane).std() == pytest.approx(1, abs=0.1)
    assert np.abs(normalized(np.full((SIDE, SIDE), 90, np.float32))).max() < 1e-3
    faint = np.random.default_rng(0).normal(90, 1, (SIDE, SIDE)).astype(np.float32)
    assert normalized(faint).std() == pytest.approx(1 / np.sqrt(10), rel=0.1), "of one level, against three"


@pytest.mark.slow
def test_a_crop_is_found_if_it_is_one() -> None:
    """A crop may have another size; an image that is turned, nearly the whole, or tiny is none."""
    whole = scene(240, seed=5, width=320)
    part = whole[30:190, 90:270].astype(np.float32)
    larger = cv2.resize(part, (270, 240), interpolation=cv2.INTER_CUBIC)
    box, other_box = find_crops(whole.astype(np.float32), larger)
    assert np.abs(np.subtract(some(box), (90, 30, 270, 190))).max() <= 1
    assert other_box is None
    none, same_box = find_crops(larger, whole.astype(np.float32))
    assert none is None
    assert np.abs(np.subtract(some(same_box), box)).max() <= 1
    turned = cv2.warpAffine(part, cv2.getRotationMatrix2D((90, 80), 4, 1), (180, 160), borderMode=cv2.BORDER_REFLECT)
    for other in (turned, whole[4:236, 3:318], whole[100:150, 100:160]):
        assert find_crops(whole.astype(np.float32), other.astype(np.float32)) == (None, None)


def test_a_smooth_drift_is_found_and_a_small_one_is_none() -> None:
    image = scene(200).astype(np.float32)
    y, x = np.mgrid[:200, :200].astype(np.float32)
    unmoved = Registration.unmoved((200, 200), (200, 200))
    for most, found in ((4.0, True), (0.2, False), (0.0, False)):
        waves = most * np.sin(2 * np.pi * y / 200), most * np.sin(2 * np.pi * x / 200)
        edited = cv2.remap(image, x + waves[0], y + waves[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        drift = find_drift(image, edited, unmoved)
        assert (drift is not None) == found
        if drift is not None:
            assert drift[1].agreement > 0.8
            inner = np.s_[24:-24, 24:-24]
            back = undrift(edited, drift[0], unmoved)
            assert np.abs(back - image)[inner].mean() < 0.4 * np.abs(edited - image)[inner].mean()
    assert find_drift(image, scene(200, seed=8).astype(np.float32), unmoved) is None


def test_a_flow_is_in_the_pixels_of_its_plane_and_weights_colors_by_alpha() -> None:
    """A flow of (2, -1) at half the size is a shift by (4, -2)."""
    x, y = np.meshgrid(np.arange(40, dtype=np.float32), np.arange(30, dtype=np.float32))
    pixels = np.stack([x, y, x + y], axis=-1) * 3
    flow = np.broadcast_to(np.array([2, -1], dtype=np.float32), (15, 20, 2)).copy()
    found = undrift(pixels, flow, Registration.unmoved((40, 30), (40, 30)))
    np.testing.assert_allclose(found[5:-5, 5:-8, 0], pixels[5:-5, 9:-4, 0], atol=0.2)
    np.testing.assert_allclose(found[5:-5, 5:-8, 1], pixels[3:-7, 5:-8, 1], atol=0.2)
    np.testing.assert_allclose(found[5:-5, 37:, 0], pixels[5:-5, 37:34:-1, 0], atol=1, err_msg="mirrored")
    cut = np.dstack([np.where(x < 20, 200, 0)] * 3 + [np.where(x < 20, 255, 0)]).astype(np.uint8)
    half = np.broadcast_to(np.array([0.25, 0], dtype=np.float32), (15, 20, 2)).copy()
    moved = undrift(cut, half, Registration.unmoved((40, 30), (40, 30)))
    seen = moved[..., 3] > 20
    np.testing.assert_allclose(moved[seen][:, :3], 200, atol=3)
    assert 100 < moved[15, 19, 3] < 160, "half of the edge's pixel"


@pytest.mark.slow_except("a scene-shift0")
@pytest.mark.parametrize("shift", [(0.1, 0.05), (0.25, -0.2), (0.4, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("hard", [False, True], ids=["a scene", "hard squares"])
def test_shifts_below_half_a_pixel_are_found(shift: tuple[float, float], hard: bool) -> None:
    """Fourier shifts blur nothing; images that bilinear interpolation blurs are found, too, and no shift is favored."""
    squares = np.kron(np.random.default_rng(1).integers(0, 255, (SIDE // 4, SIDE // 4, 3)), np.ones((4, 4, 1)))
    image = levels(squares if hard else scene(SIDE))
    found = register(image, levels(shifted(image, shift)))
    assert np.hypot(*np.subtract(found.shift_px, shift)) < 0.05
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    blurred = cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    assert np.hypot(*np.subtract(register(image, blurred).shift_px, shift)) < 0.05


def shifted(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Moved to the right and down, periodically; the borders are no edges, since both sides are mirrored before."""
    wide = np.pad(image, [(0, SIDE), (0, SIDE), (0, 0)], mode="symmetric")
    y, x = (np.fft.fftfreq(2 * SIDE) for _ in range(2))
    turn = np.exp(-2j * np.pi * (x[None] * shift[0] + y[:, None] * shift[1]))[..., None]
    return np.fft.ifft2(np.fft.fft2(wide, axes=(0, 1)) * turn, axes=(0, 1)).real[:SIDE, :SIDE]


@pytest.mark.slow
def test_the_place_of_an_enlarged_crop_is_right_to_a_tenth_of_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIFT's own offset of a quarter of a pixel in both images does not cancel where one was enlarged."""
    found = []
    matched = registration._matched
    monkeypatch.setattr(
        registration, "_matched", lambda *given, **named: found.append(matched(*given, **named)) or found[-1]
    )
    image = scene(400).astype(np.float32)
    crop = cv2.resize(image[40:200, 60:260], (800, 640), interpolation=cv2.INTER_CUBIC)
    assert find_crops(image, crop)[0] == (60, 40, 260, 200)
    x, y = (found[0][0] @ [399.5, 319.5, 1])[:2]
    assert np.hypot(x - 159.5, y - 119.5) < 0.1


def test_only_tiles_with_texture_are_compared() -> None:
    plane = np.zeros((240, 120), np.float32)
    plane[:120] = np.random.default_rng(0).normal(0, 1, (120, 120))
    textured = _textured(plane)[1]
    assert textured.shape == (2 * textured.shape[1], textured.shape[1])
    assert textured[: len(textured) // 2].all()
    assert not textured[len(textured) // 2 + 1 :].any()


@pytest.mark.parametrize(("share", "is_crop"), [(0.8, True), (0.95, False)])
def test_a_crop_that_shows_nearly_all_is_none(share: float, is_crop: bool) -> None:
    """From nine tenths of the area on, the images are compared as a whole."""
    width, height = round(400 * share**0.5), round(300 * share**0.5)
    found = _shown_part(translation(7.0, 4.0), (width, height), (400, 300))
    assert found == ((7, 4, 7 + width, 4 + height) if is_crop else None)

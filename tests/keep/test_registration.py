"""Registration of images with known displacements."""

import cv2
import numpy as np
import pytest
from PIL import Image

from latentedit_keep.api import keep
from latentedit_keep.base.warp import scaling
from latentedit_keep.registration import _sane, distance_px, find_drift, find_turn, register, without_drift
from tests.keep.pairs import SIDE, cast, moved, scene, similarity, with_object

WIDE = 320


def levels(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


@pytest.mark.parametrize(
    ("shift", "zoom", "degrees"),
    [((0.0, 0.0), 1.0, 0.0), ((3.4, -2.7), 1.0, 0.0), ((-6.2, 4.1), 1.04, 0.0), ((1.5, 9.3), 0.96, 0.8)],
)
def test_shift_zoom_and_rotation_are_found(shift: tuple[float, float], zoom: float, degrees: float) -> None:
    image = scene()
    matrix = similarity(shift, zoom, degrees)
    edited = cast(moved(with_object(image), matrix, (SIDE, SIDE)))
    found = register(levels(image), levels(edited))
    assert distance_px(found.matrix, matrix, (SIDE, SIDE)) < 0.1
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


@pytest.mark.slow
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
    assert all(_sane(np.diag([zoom, 1.2 * zoom])) for zoom in (0.4, 1, 2))
    assert not any(_sane(np.diag(scales)) for scales in ((-1.0, 1.0), (0.25, 0.25), (3.5, 3.5), (1.0, 2.0)))


def test_a_flat_image_is_not_moved() -> None:
    flat = np.full((64, 80, 3), 90, dtype=np.float32)
    found = register(flat, flat)
    np.testing.assert_allclose(found.matrix, np.eye(3), atol=1e-6)


def drifted(image: np.ndarray, most: float) -> np.ndarray:
    """A displacement by a sine of this amplitude in pixels."""
    y, x = np.mgrid[:WIDE, :WIDE].astype(np.float32)
    wave = most * np.sin(2 * np.pi * y / WIDE), most * np.sin(2 * np.pi * x / WIDE)
    return cv2.remap(image, x + wave[0].astype(np.float32), y + wave[1].astype(np.float32), cv2.INTER_CUBIC)


@pytest.mark.nightly
def test_drift_is_undone() -> None:
    image = scene(WIDE)
    first, second = image.astype(np.float32), drifted(with_object(image), 4.0).astype(np.float32)
    registration = register(first, second)
    drift = find_drift(first, second, registration)
    assert drift is not None
    flow, frame = drift
    assert frame.agreement > registration.agreement
    inner = np.s_[24:-24, 24:-24]
    truth = with_object(image).astype(np.float32)[inner]
    before = np.abs(second[inner] - truth).mean()
    after = np.abs(without_drift(second, flow, registration)[inner] - truth).mean()
    assert after < before / 2


@pytest.mark.slow
def test_an_unmoved_image_has_no_drift() -> None:
    first, second = scene(WIDE).astype(np.float32), with_object(scene(WIDE)).astype(np.float32)
    assert find_drift(first, second, register(first, second)) is None


@pytest.mark.slow
@pytest.mark.parametrize(("quarters", "mirrored"), [(1, False), (3, False), (0, True), (1, True), (2, True), (3, True)])
@pytest.mark.parametrize("width", [SIDE, pytest.param(240, marks=pytest.mark.nightly)])
def test_turned_and_mirrored_images_are_reported_and_turned_back(quarters: int, mirrored: bool, width: int) -> None:
    original = scene(width=width)
    edited = with_object(original)
    second = np.rot90(edited[:, ::-1] if mirrored else edited, quarters)
    found = keep(Image.fromarray(original), Image.fromarray(np.ascontiguousarray(second)))
    assert found.found == "local change"
    assert np.abs(found.kept.pixels.astype(int) - edited).mean() < 0.2
    assert found.turned or abs(found.rotation_degrees) > 80
    assert not found.turned or ("mirrored" in found.turned) == mirrored


def test_another_image_is_not_turned() -> None:
    assert find_turn(scene().astype(np.float32), scene(seed=8).astype(np.float32)) is None

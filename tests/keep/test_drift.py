"""Drift beyond an affine map: fields that are known."""

import cv2
import numpy as np
import pytest

from latentedit_keep.registration import find_drift, register, without_drift
from tests.keep.pairs import scene, with_object

SIDE = 320


def drifted(picture: np.ndarray, most: float) -> np.ndarray:
    """Things move by up to so many pixels, to and fro across the picture."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    wave = most * np.sin(2 * np.pi * y / SIDE), most * np.sin(2 * np.pi * x / SIDE)
    return cv2.remap(picture, x + wave[0].astype(np.float32), y + wave[1].astype(np.float32), cv2.INTER_CUBIC)


@pytest.mark.nightly
def test_it_is_undone() -> None:
    picture = scene(SIDE)
    first, second = picture.astype(np.float32), drifted(with_object(picture), 4.0).astype(np.float32)
    registration = register(first, second)
    flow = find_drift(first, second, registration)
    assert flow is not None
    inner = np.s_[24:-24, 24:-24]
    truth = with_object(picture).astype(np.float32)[inner]
    before = np.abs(second[inner] - truth).mean()
    after = np.abs(without_drift(second, flow, registration)[inner] - truth).mean()
    assert after < before / 2


@pytest.mark.slow
def test_a_picture_that_stayed_has_none() -> None:
    first, second = scene(SIDE).astype(np.float32), with_object(scene(SIDE)).astype(np.float32)
    assert find_drift(first, second, register(first, second)) is None

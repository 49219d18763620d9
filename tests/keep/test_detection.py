"""Changes versus the damage an editor does everywhere."""

import cv2
import numpy as np
import pytest

from latentedit_keep import detection
from latentedit_keep.base.warp import smoothed
from latentedit_keep.change import judge
from latentedit_keep.detection import contrasts
from tests.keep.pairs import SIDE, as_jpeg, scene, with_object
from tests.keep.test_change import found

pytestmark = pytest.mark.slow

NOTHING = NO_DENSITY = np.zeros((SIDE, SIDE), dtype=np.float32)
INNER = np.pad(np.ones((SIDE - 6, SIDE - 6), dtype=bool), 3)


def ratios(*places: tuple[int, int, int, float, float]) -> np.ndarray:
    """Multiples of the noise: 1 except in squares of left, top, side, ratio, and ratio of the four central pixels."""
    ratio = np.ones((SIDE, SIDE), dtype=np.float32)
    for left, top, side, value, peak in places:
        ratio[top : top + side, left : left + side] = value
        middle = top + side // 2, left + side // 2
        ratio[middle[0] : middle[0] + 2, middle[1] : middle[1] + 2] = peak
    return ratio


def test_a_component_counts_only_if_it_outweighs_those_of_noise() -> None:
    change, chance = (20, 20, 30, 15.0, 20.0), (100, 100, 8, 6.0, 9.0)
    alone = detection._hysteresis([ratios(change, chance)], NOTHING, NO_DENSITY, INNER, NOTHING)
    assert alone[35, 35]
    assert alone[104, 104]
    among = detection._hysteresis([ratios(change, chance, (60, 120, 7, 6.0, 6.5))], NOTHING, NO_DENSITY, INNER, NOTHING)
    assert among[35, 35]
    assert not among[104, 104]
    small, heavy = (100, 100, 12, 9.0, 9.0), (20, 110, 40, 7.5, 7.5)  # many certain pixels, and many that are not
    assert detection._hysteresis([ratios(small, heavy)], NOTHING, NO_DENSITY, INNER, NOTHING)[104, 104]


def test_differences_along_the_border_count_only_with_others() -> None:
    ratio = ratios()
    ratio[20:60, -3:] = 15
    assert not detection._hysteresis([ratio], NOTHING, NO_DENSITY, INNER, NOTHING).any()
    ratio[20:60, -20:] = 15
    assert detection._hysteresis([ratio], NOTHING, NO_DENSITY, INNER, NOTHING)[40, -1]


@pytest.mark.nightly
def test_codec_artifacts_around_a_new_object_are_not_part_of_the_change() -> None:
    """The original is flat there, so that only other edges show how strong the codec is."""
    original = np.full((SIDE, SIDE, 3), 225, dtype=np.uint8)
    generator = np.random.default_rng(2)
    for _ in range(10):
        x, y = (int(one) for one in generator.integers(0, SIDE, 2))
        cv2.rectangle(original, (x, y), (x + 30, y + 18), [int(one) for one in generator.integers(20, 235, 3)], -1)
    original[60:100, 60:125] = 225
    change = found(original, as_jpeg(with_object(original, (92, 80), 12), 60))
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(x - 92, y - 80)
    assert change.mask[distance < 11].min() == 1
    assert change.mask[distance > 24].mean() < 2e-3


@pytest.mark.nightly
def test_a_change_in_a_grainy_image_is_found_although_the_grain_is_lost() -> None:
    generator = np.random.default_rng(4)
    light = np.zeros((SIDE, SIDE), dtype=np.float32)
    light[generator.integers(0, SIDE, 12), generator.integers(0, SIDE, 12)] = 1500 * generator.uniform(0.5, 1, 12)
    gray = 25 + cv2.GaussianBlur(light, (0, 0), 1.2) + generator.normal(0, 2.5, light.shape)
    original = np.repeat(gray[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    edited = as_jpeg(cv2.GaussianBlur(with_object(original), (0, 0), 1.6), 40)
    change = found(original, edited)
    assert judge(change) == "local change"


def test_contrasts_separate_a_change_from_locally_strong_noise() -> None:
    waves = smoothed(np.random.default_rng(0).normal(0, 60, (SIDE, SIDE, 3)).astype(np.float32), 3.0)
    original, mask = scene().astype(np.float32), np.zeros((SIDE, SIDE), dtype=np.float32)
    numbers = np.zeros(mask.shape, dtype=np.int32)
    strongest = np.unravel_index(np.abs(waves).max(axis=2).argmax(), mask.shape)
    edited = original + waves
    for number, (row, column) in enumerate([(40, 100), strongest], start=1):
        place = np.s_[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7]
        mask[place], numbers[place] = 1, number
    edited[34:47, 94:107] += 60
    found = contrasts(original, edited, np.ones(mask.shape, dtype=bool), mask, numbers)
    assert found[1] > 3 > found[2] > 0.5
    assert contrasts(original, original, np.ones(mask.shape, dtype=bool), mask, numbers).max() == 0

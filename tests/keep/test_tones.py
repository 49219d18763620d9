"""Fits of known casts and blurs."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from latentedit_keep import tones as module
from latentedit_keep.base.warp import smoothed
from latentedit_keep.tones import Tones, first_guess, fit_blur, fit_sharpening, fit_tones, sharpened
from tests.keep.pairs import SIDE, scene, with_object

WHOLE = np.ones((SIDE, SIDE), dtype=bool)


def done(image: np.ndarray, gamma: float, gain: tuple[float, float, float], saturation: float = 1.0) -> np.ndarray:
    toned = 255 * np.array(gain) * (image / 255.0) ** gamma
    gray = toned @ np.array([0.299, 0.587, 0.114])
    return (gray[..., None] + (toned - gray[..., None]) * saturation).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gamma", "gain", "saturation"),
    [(1.0, (1.0, 1.0, 1.0), 1.0), (1.2, (0.97, 1.0, 1.03), 1.0), (0.85, (1, 0.96, 0.9), 1.0), (1.1, (1, 1, 0.95), 0.8)],
)
def test_a_cast_is_undone(gamma: float, gain: tuple[float, float, float], saturation: float) -> None:
    image = scene().astype(np.float32)
    edited = done(image, gamma, gain, saturation)
    tones = fit_tones(image, edited, WHOLE)
    assert np.abs(tones.apply(edited) - image).mean() < 0.7
    unknown = np.array([[[250, 15, 15], [10, 240, 40]]], dtype=np.float32)  # colors that the image does not have
    assert np.abs(tones.apply(done(unknown, gamma, gain, saturation)) - unknown).max() < 12


@pytest.mark.slow
def test_a_channel_clipped_everywhere_does_not_affect_the_others() -> None:
    image = scene().astype(np.float32)
    edited = done(image, 1.0, (1.0, 0.94, 0.9))
    edited[..., 0] = 255
    found = fit_tones(image, edited, WHOLE).apply(edited)
    assert np.abs(found - image)[..., 1:].mean() < 0.7


@pytest.mark.nightly
def test_the_first_guess_ignores_new_content() -> None:
    image = scene().astype(np.float32)
    edited = done(image, 1.1, (1.0, 0.97, 0.92))
    edited[: SIDE * 2 // 5] = (200, 30, 60)
    tones, fitting = first_guess(image, edited, WHOLE)
    rest = slice(SIDE * 2 // 5, None)
    assert np.abs(tones.apply(edited) - image)[rest].mean() < 2.5
    assert fitting[: SIDE * 2 // 5].mean() < 0.1
    assert fitting[rest].mean() > 0.7


def test_the_consensus_is_the_line_of_most_blocks() -> None:
    generator, gain, offset = np.random.default_rng(0), np.array([0.8, 0.9, 1.1]), np.array([20.0, 5.0, -10.0])
    there = generator.uniform(20, 220, (200, 3))
    here = gain * there + offset
    here[:60] = generator.uniform(0, 255, (60, 3))
    gains, offsets = module._consensus(here, there)
    np.testing.assert_allclose(gains, gain, atol=5e-3)
    np.testing.assert_allclose(offsets, offset, atol=0.7)


def test_values_clipped_to_black_do_not_differ() -> None:
    image = scene().astype(np.float32)
    image[:40] *= 0.2
    edited = np.clip(1.3 * image - 40, 0, 255)  # clipped to black
    tones = Tones.affine(np.full(3, 1 / 1.3), np.full(3, 40 / 1.3))
    assert np.abs(tones.apply(edited) - image).max() > 15
    assert np.abs(tones.apply(edited) - tones.limited(image)).max() < 0.1


@pytest.mark.parametrize("sigma", [0.0, 0.75, 1.0])
def test_blur_is_fitted_on_unchanged_pixels_and_undone(sigma: float) -> None:
    image = scene().astype(np.float32)
    edited = smoothed(with_object(scene()).astype(np.float32), sigma)
    unchanged = WHOLE.copy()
    unchanged[45:95, 65:115] = False
    assert fit_blur(image, edited, unchanged) == pytest.approx(sigma, abs=0.15)
    assert fit_blur(edited, image, unchanged) <= 0
    if sigma:
        amount = fit_sharpening(image, edited, unchanged)
        before, after = (np.mean((one - image)[unchanged] ** 2) for one in (edited, sharpened(edited, amount)))
        assert after < 0.6 * before


@pytest.mark.slow
def test_two_flat_colors_do_not_define_a_cast() -> None:
    """A line fits any two colors: the changed face and the hair could outvote the wall and the hair."""
    image = np.empty((SIDE, SIDE, 3), dtype=np.float32)
    image[:], image[:, :70], image[:, 70:100] = (180, 230, 162), (235, 176, 124), (210, 72, 15)
    edited = image.copy()
    edited[:, :70] = (255, 219, 180)
    tones, fitting = first_guess(image, edited, WHOLE)
    assert np.abs(tones.apply(edited) - image)[:, 72:].mean() < 4
    assert not fitting[:, :68].any()


@pytest.mark.slow
def test_a_cast_on_a_gray_image_is_not_explained_by_saturation() -> None:
    """Desaturation would undo it as well, but also desaturate new content."""
    image = np.repeat(scene().mean(axis=2, keepdims=True), 3, axis=2).astype(np.float32)
    gain = (1.06, 0.97, 0.92)
    tones = fit_tones(image, done(image, 1.0, gain), WHOLE)
    red = np.array([[[220, 60, 40]]], dtype=np.float32)
    assert np.abs(tones.apply(done(red, 1.0, gain)) - red).max() < 12


@pytest.mark.slow
def test_colors_far_from_the_fitted_ones_are_uncertain() -> None:
    image = np.clip(scene(), 90, 160).astype(np.float32)
    tones = fit_tones(image, done(image, 1.15, (1.0, 0.95, 0.9)), WHOLE)
    known, unknown = tones.doubt(np.array([[[120, 120, 120], [250, 10, 250]]], dtype=np.float32))[0]
    assert known < 1 < unknown


def test_derivatives_of_the_fit_agree_with_finite_differences() -> None:
    generator = np.random.default_rng(0)
    parameters = generator.normal(0, 0.1, 10) * ([1] * 6 + [30] * 3 + [1])
    here, there = generator.uniform(0, 255, (2, 40, 3))
    there[:8] = generator.uniform(0, 8, (8, 3))  # in the linear part of a curve
    states = generator.uniform(0, 1, (40, 3))
    cells = here, there, states
    expected = approx_fprime(parameters, lambda one: module._misses(one, *cells)[0], 1e-6)
    np.testing.assert_allclose(module._misses(parameters, *cells)[1], expected, atol=2e-3, rtol=1e-4)


@pytest.mark.slow
def test_without_a_cast_nothing_is_corrected() -> None:
    image = scene().astype(np.float32)
    noisy = image + np.random.default_rng(0).normal(0, 6, image.shape).astype(np.float32)
    assert fit_tones(image, noisy, WHOLE).doubts is None
    np.testing.assert_allclose(fit_tones(image, noisy, WHOLE).apply(noisy), noisy, atol=1e-3)
    np.testing.assert_allclose(Tones.none().apply(image), image, atol=1e-3)
    assert Tones.none().cast == pytest.approx(0, abs=1e-3)
    assert Tones.affine(np.ones(3), np.full(3, 10.0)).cast == pytest.approx(10, abs=1e-3)
    noise = np.random.default_rng(1).normal(0, 8, image.shape[:2]).astype(np.float32)[..., None]
    assert fit_sharpening(image, image + noise, WHOLE) == 0, "made-up texture"
    assert fit_sharpening(image, image, WHOLE) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("color", [(3, 3, 3), (250, 10, 10)], ids=["black", "saturated"])
def test_colors_that_the_original_lacks_stay_the_editors(color: tuple[int, int, int]) -> None:
    image = scene().astype(np.float32)
    edited = done(image, 1.15, (0.93, 1.0, 1.06))
    tones = fit_tones(image, edited, WHOLE)
    new = np.full((8, 8, 3), color, dtype=np.float32)
    assert tones.cast > 8
    assert np.abs(tones.corrected(new) - new).max() <= 3
    assert np.abs(tones.corrected(edited) - image).mean() < 0.7

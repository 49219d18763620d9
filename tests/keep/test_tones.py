"""Fits of known casts and blurs."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from latentedit.photo.warp import smoothed
from latentedit.pixels import tones as module
from latentedit.pixels.tones import Tones, first_guess, fit_blur, fit_sharpening, fit_tones, sharpened
from tests.keep.pairs import SIDE, moved, scene, similarity, with_object

WHOLE = np.ones((SIDE, SIDE), dtype=bool)


def done(image: np.ndarray, gamma: float, gain: tuple[float, float, float], saturation: float = 1.0) -> np.ndarray:
    toned = 255 * np.array(gain) * (image / 255.0) ** gamma
    gray = toned @ np.array([0.299, 0.587, 0.114])
    return (gray[..., None] + (toned - gray[..., None]) * saturation).astype(np.float32)


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


@pytest.mark.parametrize("gain", [(0.8, 0.9, 1.1), (0.7, 0.9, 1.6)])
@pytest.mark.parametrize("offset", [(20.0, 5.0, -10.0), (40.0, -40.0, 40.0)])
def test_the_consensus_is_the_line_of_most_blocks(gain: tuple[float, ...], offset: tuple[float, ...]) -> None:
    generator = np.random.default_rng(0)
    there = generator.uniform(20, 220, (200, 3))
    here = np.array(gain) * there + offset
    here[:90] = np.array(gain[::-1]) * there[:90] - offset  # these blocks follow another line
    gains, offsets = module.consensus(here, there)
    np.testing.assert_allclose(gains, gain, atol=5e-3)
    np.testing.assert_allclose(offsets, offset, atol=0.7)


def test_values_clipped_to_black_do_not_differ() -> None:
    image = scene().astype(np.float32)
    image[:40] *= 0.2
    edited = np.clip(1.3 * image - 40, 0, 255)  # clipped to black
    tones = Tones.affine(np.full(3, 1 / 1.3), np.full(3, 40 / 1.3))
    assert np.abs(tones.apply(edited) - image).max() > 15
    assert np.abs(tones.apply(edited) - tones.limited(image)).max() < 0.1


@pytest.mark.parametrize(("level", "gain", "offset"), [(255, 1.04, 5), (0, 1.03, -7)], ids=["white", "black"])
def test_black_and_white_that_stayed_are_kept(level: int, gain: float, offset: float) -> None:
    """The cast of the rest says nothing about a ground that was cut off; all else is corrected as before."""
    image = scene().astype(np.float32)
    image[:40] = level
    edited = np.clip(gain * image + offset, 0, 255)
    tones = fit_tones(image, edited, WHOLE)
    end = np.full((1, 1, 3), level, dtype=np.float32)
    np.testing.assert_allclose(tones.apply(end), level, atol=0.1)
    np.testing.assert_allclose(tones.limited(end), level, atol=0.1)
    assert np.abs(tones.apply(edited) - image)[41:].mean() < 1
    became = fit_tones(np.where(image == level, abs(level - 9), image), edited, WHOLE)
    assert np.abs(became.apply(end) - level).max() > 3


@pytest.mark.parametrize("level", [0, 255])
def test_what_is_cut_off_bounds_the_curve(level: int) -> None:
    """White in both, between grays whose contrast grew: nothing becomes brighter than white; nor darker than black."""
    image = np.clip(scene(), 60, 190).astype(np.float32)
    edited = 125 + 0.7 * (image - 125)
    image[:40] = edited[:40] = level
    assert abs(125 + (level - 125) / 0.7 - level) > 50
    curve = fit_tones(image, edited, WHOLE).curves
    assert abs(np.array([np.interp(level, module._LINE, one) for one in curve]) - level).max() < 3


def screentone(side: int = 240) -> np.ndarray:
    """White with black dots of 4 px every 6 px in its left half."""
    y, x = np.mgrid[:side, :side]
    dots = ((x + y) % 6 - 3) ** 2 + ((x - y) % 6 - 3) ** 2 < 4
    return np.repeat(np.where(dots & (x < side // 2), 0, 255)[..., None], 3, axis=2).astype(np.uint8)


def test_clipping_of_overshoot_is_expected_to_shade_fine_patterns_at_black_or_white() -> None:
    image = screentone().astype(np.float32)
    edited = moved(screentone(), similarity((0.5, 0.5)), (240, 240)).astype(np.float32)
    left, right = np.s_[20:220, 20:100], np.s_[20:220, 150:220]
    darker, expected = smoothed(image - edited, 5.6), Tones.none().clipping(image)
    assert darker[left].min() > 5
    assert (darker.max(axis=2) < 2 * expected)[left].all()
    assert expected[left].max() < 2 * darker[left].max()
    assert expected[right].max() < 0.5
    assert not Tones.none().clipping(scene().astype(np.float32)).any()


def test_pixels_next_to_what_is_cut_off_do_not_bend_the_curve() -> None:
    """Stripes of white between grays: an editor that enlarges or smooths mixes what it has cut off into their edges."""
    image = scene().astype(np.float32)
    image[:, np.arange(SIDE) % 20 < 8] = 255
    edited = smoothed(np.clip(1.06 * image + 3, 0, 255), 0.6)
    tones = fit_tones(image, edited, WHOLE)
    for level in (120.0, 200.0, 248.0):
        found = tones.apply(np.full((1, 1, 3), level, dtype=np.float32))
        np.testing.assert_allclose(found, (level - 3) / 1.06, atol=2.5)


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


def test_two_flat_colors_do_not_define_a_cast() -> None:
    """A line fits any two colors: the changed face and the hair could outvote the wall and the hair."""
    image = np.empty((SIDE, SIDE, 3), dtype=np.float32)
    image[:], image[:, :70], image[:, 70:100] = (180, 230, 162), (235, 176, 124), (210, 72, 15)
    edited = image.copy()
    edited[:, :70] = (255, 219, 180)
    tones, fitting = first_guess(image, edited, WHOLE)
    assert np.abs(tones.apply(edited) - image)[:, 72:].mean() < 4
    assert not fitting[:, :68].any()


def test_a_cast_on_a_gray_image_is_not_explained_by_saturation() -> None:
    """Desaturation would undo it as well, but also desaturate new content."""
    image = np.repeat(scene().mean(axis=2, keepdims=True), 3, axis=2).astype(np.float32)
    gain = (1.06, 0.97, 0.92)
    tones = fit_tones(image, done(image, 1.0, gain), WHOLE)
    red = np.array([[[220, 60, 40]]], dtype=np.float32)
    assert np.abs(tones.apply(done(red, 1.0, gain)) - red).max() < 12


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


def test_a_grid_of_colors_is_interpolated_without_steps() -> None:
    """A linear grid of 32 cells of 8 levels, known at their centers: exact between these."""
    first, second, third = np.meshgrid(*[np.arange(32.0)] * 3, indexing="ij")
    colors = np.random.default_rng(0).uniform(4, 252, (20, 30, 3)).astype(np.float32)
    expected = colors / 8 - 0.5
    found = module._between(2 * first - second + 3 * third, colors)
    np.testing.assert_allclose(found, expected @ [2, -1, 3], atol=0.15)
    assert module._between(first, np.zeros((1, 1, 3), np.float32))[0, 0] == 0
    assert module._between(first, np.full((1, 1, 3), 255, np.float32))[0, 0] == pytest.approx(31, abs=0.01)


def test_a_doubt_is_that_of_the_nearest_color_of_its_grid() -> None:
    first, second, third = np.meshgrid(*[np.arange(17.0)] * 3, indexing="ij")
    tones = Tones(mixing=np.eye(3, 4), curves=Tones.none().curves, doubts=first + 20 * second + 400 * third)
    image = np.array([[[0, 0, 0], [255, 16, 33], [-50, 300, 167]]], dtype=np.float32)
    assert tones.doubt(image)[0].tolist() == [0, 16 + 20 + 2 * 400, 16 * 20 + 10 * 400]


def test_doubtful_and_large_corrections_are_held_back() -> None:
    """A correction of 20 levels: whole if it is certain, less if its deviation is 10, none from 14 on; at most 6."""
    gray = np.full((4, 4, 3), 100, dtype=np.float32)
    curves = Tones.affine(np.ones(3), np.full(3, 20.0)).curves
    for doubt, expected in ((0.0, 20), (10.0, 20 * (1 - 0.75**2)), (14.0, 0)):
        tones = Tones(mixing=np.eye(3, 4), curves=curves, doubts=np.full((17, 17, 17), doubt))
        assert (tones.corrected(gray) - gray).max() == pytest.approx(expected, abs=0.1)
    limited = Tones(mixing=np.eye(3, 4), curves=curves, most=3.0)
    assert (limited.corrected(gray) - gray).max() == pytest.approx(6, abs=0.1)
    unknown = Tones(mixing=np.eye(3, 4), curves=curves, known=np.zeros((32, 32, 32)))
    np.testing.assert_allclose(unknown.corrected(gray), gray, atol=1e-3)


def test_colors_near_those_of_unchanged_pixels_are_known() -> None:
    """Cells of 8 levels: the next two are known, and from the fifth on none is; less than three samples are chance."""
    colors = np.array([[100, 100, 100]] * 10 + [[20, 200, 20]])
    known = module._known(colors, np.ones(11))
    at = 100 // 8
    assert known[at, at, at] == known[at + 2, at, at] == known[at, at - 1, at + 2] == 1
    assert 0 < known[at + 4, at, at] < known[at, at, at + 3] < 1
    assert known[at + 5, at, at] == known[20 // 8, 200 // 8, 20 // 8] == 0
    assert module._known(colors, np.array([1] * 10 + [4.0]))[20 // 8, 200 // 8, 20 // 8] == 1


def sepia(image: np.ndarray) -> np.ndarray:
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return (luma[..., None] + np.array([14, 2, -20], np.float32)).astype(np.float32)


@pytest.mark.parametrize(
    ("edited", "lost"),
    [
        (lambda image: np.repeat(image @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2), True),
        (sepia, True),
        (lambda image: done(image, 1.0, (1, 1, 1), 0.2), True),
        (lambda image: done(image, 1.0, (1, 1, 1), 0.5), False),
        (lambda image: image, False),
        (lambda image: sepia(scene(seed=8).astype(np.float32)), False),
    ],
    ids=["gray", "sepia", "nearly gray", "faded", "unchanged", "another"],
)
def test_lost_colors_are_not_faded_ones(edited: Any, lost: bool) -> None:
    image = scene().astype(np.float32)
    assert module.recolored(image, edited(image), WHOLE)[0] == lost
    gray = np.repeat(image[..., 1:2], 3, axis=2) + np.array([2, 0, -2], np.float32)
    assert not module.recolored(gray, sepia(gray), WHOLE)[0], "it had none"
    mixed = edited(image)
    mixed[:90] = image[:90]
    assert module.recolored(image, mixed, ~WHOLE | (np.arange(SIDE)[:, None] >= 90))[0] == lost, "in the shown part"


def test_the_sign_of_the_blur_shows_the_sharper_image() -> None:
    image = scene().astype(np.float32)
    for sigma in (0.5, 0.7, 1.0):
        assert fit_blur(smoothed(image, sigma), image, WHOLE) == pytest.approx(-sigma, abs=0.16)
    for sigma in (0.65, 1.2, 1.4, 1.7, 2.1, 2.6):
        assert fit_blur(image, smoothed(image, sigma), WHOLE) == pytest.approx(sigma, abs=0.05)


def test_the_largest_correction_leaves_out_the_lightest_hundredth() -> None:
    """Corrections by a gain of 1.1, which are a tenth of the level."""
    parameters = np.zeros(10)
    parameters[3:6] = np.log(1.1)
    colors = np.repeat(np.array([[50.0], [100.0], [240.0]]), 3, axis=1)
    weights = {10: (100, 100, 0.5), 24: (10, 10, 10), 5: (1000, 1, 1)}
    for expected, weight in weights.items():
        found = module._largest_correction(parameters, colors, np.array(weight, dtype=float))
        assert found == pytest.approx(expected, rel=0.02)


def test_only_the_shown_and_unclipped_blocks_are_compared() -> None:
    image = scene().astype(np.float32)
    inside = WHOLE.copy()
    inside[:40] = False
    edited = image + 10
    edited[:40] = 0
    here, there = module._blocks(image, edited, inside)
    np.testing.assert_allclose(there - here, 10, atol=1e-3)
    edited[60:100, 60:100] = 255
    fewer, there = module._blocks(image, edited, inside)
    assert there.max() < 252
    assert len(fewer) / len(here) == pytest.approx(1 - 40 * 40 / (120 * 160), abs=0.02)
    assert len(module._blocks(image, 0 * image + 255, WHOLE)[0]) > 1500, (
        "where all of it is clipped, nothing is left out"
    )


def test_without_color_a_doubt_is_that_of_the_gray_of_equal_luma() -> None:
    levels = np.arange(17.0)
    doubts = 100 * levels[:, None, None] + 10 * levels[None, :, None] + levels
    found = module.without_color(Tones(mixing=np.eye(3, 4), curves=Tones.none().curves, doubts=doubts)).doubts
    luma = round(0.299 * 16 + 0.587 * 4 + 0.114 * 9)
    assert found is not None
    assert found.shape == (17, 17, 17)
    assert found[16, 4, 9] == doubts[luma, luma, luma]


@pytest.mark.parametrize("ink", [(30, 90, 200), (200, 40, 40), (20, 120, 60)])
def test_a_white_ground_is_corrected_though_one_of_its_channels_stayed_cut_off(ink: tuple[int, int, int]) -> None:
    """Nothing is known of the correction of a channel at white, which needs none, and enough of the others."""
    original = np.full((200, 300, 3), 255, dtype=np.float32)
    original[50:150, 40:140] = ink
    noise = np.random.default_rng(0).normal(0, 1.2, original.shape)
    edited = (original * np.array([1.02, 0.988, 0.976]) + noise).clip(0, 255).astype(np.float32)
    tones = fit_tones(original, edited, np.ones(original.shape[:2], dtype=bool))
    white = edited[:20, :20].mean(axis=(0, 1), keepdims=True)
    assert white[0, 0, 2] < 250
    assert tones.corrected(white)[0, 0, 2] > 254

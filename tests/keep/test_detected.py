"""`detect` and its neighbors find the change of small images where it is known to be, and no more."""

import cv2
import numpy as np
import pytest

from latentedit.photo.warp import smoothed
from latentedit.pixels import detection
from latentedit.pixels.detection import (
    Evidence,
    components,
    contrasts,
    detect,
    edges,
    joined,
    leftovers,
    rim,
    seen_difference,
    vanished,
)
from tests.keep.pairs import as_jpeg, scene

SIDE = 128
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
WHOLE, NO_DOUBT = np.ones((SIDE, SIDE), dtype=bool), np.zeros((SIDE, SIDE), dtype=np.float32)
TEXTURED = scene(SIDE).astype(np.float32)
PLAIN = np.repeat((110 + 0.15 * X + 0.1 * Y)[..., None], 3, axis=2)
RED = np.array([220, 60, 40], dtype=np.float32)


def disc(x: float = 64, y: float = 64, radius: float = 16) -> np.ndarray:
    return np.clip(radius + 0.5 - np.hypot(X - x, Y - y), 0, 1)


def noisy(image: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    return (image + np.random.default_rng(seed).normal(0, deviation, image.shape)).astype(np.float32)


def painted(image: np.ndarray, part: np.ndarray, color: np.ndarray = RED) -> np.ndarray:
    return (image * (1 - part[..., None]) + color * part[..., None]).astype(np.float32)


def mask_of(
    original: np.ndarray, edited: np.ndarray, truth: np.ndarray, blur: float = 0.0, inside: np.ndarray = WHOLE
) -> np.ndarray:
    """The soft mask as `find_change` makes it, if what is unchanged is known."""
    edited = edited.astype(np.float32)
    evidence = detect(original, edited, inside, inside & (truth < 0.01), blur, NO_DOUBT, first=False)
    left = vanished(inside, evidence) | leftovers(seen_difference(original, edited), inside, evidence, blur)
    return joined(rim(evidence, inside, blur), left)


def known(change: np.ndarray, original: np.ndarray = TEXTURED, edited: np.ndarray = TEXTURED) -> Evidence:
    none = dict.fromkeys(("amount", "density", "detail", "fading"), NO_DOUBT)
    outlines = edges(original), edges(edited)
    activity = detection._spread_out(outlines[1])
    return Evidence(changed=change, fine=change, noise=NO_DOUBT + 1, outlines=outlines, activity=activity, **none)


RING, PINHOLE = disc(radius=30) - disc(radius=14), disc(radius=30) - disc(radius=3)
INNER = np.pad(np.ones((SIDE - 6, SIDE - 6), dtype=bool), 3)
CORNER = np.pad(np.ones((SIDE - 5, SIDE - 6), dtype=bool), ((5, 0), (6, 0)))  # the edited image shows this part


@pytest.mark.parametrize(
    ("truth", "edited", "blur", "beyond_px"),
    [
        (disc(), noisy(painted(TEXTURED, disc()), 2), 0.0, 1.6),
        (disc(), smoothed(noisy(painted(TEXTURED, disc()), 1), 1.0), 1.0, 2.1),
        (disc(), as_jpeg(painted(TEXTURED, disc()), 60), 0.0, 2.7),
        (RING, noisy(painted(TEXTURED, RING), 2), 0.0, 1.8),
        (PINHOLE, noisy(painted(TEXTURED, PINHOLE), 2), 0.0, 1.8),
        (disc(126, 60, 14), noisy(painted(TEXTURED, disc(126, 60, 14)), 2), 0.0, 1.2),
        (disc(8, 60, 14) * CORNER, noisy(painted(TEXTURED, disc(8, 60, 14)), 2), 0.0, 1.9),
    ],
    ids=["noise", "blur", "jpeg", "ring", "pinhole", "border", "shown part"],
)
def test_a_sharp_object_is_covered_and_little_beyond_its_outline(
    truth: np.ndarray, edited: np.ndarray, blur: float, beyond_px: float
) -> None:
    """Missing pixels are seen, some more are not: up to a twentieth of a pixel along the outline, and one to three."""
    inside = CORNER if beyond_px == 1.9 else WHOLE
    edited = np.where(inside[..., None], edited, 255).astype(np.float32)
    mask = mask_of(TEXTURED, edited, truth, blur, inside)
    outline = float(np.hypot(*np.gradient(np.pad(truth, 1))).sum())
    assert np.maximum(truth - mask, 0).sum() < 0.06 * outline
    assert np.maximum(mask - truth, 0).sum() < beyond_px * outline


@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        (disc(radius=2), 14 * np.ones(3)),
        (disc(radius=5), 5.5 * np.ones(3)),
        (disc(radius=25), 4.5 * np.ones(3)),
        (disc(radius=12), 4.5 * np.array([1, -0.4, -0.4])),
        (np.exp(-((X - 64) ** 2 + (Y - 64) ** 2) / (2 * 18**2)), 4.5 * np.ones(3)),
    ],
    ids=["2 px", "5 px", "25 px", "color", "light"],
)
def test_faint_changes_are_found_in_faint_noise(shape: np.ndarray, levels: np.ndarray) -> None:
    """Under noise of one level; wide ones from four to five times as strong, small ones where they stand out."""
    edited = noisy(PLAIN + shape[..., None] * levels, 1)
    assert mask_of(PLAIN, edited, shape)[shape > 0.5].mean() > 0.5


def test_a_change_in_texture_is_found_under_noise() -> None:
    edited = noisy(TEXTURED + 7 * disc(radius=12)[..., None], 2)
    assert mask_of(TEXTURED, edited, disc(radius=12))[disc(radius=12) == 1].mean() > 0.5


def test_faint_light_is_found_to_twice_the_noise_without_a_visible_step() -> None:
    light = 5 * np.exp(-((X - 64) ** 2 + (Y - 64) ** 2) / (2 * 18**2))
    mask = mask_of(PLAIN, noisy(PLAIN + light[..., None], 1), light / 100)
    assert mask[light > 2.5].mean() > 0.9
    assert (np.abs(np.diff(mask, axis=1)) * light[:, 1:]).max() < 2, "levels of the step"


def test_new_texture_of_the_same_mean_is_found() -> None:
    generator = np.random.default_rng(5)
    first, second = (smoothed(generator.normal(128, 30, (SIDE, SIDE)).astype(np.float32), 0.8) for _ in range(2))
    original, other = (np.repeat(one[..., None], 3, axis=2) for one in (first, second))
    truth = disc(radius=24)
    mask = mask_of(original, noisy(original + 0.6 * truth[..., None] * (other - original), 4), truth)
    assert np.maximum(truth - mask, 0).sum() < 0.08 * truth.sum()
    assert np.maximum(mask - truth, 0).sum() < 0.04 * truth.sum()
    checks = 30 * (((X // 2 + Y // 2) % 2) * 2 - 1) * disc(radius=18)
    mask = mask_of(PLAIN, noisy(PLAIN + checks[..., None], 1), disc(radius=18))
    assert np.abs(mask - disc(radius=18)).sum() < 0.09 * disc(radius=18).sum()


@pytest.mark.parametrize(
    "edited",
    [
        noisy(TEXTURED, 4),
        as_jpeg(TEXTURED, 20),
        smoothed(TEXTURED, 1.3),
        noisy(TEXTURED, 1) + smoothed(noisy(0 * TEXTURED, 30), 4),
    ],
    ids=["noise", "jpeg", "blur", "clouds"],
)
def test_damage_of_the_whole_image_is_no_change(edited: np.ndarray) -> None:
    assert mask_of(TEXTURED, edited, 0 * X).max() == 0


def test_damage_to_a_few_strong_edges_is_no_change() -> None:
    page = np.full((SIDE, SIDE, 3), 235, dtype=np.float32)
    page[20:40, 15:110], page[60:64, 15:110], page[80:110, 30:60] = 40, 40, (200, 60, 40)
    small = cv2.resize(page, (64, 64), interpolation=cv2.INTER_AREA)
    for edited in (
        as_jpeg(page, 25),
        smoothed(page, 1.5),
        cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC),
    ):
        assert mask_of(page, edited, 0 * X).max() == 0


def test_colors_that_the_fit_of_colors_does_not_know_count_less() -> None:
    """A difference counts by what it exceeds two standard deviations of the fit by."""
    doubt = np.full((SIDE, SIDE), 3, dtype=np.float32)
    for levels, changed in ((6, False), (14, True)):
        edited = noisy(PLAIN + levels * disc()[..., None], 0.5)
        found = detect(PLAIN, edited, WHOLE, disc() == 0, 0.0, doubt, first=False)
        assert found.changed[64, 64] == changed


@pytest.mark.parametrize(("radius", "levels"), [(2, 14), (3, 8.5), (8, 5.5), (16, 4.5), (30, 4.0)])
def test_without_noise_a_change_is_found_from_a_few_levels_the_wider_the_fainter(radius: float, levels: float) -> None:
    """Eight times the least noise at the scale of its width, but not half of that."""
    for factor, seen in ((1.0, True), (0.45, False)):
        edited = PLAIN + factor * levels * disc(radius=radius)[..., None]
        assert (mask_of(PLAIN, edited, disc(radius=radius))[64, 64] > 0.5) == seen


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
    alone = detection._hysteresis(ratios(change, chance), NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT)
    assert alone[35, 35]
    assert alone[104, 104]
    among = detection._hysteresis(ratios(change, chance, (60, 120, 7, 6.0, 6.5)), NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT)
    assert among[35, 35]
    assert not among[104, 104]
    small, heavy = (100, 100, 12, 9.0, 9.0), (20, 110, 40, 7.5, 7.5)  # many certain pixels, and many that are not
    assert detection._hysteresis(ratios(small, heavy), NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT)[104, 104]


def test_differences_along_the_border_count_only_with_others() -> None:
    ratio = ratios()
    ratio[20:60, -3:] = 15
    assert not detection._hysteresis(ratio, NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT).any()
    ratio[20:60, -20:] = 15
    assert detection._hysteresis(ratio, NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT)[40, -1]


def test_a_component_must_outweigh_the_heaviest_island_of_noise_by_a_factor() -> None:
    """One without sure pixels: four times as heavy is enough, twice is not."""
    for side, found in ((10, True), (7, False)):
        ratio = np.ones((160, 160), dtype=np.float32)
        ratio[20 : 20 + side, 20 : 20 + side], ratio[100:105, 100:105] = 7, 7
        ratio[22:24, 22:24] = 8.5
        nothing = np.zeros_like(ratio)
        assert detection._hysteresis(ratio, nothing, nothing, ratio > 0, nothing)[22, 22] == found


@pytest.mark.parametrize(("levels", "filled"), [(4.0, True), (1.5, False)])
def test_a_hole_belongs_to_a_change_if_its_faint_texture_is_another_one(levels: float, filled: bool) -> None:
    """Locks of dark hair, and a clear sky, whose grain is always another one; elsewhere, leaves were painted anew."""
    textures = [cv2.GaussianBlur(noisy(NO_DOUBT, 1, seed), (0, 0), 1.0) for seed in (1, 2)]
    first, second = (levels * np.repeat((one / one.std())[..., None], 3, axis=2) for one in textures)
    drawn, in_holes = detection._redrawn(first, np.where(X[..., None] < 20, -first, second), WHOLE, X < 20, NO_DOUBT)
    ratio = np.maximum(9 * RING, drawn)
    assert detection._hysteresis(ratio, NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT, in_holes)[64, 64] == filled
    assert not detection._hysteresis(ratio, NO_DOUBT, NO_DOUBT, INNER, NO_DOUBT)[64, 64]


@pytest.mark.parametrize(
    ("tint", "width", "taken"), [((20, -8, 4), 7, True), ((20, 20, 20), 7, False), ((20, -8, 4), 60, False)]
)
def test_the_rest_of_a_recolored_thing_belongs_to_the_change(tint: tuple[float, ...], width: int, taken: bool) -> None:
    """Not a shadow, and not a tint that goes on."""
    shift = noisy(disc(radius=24 + width)[..., None] * np.float32(tint), 2.0)
    left = detection.tinted(shift, WHOLE, disc(radius=24) > 0)
    assert (left.sum() > 500) == left.any() == taken


@pytest.mark.parametrize(("rest", "taken"), [((8, -3.2, 1.6), True), ((2, -0.8, 0.4), False), ((-3, 8, -3), False)])
def test_lights_of_a_recolored_thing_have_less_of_its_tint(rest: tuple[float, ...], taken: bool) -> None:
    """None that is not seen, and no other hue."""
    away = np.hypot(*(np.mgrid[:256, :256] - 128))[..., None]
    shift = noisy(np.where(away < 48, np.float32((20, -8, 4)), (away < 60) * np.float32(rest)), 2.0)
    left = detection.tinted(shift, np.ones((256, 256), dtype=bool), away[..., 0] < 48)
    assert (left.sum() > 2000) == left.any() == taken


def test_what_is_left_next_to_a_change_is_taken_with_it_if_it_is_seen_and_ends() -> None:
    """A crescent of 3 px, then a fainter one, then one that is too wide."""
    for levels, width, taken in ((24, 3, True), (12, 3, False), (24, 8, False)):
        edited, change = PLAIN + levels * np.maximum(disc(), disc(64 + width, 64))[..., None], disc() > 0
        left = leftovers(seen_difference(PLAIN, edited), WHOLE, known(change), 0.0)
        assert left[64, 81:83].all() == left.any() == taken, (levels, width)
        clouds = 14 * np.sign(smoothed(noisy(0 * PLAIN, 1), 2.0))
        assert not leftovers(seen_difference(PLAIN, edited + clouds), WHOLE, known(change), 0.0)[64, 81:83].any(), (
            "as elsewhere"
        )
    everywhere = np.hypot(X - 64, Y - 64) > 3
    assert not leftovers(seen_difference(PLAIN, PLAIN), WHOLE, known(everywhere), 0.0).any(), "there is no elsewhere"


def with_line(image: np.ndarray, levels: float, shift: int = 0) -> np.ndarray:
    """A hairline from the disc to a corner, or next to there."""
    line = np.zeros((SIDE, SIDE), dtype=np.float32)
    cv2.line(line, (64, 50 + shift), (110, 4 + shift), 1.0, 1, cv2.LINE_AA)
    return image + levels * (line * (disc() == 0))[..., None]


@pytest.mark.parametrize(
    ("before", "after", "shift", "gone"),
    [(20, 0, 0, True), (10, 0, 0, True), (40, 34, 0, False), (40, 40, 2, False), (2, 0, 0, False)],
)
def test_a_hairline_is_gone_if_the_edited_image_has_none_like_it_nearby(
    before: float, after: float, shift: int, gone: bool
) -> None:
    original, edited = with_line(painted(PLAIN, disc()), before), noisy(with_line(PLAIN, after, shift), 0.5)
    found = vanished(WHOLE, known(disc() > 0, original, edited))
    assert found[[40, 30, 20], [74, 84, 94]].all() == found[20:40].any() == gone


def test_gaps_and_holes_are_closed_unless_they_are_wide_and_unchanged() -> None:
    """An image of 300 px has slits of 2 px and holes of 27 px closed, and uncertain holes of up to a tenth of it."""

    def closed(rows: slice, columns: slice, ratio: float) -> bool:
        mask = np.zeros((150, 150), dtype=bool)
        mask[10:140, 10:140] = True
        mask[rows, columns] = False
        found = detection.whole(mask, np.full(mask.shape, ratio, dtype=np.float32), 300)
        assert found[mask].all()
        return bool(found[75, 75])

    assert closed(np.s_[10:140], np.s_[74:76], 0)
    assert not closed(np.s_[10:140], np.s_[73:77], 2.9), "open to the border"
    assert closed(np.s_[73:78], np.s_[73:78], 0)
    assert not closed(np.s_[71:79], np.s_[71:79], 1.5)
    assert closed(np.s_[71:79], np.s_[71:79], 2.5)
    assert closed(np.s_[40:110], np.s_[40:110], 5)
    assert not closed(np.s_[22:128], np.s_[22:128], 5)


def test_parts_of_a_change_are_one_if_they_are_near_and_the_largest_is_the_first() -> None:
    mask = np.zeros((60, 500), dtype=np.float32)
    mask[20:30, 20:30] = mask[20:30, 36:46] = 1  # 6 px apart
    mask[20:50, 53:80] = 0.9  # 7 px farther
    mask[5:55, 200:250] = 0.1  # large and faint
    mask[10:12, 300:310] = 1 / 300  # changes no pixel
    mask[10:12, 400:410] = 1.5 / 255
    count, numbers = components(mask)
    assert count == 4
    assert [numbers[25, at] for at in (60, 210, 25, 40)] == [1, 2, 3, 3]
    assert numbers[11, 405] == 4
    assert numbers[11, 305] == 0


def test_no_line_is_left_between_a_change_and_what_is_left_next_to_it() -> None:
    mask, left = np.zeros((40, 60), dtype=np.float32), np.zeros((40, 60), dtype=bool)
    mask[10:30, 10:20] = 1
    left[10:30, 24:30] = True
    assert joined(mask, left)[20, 10:28].min() > 0.8
    left[:, :26] = False
    found = joined(mask, left)
    assert found[20, 22:24].max() < 0.1
    assert (found >= mask).all()


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    """In levels a pixel, for any direction."""
    ramp = 3 * X[..., None] * np.ones(3, dtype=np.float32)
    np.testing.assert_allclose(edges(ramp)[8:-8, 8:-8], 3, rtol=1e-4)
    np.testing.assert_allclose(edges(ramp.transpose(1, 0, 2))[8:-8, 8:-8], 3, rtol=1e-4)
    np.testing.assert_allclose(edges(ramp + ramp.transpose(1, 0, 2))[8:-8, 8:-8], 3 * np.sqrt(2), rtol=1e-4)


def test_noise_is_that_of_unchanged_pixels_with_as_much_detail() -> None:
    """Half-normal differences, twice as strong where there is detail: 1.48 times their median, or a bit less."""
    sample, generator = detection._sample, np.random.default_rng(0)
    detail = np.where(X > 64, 10, 1).astype(np.float32)
    amount = np.abs(generator.normal(0, detail.clip(0, 2))).astype(np.float32)
    changed = (np.abs(Y - 64) < 20) & (X < 40)
    noise = detection._noise(np.where(changed, 100, amount), detail, sample(~changed), 0.1)
    assert noise[:, 80:].mean() == pytest.approx(2, rel=0.1)
    assert noise[:, :60].mean() == pytest.approx(1, rel=0.1)
    assert detection._noise(amount, detail, sample(~changed), 5.0).min() == 5
    assert detection._noise(0 * amount, detail, sample(WHOLE), 0.5).max() == pytest.approx(0.5, rel=1e-3)
    detail[0, 0], detail[0, 1] = 15, 1000
    assert detection._noise(amount, detail, sample(WHOLE & (X > 64)), 0.1)[0, :2] == pytest.approx([3, 4], rel=0.1)
    few = detection._noise(amount, detail, sample((X > 100) & (Y < 20)), 0.1)
    assert few.min() == few.max() == pytest.approx(2, rel=0.2), "too few for a model"


def test_ordinary_noise_has_no_contrast() -> None:
    original, mask, numbers = PLAIN, np.zeros((SIDE, SIDE), dtype=np.float32), np.zeros((SIDE, SIDE), dtype=np.int32)
    edited = noisy(PLAIN, 4)
    for number, (left, side) in enumerate([(10, 4), (40, 12), (80, 30)], start=1):
        mask[40 : 40 + side, left : left + side], numbers[40 : 40 + side, left : left + side] = 1, number
    found = contrasts(original, edited, WHOLE, mask, numbers)
    assert (found[1:] > 0.5).all()
    assert (found[1:] < 1.5).all()
    shown = contrasts(original, edited + 30 * mask[..., None], WHOLE, mask, numbers)
    assert (shown[1:] > 5).all()
    faint = contrasts(original, edited + 5 * mask[..., None], WHOLE, mask, numbers)
    assert faint[3] > 2 * faint[2] > 2 * faint[1], "averaged over its width"


@pytest.mark.parametrize("radius", [3, 8, 12, 30])
def test_a_grown_pixel_is_a_disc(radius: int) -> None:
    pixel = np.zeros((SIDE, SIDE), dtype=bool)
    pixel[64, 60] = True
    apart = np.hypot(X - 60, Y - 64)
    found = detection.grown(pixel, radius)
    assert found[apart < radius - 1].all()
    assert not found[apart > radius + 1.5].any()


def test_contrasts_separate_a_change_from_locally_strong_noise() -> None:
    waves = smoothed(np.random.default_rng(0).normal(0, 60, (SIDE, SIDE, 3)).astype(np.float32), 3.0)
    original, mask = TEXTURED, np.zeros((SIDE, SIDE), dtype=np.float32)
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

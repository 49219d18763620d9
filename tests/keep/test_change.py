"""Detection of changes at known places."""

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from latentedit.photo.warp import smoothed
from latentedit.pixels.change import LOCAL, DetectedChange
from latentedit.pixels.finding import find_change
from latentedit.pixels.layouts import is_drawn_anew, is_drawn_anew_in, is_unsure
from latentedit.pixels.registration import Registration, register
from latentedit.pixels.rest import local_mean, structure
from latentedit.pixels.tones import Tones
from latentedit.pixels.verdict import is_recolored, judge
from tests.keep.pairs import SIDE, as_jpeg, cast, moved, scene, similarity, with_object


def found(original: np.ndarray, edited: np.ndarray) -> DetectedChange:
    first, second = original.astype(np.float32), edited.astype(np.float32)
    return find_change(first, second, register(first, second))


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(np.minimum(mask, truth).sum() / np.maximum(mask, truth).sum())


def disc(center: tuple[int, int] = (90, 70), radius: int = 18) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.clip(radius + 0.5 - np.hypot(x - center[0], y - center[1]), 0, 1)


def test_inverted_contrast_is_as_certain_as_equal_contrast() -> None:
    """Where few tiles and features agree, the structure decides."""
    weak = dataclasses.replace(Registration.unmoved((SIDE, SIDE), (SIDE, SIDE)), agreement=0.2, inliers=50)
    image, other = scene().astype(np.float32), scene(seed=8).astype(np.float32)
    unsure = [is_unsure(image, edited, weak, (None, None)) for edited in (image, 255 - image, other)]
    assert unsure == [False, False, True]


@pytest.mark.slow
def test_a_small_change_is_certain_only_in_a_frame_that_is() -> None:
    """Edges that lie elsewhere differ as much."""
    change = found(scene(), with_object(scene(), radius=5))
    assert judge(change) == "local change"
    guessed = dataclasses.replace(change.registration, uncertainty_px=6.0)
    assert judge(dataclasses.replace(change, registration=guessed)) == "faint change"


@pytest.mark.slow_except("gray")
@pytest.mark.parametrize(
    ("tint", "backwards", "edited"),
    [
        ((1, 1, 1), False, scene()),
        ((1, 1, 1), True, with_object(scene())),
        ((1.07, 0.95, 0.75), False, with_object(scene())),
        ((1.07, 0.95, 0.75), True, scene()),
    ],
    ids=["gray", "another from gray", "another in sepia", "from sepia"],
)
def test_black_and_white_is_a_change_of_colors_and_others_are_found(
    tint: tuple[float, ...], backwards: bool, edited: np.ndarray
) -> None:
    def gray(image: np.ndarray) -> np.ndarray:
        luma = image @ np.array([0.299, 0.587, 0.114])
        return np.rint(luma[..., None] * np.array(tint)).clip(0, 255).astype(np.uint8)

    change = found(gray(scene()), edited) if backwards else found(scene(), gray(edited))
    assert is_recolored(change)
    assert (judge(change) in LOCAL) == (edited != scene()).any()
    assert change.count == (edited != scene()).any()
    if change.count:
        assert overlap(change.mask, disc()) > 0.8


@pytest.mark.nightly
def test_an_object_and_its_shadow_are_one_change() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    shade = 1 - 0.4 * np.exp(-(((x - 90) / 30) ** 2 + ((y - 95) / 12) ** 2))
    edited = with_object(np.rint(scene() * shade[..., None]).astype(np.uint8))
    change = found(scene(), edited)
    assert change.count == 1
    assert change.mask[95, 100] > 0.9  # dark, and outside of the disc
    assert change.mask[20, 20] == 0


@pytest.mark.nightly
def test_holes_that_show_the_original_are_not_filled() -> None:
    edited = with_object(scene(), radius=40)
    inner = disc(radius=26) == 1
    edited[inner] = scene()[inner]
    change = found(scene(), edited)
    assert change.mask[70, 90] == 0
    assert change.mask[70, 90 + 33] == 1


@pytest.mark.parametrize(("gain", "offset", "expected"), [(0.6, 30, 1), (-1, 255, -1)])
def test_structure_is_a_correlation_at_any_brightness(gain: float, offset: float, expected: float) -> None:
    image = scene().astype(np.float32)
    whole = np.ones((SIDE, SIDE), dtype=bool)
    assert structure(image, gain * image + offset, whole) == pytest.approx(expected, abs=1e-2)


def test_a_restyled_image_has_the_same_layout() -> None:
    image = scene().astype(np.float32)
    drawing = 255 - np.abs(image - smoothed(image, 2.0)).max(axis=2, keepdims=True).repeat(3, axis=2) * 6
    assert is_drawn_anew(image, drawing.clip(0, 255))
    assert not is_drawn_anew(image, scene(seed=4).astype(np.float32))


@pytest.mark.parametrize(("down", "right"), [(0, 40), (40, 0)])
def test_so_has_one_that_is_shown_farther_down_or_to_a_side(down: int, right: int) -> None:
    first, second = scene(200, width=200), scene(200, seed=4, width=200)
    place = np.s_[40 - down : 200 - down, 40 - right : 200 - right]
    night = (first.astype(np.float32) - 60).clip(0, 255) * np.float32(0.4)
    noisy = night + np.random.default_rng(1).normal(0, 4, night.shape)
    assert is_drawn_anew(first[40:, 40:].astype(np.float32), noisy.astype(np.float32)[place])
    assert not is_drawn_anew(first[40:, 40:].astype(np.float32), second.astype(np.float32)[place])


def test_so_has_one_that_is_redrawn_from_nearer_in_a_frame_that_some_features_agree_on() -> None:
    first, second = (scene(200, seed=seed, width=200).astype(np.float32) for seed in (3, 4))
    nearer, other = (cv2.resize(one[20:180, 20:180], (200, 200)) for one in (first, second))
    matrix = np.array([[1.25, 0, -25], [0, 1.25, -25], [0, 0, 1]])
    frame = dataclasses.replace(Registration.unmoved((200, 200), (200, 200)), matrix=matrix, inliers=10)
    assert not is_drawn_anew(first, 255 - nearer)
    assert is_drawn_anew_in(first, 255 - nearer, frame)
    assert not is_drawn_anew_in(first, 255 - other, frame)
    assert not is_drawn_anew_in(first, 255 - nearer, dataclasses.replace(frame, inliers=3)), "a chance"


def test_tones_are_by_the_way_where_a_large_part_was_replaced() -> None:
    """Not beside lines, which a restored print has, and not where the rest agrees less."""
    large, paler = with_object(scene(), radius=50), Tones.affine(np.full(3, 0.6), np.full(3, 80.0))
    change = dataclasses.replace(found(scene(), as_jpeg(large, 95)), tones=paler)
    assert 22 < paler.cast < 44
    assert (judge(change), is_recolored(change)) == ("local change", False)
    assert judge(dataclasses.replace(change, shared_detail=0.5)) == "local change"
    lines = dataclasses.replace(change, mask=change.mask * (np.indices(change.mask.shape)[0] % 4 < 2))
    for other in (lines, dataclasses.replace(change, residual=4.0)):
        assert is_recolored(other)
    assert judge(dataclasses.replace(lines, shared_detail=0.5)) == "redrawn"


def test_a_change_at_the_border_goes_on_in_the_narrow_strip_that_the_editor_cut_off() -> None:
    """It would be a line of the old image; where nothing changed, it stays."""
    edited = moved(with_object(scene(), (0, 70), 30), similarity((-4, 0)), (SIDE, SIDE))
    mask = found(scene(), edited).mask
    assert mask[60:80, :20].min() > 0.9
    assert mask[120:].max() == 0


def test_redrawn_detail_is_a_global_change() -> None:
    """Only the flat parts are unchanged."""
    change = found(scene(), with_object(scene()))
    restyled = dataclasses.replace(change, unchanged_detail=0.1, structure=0.9, unchanged_share=0.5)
    assert [judge(one) for one in (change, restyled)] == ["local change", "redrawn"]


@pytest.mark.slow_except("restored")
@pytest.mark.parametrize(
    ("softness", "sharpening", "noise", "expected"),
    [
        (2.2, None, 0, "redrawn"),  # the sharp scene itself
        (2.2, 0, 5, "local change"),
        (2.2, 1.0, 0, "local change"),
        (0, 1.0, 0, "local change"),
    ],
    ids=["restored", "grain on a soft image", "a soft image sharpened", "sharpened"],
)
def test_a_restored_image_is_redrawn_and_a_sharpened_one_is_not(
    softness: float, sharpening: float | None, noise: float, expected: str
) -> None:
    sharp = scene(2 * SIDE).astype(np.float32)
    soft = smoothed(sharp, softness)
    edited = with_object(sharp if sharpening is None else soft, radius=36).astype(np.float32)
    edited += (sharpening or 0) * (edited - smoothed(edited, 1.5))
    edited += np.random.default_rng(4).normal(0, noise, soft.shape)
    assert judge(found(soft, edited.clip(0, 255))) == expected


def test_an_uncertain_cast_is_intended_where_it_leaves_a_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    change = found(scene(), with_object(scene()))
    for name, levels in (("cast", 30.0), ("cast_uncertainty", 15.0)):
        monkeypatch.setattr(Tones, name, property(lambda _, levels=levels: levels))
    lit = [dataclasses.replace(change, residual=residual) for residual in (1.0, 12.0)]
    assert [is_recolored(one) for one in lit] == [False, True]
    assert [judge(one) for one in lit] == ["local change", "faint change"], "each part may have been lit otherwise"


@pytest.mark.nightly
def test_the_strong_edges_of_a_removed_object_belong_to_the_change() -> None:
    generator = np.random.default_rng(2)
    noisy = (scene() + smoothed(generator.normal(0, 12, (SIDE, SIDE, 3)).astype(np.float32), 1.0)).clip(0, 255)
    change = found(with_object(scene()), noisy.astype(np.uint8))
    assert change.mask[disc() == 1].min() > 0.9


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


def half_plain() -> np.ndarray:
    """A plain ground with enough texture below to align by."""
    ground = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    ground[100:] = scene()[100:]
    return ground


def test_a_hairline_of_a_removed_thing_belongs_to_the_change() -> None:
    """A disc with a thin antenna on a plain ground: the antenna is too thin for the other tests."""
    ground = half_plain()
    before = cv2.line(with_object(ground), (90, 52), (130, 12), (134, 134, 134), 1, cv2.LINE_AA)
    mask = found(before, ground).mask
    on_line = np.array([mask[52 - step, 90 + step] for step in range(4, 36)])
    assert (on_line > 0.5).mean() > 0.9


def comic(text: str) -> np.ndarray:
    """A page with screentones of three sizes, frames and a speech bubble."""
    y, x = np.mgrid[:480, :360]
    page, boxes = (
        np.full((480, 360), 255, np.uint8),
        ((16, 16, 172, 224), (184, 16, 344, 152), (16, 240, 344, 464)),
    )
    for (left, top, right, bottom), step, radius in zip(boxes, (6, 8, 5), (2.0, 2.2, 1.6), strict=True):
        dots = ((x + y) % step - step / 2) ** 2 + ((x - y) % step - step / 2) ** 2 < radius**2
        page[top:bottom, left:right][dots[top:bottom, left:right]] = 0
    image = Image.fromarray(page).convert("RGB")
    draw = ImageDraw.Draw(image)
    for box in (*boxes, (184, 160, 344, 224)):
        draw.rectangle(box, outline="black", width=2)
    draw.ellipse((200, 28, 328, 88), fill="white", outline="black", width=2)
    draw.text((224, 48), text, fill="black", font_size=14)
    return np.asarray(image)


@pytest.mark.slow
def test_resampled_screentones_are_not_recolored() -> None:
    """Their overshoot is cut off at white, so that an editor's are darker."""
    original, edited = comic("NANI KORE"), comic("What is it?")
    larger = Image.fromarray(edited).resize((720, 960), Image.Resampling.LANCZOS)
    change = found(original, as_jpeg(np.asarray(larger), 92))
    assert judge(change) in ("local change", "faint change")
    assert change.mask.mean() < 2 * (edited != original).any(axis=2).mean()


@pytest.mark.slow
@pytest.mark.parametrize("softness", [1.5, 3.0])
def test_the_soft_outline_of_a_removed_thing_belongs_to_the_change(softness: float) -> None:
    """The outline goes on beyond the half of its step, where the mask of a soft editor's new thing ends."""
    sharp = half_plain().astype(np.float32)
    after = smoothed(sharp, 2.2)
    cover = smoothed(disc(center=(90, 45)).astype(np.float32), softness)[..., None]
    before = (1 - cover) * sharp + cover * np.array([230, 60, 40], dtype=np.float32)
    left = (1 - found(before, after).mask[..., None]) * (before - after)
    assert np.abs(left[:90]).max() < 12


@pytest.mark.slow
def test_what_is_visible_next_to_a_change_belongs_to_it() -> None:
    """Far away the editor repainted a texture with differences as large as those of the change's weak part."""
    generator = np.random.default_rng(9)
    before = np.full((2 * SIDE, 2 * SIDE, 3), 128, dtype=np.float32)
    texture, other = (smoothed(generator.normal(0, 60, (SIDE, 2 * SIDE)).astype(np.float32), 1.2) for _ in range(2))
    before[SIDE:] += texture[..., None]
    after = before.copy()
    after[SIDE:] += other[..., None]
    weak = (slice(80, 87), slice(95, 145))
    after[40:80, 90:150] = (40, 60, 200)
    after[weak] += 25
    after += generator.normal(0, 1.5, after.shape)
    assert found(before, after.clip(0, 255)).mask[weak].mean() > 0.9


Y, X = np.mgrid[:SIDE, :SIDE]
WARM, DARK = np.array([10, 3.5, -6]), np.array([-12, -12, -12])
LEFT, ELLIPSE = (80 - X) / 2, 55 - np.hypot(X - 80, (Y - 80) / 0.8)  # in pixels inwards, at most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tint", "inwards", "soft_px", "saved"),
    [
        (DARK, LEFT, 3, as_jpeg),
        (-WARM, ELLIPSE, 1, lambda image: as_jpeg(cast(np.rint(image).clip(0, 255)))),
    ],
    ids=["soft half", "ellipse in a cast"],
)
def test_a_part_that_is_tinted_is_found_or_its_surroundings(
    tint: np.ndarray, inwards: np.ndarray, soft_px: float, saved: Any
) -> None:
    """Which of the two changed, nobody can tell."""
    weight = np.clip(inwards / soft_px + 0.5, 0, 1)
    change = found(scene(), saved(scene() + tint * weight[..., None]))
    assert judge(change) == "local change"
    truth = weight > 0.5
    assert max(overlap(change.mask > 0.5, truth), overlap(change.mask > 0.5, ~truth)) > 0.85


@pytest.mark.slow_except("18")
@pytest.mark.parametrize("levels", [3, 18])
def test_darkened_corners_are_no_change_and_are_named_where_they_are_seen(levels: float) -> None:
    radius = np.hypot(X - 80, Y - 80) / 113
    change = found(scene(), as_jpeg(scene() - levels * radius[..., None] ** 2))
    assert change.count == 0
    assert judge(change) == ("faint change" if levels == 18 else "nothing")
    assert (change.light is not None) == (levels == 18)


@pytest.mark.slow
def test_what_agrees_is_kept_where_three_quarters_were_replaced() -> None:
    """Less than a fifth is that of an image that was redrawn."""
    for share, verdict in ((0.21, "local change"), (0.19, "redrawn")):
        change = dataclasses.replace(found(scene(), as_jpeg(with_object(scene()))), unchanged_share=share)
        assert judge(change) == verdict


def test_the_mean_around_is_that_of_what_is_weighted_and_fades_where_nothing_of_it_is_near() -> None:
    weight = np.zeros((100, 200), dtype=np.float32)
    weight[:, :100] = 1
    plane = np.where(weight > 0, 10, 200)[..., None].repeat(3, axis=2).astype(np.float32)
    mean = local_mean(plane, weight)
    np.testing.assert_allclose(mean[:, :101], 10, atol=0.1)
    assert mean[:, 150:].max() < 0.1


def test_a_change_that_stands_out_from_a_repainted_rest_is_local() -> None:
    """Not one that is merely evident, nor beside a rest of another structure or color, nor where all was relit."""
    change = found(scene(), with_object(scene()))
    frame = dataclasses.replace(change.registration, agreement=0.4)
    repainted = dataclasses.replace(change, registration=frame, residual=9.0, structure=0.9)
    evident, blue = np.minimum(change.contrasts, 3.0), Tones.affine(np.array([0.5, 0.6, 1.5]), np.zeros(3))
    assert blue.cast > 22
    assert judge(repainted) == "local change"
    for fields in (
        {"contrasts": evident},
        {"structure": 0.8},
        {"residual": 18.0},
        {"tones": blue},
        {"unchanged_share": 0.19},
        {"registration": dataclasses.replace(frame, uncertainty_px=7.0)},
    ):
        assert judge(dataclasses.replace(repainted, **fields)) == "redrawn"

"""Pairs with known answers: generated changes, damages and codecs, and measurements in closed form."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from latentedit.photo import depth_inside, resized, warped
from latentedit_bench.known_pairs import damages
from latentedit_bench.known_pairs.baselines import baseline
from latentedit_bench.known_pairs.cases import (
    CHANGES,
    DRAWN,
    FOUND,
    PHOTOGRAPHS,
    blob,
    changed,
    load_photograph,
    make_case,
    scaled,
    true_mask,
)
from latentedit_bench.known_pairs.damages import CODECS, LIGHTS, Damage, draw_damage, draw_more
from latentedit_bench.known_pairs.measured import far_touched, measured_pairs, pair_summary, psnr, soft_iou
from latentedit_bench.known_pairs.opencv import cv2

FIRST, SECOND = (load_photograph(name) for name in PHOTOGRAPHS["calibration"][:2])


def small(seed: int, side: int) -> np.ndarray:
    return scaled(FIRST, side, np.random.default_rng(seed)).astype(np.float32)


def plain(matrix: np.ndarray, size: tuple[int, int], codec: str = "none") -> Damage:
    ones = np.ones(3)
    return Damage(
        matrix=matrix, size=size, gamma=ones, gain=ones, contrast=1, saturation=1, codec=codec, amount=0.5, seed=0
    )


@pytest.mark.parametrize("index", [1, 13, 15, 16, pytest.param(18, marks=pytest.mark.nightly)])
def test_a_case_is_reproducible_and_as_described(index: int) -> None:
    first, second = (make_case("calibration", index, side=96) for _ in range(2))
    np.testing.assert_array_equal(first.edited, second.edited)
    truly = (first.truth != first.original).any(axis=2)
    assert first.kind in FOUND
    assert truly.any() == (first.kind in ("local", "global"))
    assert first.mask[~truly].max(initial=0) <= 1
    assert first.kind != "local" or first.mask.mean() >= 0.003
    assert not set(PHOTOGRAPHS["calibration"]) & set(PHOTOGRAPHS["test"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_stays_within_its_mask(name: str) -> None:
    image = small(5, 96)
    edited = changed(name, image, SECOND, 0.1, np.random.default_rng(5))
    mask = true_mask(image, edited)
    assert edited.shape == image.shape
    assert 0.02 < mask.mean() < 0.6
    assert np.abs(edited - image)[mask == 0].max() <= 1.01
    shares = [blob((200, 200), 0.05, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert 0.02 < float(np.median(shares)) < 0.08


def test_the_matrix_of_a_damage_undoes_it_and_keeps_the_center() -> None:
    for seed in (4, 5, 7):
        larger = draw_damage((128, 85), np.random.default_rng(seed))
        middle = larger.matrix @ (63.5, 42, 1)
        assert larger.size > (140, 90)
        np.testing.assert_allclose(middle[:2], (np.array(larger.size) - 1) / 2, atol=10)
    image = small(0, 128)
    damage = draw_damage((128, image.shape[0]), np.random.default_rng(3))
    clean = plain(damage.matrix, damage.size)
    back = warped(clean.apply(image).astype(np.float32), damage.matrix, (128, image.shape[0]))
    inner = np.s_[20:-20, 20:-20]
    shifted = np.roll(image, 1, axis=1)
    assert np.abs(back - image)[inner].mean() < 0.5 * np.abs(shifted - image)[inner].mean()


@pytest.mark.parametrize(
    "codec", [pytest.param(one, marks=[pytest.mark.nightly] * (one == "autoencoder")) for one in CODECS]
)
def test_codecs_lose_something_but_not_much(codec: str) -> None:
    image = small(0, 128)
    edited = plain(np.eye(3), (128, image.shape[0]), codec).apply(image)
    agreement = psnr(edited, image, np.ones(image.shape[:2], dtype=bool))
    assert agreement is not None
    assert (agreement == 99) == (codec == "none")
    assert agreement > 22


@pytest.mark.parametrize("shape", [(100, 90), (230, 470)])
def test_an_autoencoder_gets_overlapping_tiles(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    """One that changes nothing gives back the image; each tile is as large as the model takes, in [-1, 1]."""
    seen: list[Any] = []
    exact = SimpleNamespace(encode=lambda x: seen.append(x) or x, decode=lambda z: z)
    monkeypatch.setattr(damages, "_model", lambda _: exact)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = plain(np.eye(3), shape[::-1], "autoencoder").apply(pixels.astype(np.float32))
    np.testing.assert_array_equal(found, pixels)
    assert {tuple(one.shape) for one in seen} == {(1, 3, 256, 256)}
    assert [float(end) for end in (seen[0].min(), seen[0].max())] == [-1, 1]
    assert len(seen) == (1 if shape == (100, 90) else 2 * 3), "224 px of each tile are used"


def test_agreement_and_overlap_in_closed_form() -> None:
    one, two = np.zeros((4, 4, 3)), np.full((4, 4, 3), 25.5)
    everywhere = np.ones((4, 4), dtype=bool)
    assert psnr(two, one, everywhere) == pytest.approx(20)
    assert psnr(one, one, everywhere) == 99
    assert psnr(one, two, ~everywhere) is None
    assert soft_iou(np.array([1, 0.5, 0]), np.array([1, 1, 0])) == pytest.approx(0.75)
    assert soft_iou(np.zeros(3), np.zeros(3)) == 1


def test_measures_of_a_case_and_baselines_that_paste_a_clean_change() -> None:
    case = make_case("calibration", 5, side=160)
    row = measured_pairs(case)
    assert (row["kind"], row["found"], row["right"]) == ("local", "local change", 1)
    others = [row[f"{name}_inside_db"] for name in ("editor", "threshold", "sift")]
    assert row["bound_inside_db"] > max(others) - 1
    assert row["keep_outside_db"] > row["editor_outside_db"] + 20
    assert case.damage is not None
    size = case.original.shape[1::-1]
    shown = depth_inside(case.damage.matrix, size, case.edited.shape[1::-1]) >= 0
    raw = resized(case.edited, size)
    assert row["editor_inside_db"] == psnr(raw, case.truth, (case.mask > 0.5) & shown)
    assert row["editor_outside_db"] == psnr(raw, case.truth, case.mask == 0)
    assert row["shift_error_px"] < 1
    for name in ("threshold", "sift", "homography"):
        image, mask = baseline(name, case.original, case.truth, 12)
        assert soft_iou(mask, case.mask) > 0.5, "it reaches beyond the change"
        np.testing.assert_array_equal(image[mask == 0], case.original[mask == 0])
        if name == "threshold":
            np.testing.assert_array_equal(image[mask == 1], case.truth[mask == 1])
    for name in ("sift", "homography"):
        assert baseline(name, case.original, np.full((30, 40, 3), 128, np.uint8), 12)[0].shape == case.original.shape


def test_a_homography_is_found_at_the_edits_size() -> None:
    """An edit of half the size that shows less: aligned, what differs is the change, and only there it is pasted."""
    original = scaled(FIRST, 400, np.random.default_rng(0))
    height, width = original.shape[:2]
    edited = original.copy()
    edited[100:140, 150:200] = (250, 30, 30)
    edited = cv2.resize(edited[8:-8, 12:-4], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    masks = {name: baseline(name, original, edited, 60)[1] > 0.5 for name in ("threshold", "homography")}
    assert masks["homography"][105:135, 155:195].all()
    masks["homography"][80:160, 130:220] = False
    assert masks["homography"].mean() < 0.2 * masks["threshold"].mean()


GOOD = {
    "image": DRAWN, "case": 0, "what": "paste", "codec": "none", "kind": "local", "found": "local change", "right": 1,
    "shift_error_px": 0.01, "keep_far_touched": 0, "keep_iou": 0.97, "keep_outside_db": 60.0, "editor_outside_db": 20.0,
    "contradictions": [],
    "keep_inside_db": 30.0, "editor_inside_db": 20.0, "bound_inside_db": 30.5, "aligned_inside_db": 28.0,
}  # fmt: skip
OTHER = {
    "image": "cat", "case": 99, "kind": "different", "found": "different images", "right": 1, "contradictions": [],
}  # fmt: skip


def test_bars_hold_where_they_are_reached() -> None:
    good, bad = [GOOD] * 19, GOOD | {"keep_iou": 0.84, "shift_error_px": 3.0, "right": 0, "keep_far_touched": 9}
    bad |= {"keep_outside_db": 30.0, "keep_inside_db": 20.0, "contradictions": ["rest"]}
    report = pair_summary(pd.DataFrame([*good, OTHER]))
    assert [row["holds"] for row in report["thresholds"]] == [True] * 11
    assert [row["cases"] for row in report["thresholds"]] == [19] * 8 + [20, 20, 1]
    assert report["against"][0] == {"method": "keep", "iou": 0.97, "inside_db": 30, "outside_db": 60}
    (part,) = report["parts"]["what"]
    assert part == {"what": "paste", "cases": 19, "iou": 0.97, "iou_at_least_85": 1, "inside_below_bound_db": 0.5}
    report = pair_summary(pd.DataFrame([*good, bad, OTHER | {"found": "local change"}]))
    assert report["worst"][0]["keep_iou"] == 0.84
    report = pair_summary(pd.DataFrame([bad] * 19 + [OTHER | {"found": "local change"}]))
    assert not any(row["holds"] for row in report["thresholds"])


@pytest.mark.parametrize("cases", [1, 4])
def test_intervals_are_over_redrawn_photographs(cases: int) -> None:
    """A share p of n photographs has p -+ 1.96 sqrt(p (1 - p) / n) for many, in however many cases each of them is."""
    rows = [GOOD | {"case": number, "right": number % 5 > 0} for number in range(100)]
    if cases > 1:
        rows = [row | {"image": f"photograph {row['case']}"} for row in rows for _ in range(cases)]
    thresholds = pair_summary(pd.DataFrame(rows))["thresholds"]
    assert len(thresholds) == 10, "no different images, no threshold of them"
    assert (thresholds[-1]["value"], thresholds[-1]["cases"]) == (0.8, 100 * cases)
    assert [thresholds[-1][end] for end in ("low", "high")] == pytest.approx([0.722, 0.878], abs=0.02)


def test_a_photograph_at_its_own_size_is_itself() -> None:
    np.testing.assert_array_equal(scaled(FIRST, max(FIRST.shape), np.random.default_rng(0)), FIRST)


class Steady:
    """A generator that draws the middle of a range and the last of a choice."""

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Any:
        return (low + high) / 2 if size is None else np.full(size, (low + high) / 2)

    def choice(self, options: list[float]) -> float:
        return options[-1]


def test_an_image_is_zoomed_about_its_center() -> None:
    steady: Any = Steady()
    matrix = damages._frame((101, 61), (101, 61), steady, reframed=True)
    np.testing.assert_allclose(matrix @ (50, 30, 1), (50, 30, 1))
    np.testing.assert_allclose(matrix[:2, :2], 1.225 * np.eye(2))


def test_pixels_farther_than_12_from_the_change_are_counted() -> None:
    original, mask = np.zeros((40, 40, 3), dtype=np.uint8), np.zeros((40, 40), dtype=np.float32)
    result, mask[20, 20] = original.copy(), 1
    result[20, 20:34] = 9
    assert far_touched(result, original, mask) == 1
    assert far_touched(result, original, 0 * mask) == 14, "without a change all pixels are far from it"


def test_light_grain_and_a_filling_are_those_of_the_damage() -> None:
    image, still = np.full((96, 96, 3), 100, dtype=np.float32), plain(np.eye(3), (96, 96))
    moved = np.eye(3)
    moved[0, 2] = 12
    filled = dataclasses.replace(plain(moved, (96, 96)), fill=0).apply(image)
    assert (filled[:, :8] == 0).all()
    assert (filled[:, 16:] == 100).all()
    dark = dataclasses.replace(still, light="above", shade=0.4).apply(image)
    assert dark[0, 40, 0] == 60
    assert dark[-1, 40, 0] == 100
    assert 8 < dataclasses.replace(still, grain=10.0).apply(image)[..., 1].std() < 13
    drawn = [draw_more(still, np.random.default_rng(seed)) for seed in range(400)]
    assert {one.light for one in drawn} == {"none", *LIGHTS}
    assert abs(np.mean([one.light != "none" for one in drawn]) - 0.2) < 0.06
    assert abs(np.mean([one.grain > 0 for one in drawn]) - 0.2) < 0.06


def test_more_damage_leaves_the_change_where_it_is() -> None:
    usual, more = (make_case("calibration", 1, side=96, kind="local", more=more) for more in (False, True))
    np.testing.assert_array_equal(usual.mask > 0, more.mask > 0)
    assert (more.edited.shape, usual.what) == (usual.edited.shape, more.what)

"""Pairs with known answers: the generator keeps its word."""

import numpy as np
import pytest

from latentedit_bench.known_pairs.baselines import above_threshold, aligned_by_features, pasted, resized
from latentedit_bench.known_pairs.cases import DRAWN, VERDICTS, make_case
from latentedit_bench.known_pairs.changes import CHANGES, blob, true_mask
from latentedit_bench.known_pairs.damages import CODECS, Damage, draw_damage
from latentedit_bench.known_pairs.measured import psnr, soft_iou
from latentedit_bench.known_pairs.photographs import PHOTOGRAPHS, photograph, scaled
from latentedit_bench.known_pairs.summary import bars
from latentedit_keep.warp import warped

pytestmark = pytest.mark.slow


def plain(matrix: np.ndarray, size: tuple[int, int], codec: str = "none") -> Damage:
    ones = np.ones(3)
    return Damage(
        matrix=matrix, size=size, gamma=ones, gain=ones, contrast=1, saturation=1, codec=codec, amount=0.5, seed=0
    )


def test_no_photograph_is_in_both_halves() -> None:
    assert not set(PHOTOGRAPHS["calibration"]) & set(PHOTOGRAPHS["test"])


@pytest.mark.nightly
@pytest.mark.parametrize("index", [1, 13, 15, 16, 18])
def test_a_case_is_the_same_again_and_what_it_says(index: int) -> None:
    first, second = (make_case("calibration", index, side=128) for _ in range(2))
    np.testing.assert_array_equal(first.edited, second.edited)
    assert first.kind in VERDICTS
    changed = (first.truth != first.original).any(axis=2)
    assert changed.any() == (first.kind in ("local", "global"))
    assert first.mask[~changed].max(initial=0) <= 1
    if first.kind == "local":
        assert first.mask.mean() >= 0.003


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_stays_within_its_mask(name: str) -> None:
    generator = np.random.default_rng(5)
    picture = scaled(photograph(PHOTOGRAPHS["calibration"][0]), 96, generator).astype(np.float32)
    other = photograph(PHOTOGRAPHS["calibration"][1])
    edited = CHANGES[name](picture, other, 0.1, generator)
    mask = true_mask(picture, edited)
    assert edited.shape == picture.shape
    assert 0.02 < mask.mean() < 0.6
    assert np.abs(edited - picture)[mask == 0].max() <= 1.01


def test_a_blob_has_about_its_share() -> None:
    shares = [blob((200, 200), 0.05, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert 0.02 < float(np.median(shares)) < 0.08


def test_the_matrix_of_a_damage_is_the_one_that_undoes_it() -> None:
    picture = scaled(photograph(PHOTOGRAPHS["calibration"][0]), 128, np.random.default_rng(0)).astype(np.float32)
    damage = draw_damage((128, picture.shape[0]), np.random.default_rng(3))
    clean = plain(damage.matrix, damage.size)
    back = warped(clean.apply(picture).astype(np.float32), damage.matrix, (128, picture.shape[0]))
    inner = np.s_[20:-20, 20:-20]
    shifted = np.roll(picture, 1, axis=1)
    assert np.abs(back - picture)[inner].mean() < 0.5 * np.abs(shifted - picture)[inner].mean()


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_lose_something_but_not_much(codec: str) -> None:
    picture = scaled(photograph(PHOTOGRAPHS["calibration"][0]), 128, np.random.default_rng(0))
    edited = plain(np.eye(3), (128, picture.shape[0]), codec).apply(picture.astype(np.float32))
    agreement = psnr(edited, picture, np.ones(picture.shape[:2], dtype=bool))
    assert agreement is not None
    assert (agreement == 99) == (codec == "none")
    assert agreement > 22


def test_measures_in_closed_form() -> None:
    one, two = np.zeros((4, 4, 3)), np.full((4, 4, 3), 25.5)
    everywhere = np.ones((4, 4), dtype=bool)
    assert psnr(two, one, everywhere) == pytest.approx(20)
    assert psnr(one, one, everywhere) == 99
    assert psnr(one, two, ~everywhere) is None
    assert soft_iou(np.array([1, 0.5, 0]), np.array([1, 1, 0])) == pytest.approx(0.75)
    assert soft_iou(np.zeros(3), np.zeros(3)) == 1


def test_baselines_find_a_clean_change() -> None:
    case = make_case("calibration", 5, side=160)
    assert aligned_by_features(case.original, case.truth).shape == case.original.shape
    mask = above_threshold(case.original, case.truth, 12)
    assert soft_iou(mask, case.mask) > 0.5  # it reaches beyond the change
    np.testing.assert_array_equal(pasted(case.original, case.truth, np.ones(case.mask.shape)), case.truth)
    assert resized(case.truth, (40, 30)).shape == (30, 40, 3)


GOOD = {
    "picture": DRAWN, "case": 0,
    "kind": "local", "verdict": "kept", "right": 1, "shift_error_px": 0.01, "keep_far_touched": 0,
    "keep_iou": 0.97, "keep_outside_db": 60.0, "editor_outside_db": 20.0, "keep_inside_db": 30.0,
    "bound_inside_db": 30.5, "aligned_inside_db": 28.0,
}  # fmt: skip
OTHER = {
    "picture": "cat",
    "case": 1,
    "kind": "different",
    "verdict": "different pictures",
    "right": 1,
    "shift_error_px": None,
}


@pytest.mark.nightly
def test_bars_hold_where_they_are_reached() -> None:
    assert all(bar.holds for bar in bars([GOOD] * 19 + [OTHER]))
    bad = GOOD | {"keep_iou": 0.84, "shift_error_px": 3.0, "right": 0, "keep_far_touched": 9, "keep_outside_db": 30.0}
    bad |= {"keep_inside_db": 20.0}
    assert not any(bar.holds for bar in bars([bad] * 19 + [OTHER | {"verdict": "kept"}]))


@pytest.mark.nightly
@pytest.mark.parametrize("cases", [1, 4])
def test_intervals_are_those_of_photographs_drawn_anew(cases: int) -> None:
    """Of a share p of n photographs, p -+ 1.96 sqrt(p (1 - p) / n) for many, in however many cases each of them is."""
    rows = [GOOD | {"case": number, "right": number % 5 > 0} for number in range(100)]
    if cases > 1:
        rows = [row | {"picture": f"photograph {row['case']}"} for row in rows for _ in range(cases)]
    found = bars(rows)
    assert len(found) == len(bars([*rows, OTHER])) - 1, "no different pictures, no bar of them"
    (right,) = (bar for bar in found if bar.statement.startswith("verdict right"))
    assert (right.value, right.cases) == (0.8, 100 * cases)
    assert (right.low, right.high) == (pytest.approx(0.722, abs=0.02), pytest.approx(0.878, abs=0.02))

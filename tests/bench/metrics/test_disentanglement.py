"""Effect, leakage and what follows from them; what changes outside a mask; pictures that differ."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from latentedit.core.errors import DeviceError, ImageError, ShapeError
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.locality import outside_change, outside_psnr_db, outside_share, side_effect
from latentedit_bench.metrics.pictures import HIGHEST_DB, SAME, check_mask, differ, in_double, mean_square, psnr_db
from tests.bench.metrics.constructed import noise, world

SCORES = ("effect", "leakage", "decomposability", "effectiveness", "disentanglement")


def all_of(edited: Tensor, source: Tensor, truth: Tensor) -> list[list[float]]:
    found = all_scores(edited, source, truth)
    assert set(found) == set(SCORES)
    return [found[name].tolist() for name in SCORES]


@pytest.mark.parametrize(
    ("along", "beside", "expected"),
    [
        (1, 0, [1, 0, 1, 1, 1]),
        (0, 0, [0, 0, math.nan, 0, 0]),
        (-0.5, 0, [-0.5, 0, 1, 0, 0]),
        (0.8, 0.6, [0.8, 0.6, 0.8, 0.6, 24 / 35]),
        (1, 0.75, [1, 0.75, 0.8, 0.4375, 56 / 99]),
        (0.3, 0.4, [0.3, 0.4, 0.6, 0.35, 42 / 95]),
        (1.5, 2, [1.5, 2, 0.6, 0, 0]),
    ],
    ids=[
        "an oracle",
        "no edit",
        "the opposite",
        "most of it",
        "all of it and more",
        "some of it",
        "more harm than good",
    ],
)
def test_known_edits(along: float, beside: float, expected: list[float]) -> None:
    w = world()
    found = all_of(w.edited(along, beside), w.source, w.truth)
    # float64: each is a quotient of two sums of 90 products
    for row, value in zip(found, expected, strict=True):
        assert row == pytest.approx([value] * 2, abs=1e-13, nan_ok=True)


@given(st.floats(-3, 3), st.floats(0, 3))
def test_effect_and_leakage_say_the_rest(a: float, b: float) -> None:
    """The identities of the module, for any effect and leakage."""
    w = world(seed=1)
    effect, leakage, decomposability, effectiveness, disentanglement = all_of(w.edited(a, b), w.source, w.truth)
    assert effect == pytest.approx([a, a], abs=1e-13)
    assert leakage == pytest.approx([b, b], abs=1e-13)
    eff = min(1.0, max(0.0, a * (2 - a) - b * b))
    assert effectiveness == pytest.approx([eff, eff], abs=1e-12)
    if math.hypot(a, b) > 1e-3:  # below, the cosine has the rounding of source + d, 1e-16 / 1e-3, and more
        dec = abs(a) / math.hypot(a, b)
        close = 1e-10 if math.hypot(a, b) < 0.1 else 1e-12
        assert decomposability == pytest.approx([dec, dec], abs=close)
        sde = 2 * eff * dec / (eff + dec) if eff else 0
        assert disentanglement == pytest.approx([sde, sde], abs=2 * close)


def test_where_nothing_was_asked_for_all_are_undefined() -> None:
    w = world()
    for row in all_of(w.truth, w.source, w.source):
        assert all(math.isnan(value) for value in row)


def test_a_change_that_is_rounding_is_none() -> None:
    w = world()
    nothing, little = (all_scores(w.source + size * w.wanted, w.source, w.truth) for size in (1e-8, 1e-3))
    assert nothing["decomposability"].isnan().all()
    assert little["decomposability"].tolist() == pytest.approx([1, 1], rel=1e-9)
    assert nothing["disentanglement"].tolist() == [0, 0]


def test_what_is_too_small_to_count_is_the_same_in_pictures_of_every_size() -> None:
    """Less than `SAME` at the average pixel."""
    w = world()
    size = SAME / w.wanted.flatten(1).square().mean(1).sqrt().max().item()
    smaller, larger = (all_scores(w.source + part * size * w.wanted, w.source, w.truth) for part in (0.5, 2))
    assert smaller["decomposability"].isnan().all()
    assert not larger["decomposability"].isnan().any()


def test_rounding_makes_no_score_larger_than_one() -> None:
    w = world(batch=200)
    found = all_scores(w.edited(0.3, 0), w.source, w.truth)
    assert float(found["decomposability"].max()) <= 1


def test_the_answer_has_no_error_no_edit_has_one_and_where_nothing_was_asked_for_there_is_none() -> None:
    w = world()
    assert counterfactual_error(w.truth, w.source, w.truth).tolist() == [0, 0]
    assert counterfactual_error(w.source, w.source, w.truth).tolist() == [1, 1]
    assert counterfactual_error(w.truth, w.source, w.source).isnan().all()


@given(st.floats(-3, 3), st.floats(0, 3))
def test_it_is_made_of_effect_and_leakage(a: float, b: float) -> None:
    w = world()
    expected = (1 - a) ** 2 + b**2
    found = counterfactual_error(w.edited(a, b), w.source, w.truth)
    assert found.tolist() == pytest.approx([expected] * 2, abs=1e-12)


def test_decibels_are_those_of_torchmetrics() -> None:
    a, b = (noise(4, 3, 8, 9, seed=seed, scale=0.3).clamp(-1, 1) for seed in (0, 1))
    theirs = [peak_signal_noise_ratio(x, y, data_range=(-1.0, 1.0)) for x, y in zip(a, b, strict=True)]
    found = psnr_db(mean_square(a, b))
    # theirs takes the logarithm of the base in single precision
    torch.testing.assert_close(found, torch.stack(theirs), rtol=1e-6, atol=0)


def test_decibels_end_at_a_hundred_and_keep_nan() -> None:
    found = psnr_db(torch.tensor([0.0, 1e-20, 4e-10, 0.04, math.nan], dtype=torch.float64))
    assert found[:4].tolist() == pytest.approx([HIGHEST_DB, HIGHEST_DB, 100, 20], rel=1e-12)
    assert found[4].isnan()


def test_rounding_is_no_difference_and_one_step_of_eight_bits_is() -> None:
    picture = noise(1, 3, 128, 128, scale=0.3).clamp(-1, 1)
    assert not differ(picture, picture.float().double()).any()
    assert {one.dtype for one in in_double(picture.float(), picture)} == {torch.float64}
    step = picture.clone()
    step[0, 1, 3, 4] += 2 / 255
    assert differ(picture, step).all()
    assert (psnr_db(mean_square(picture, step)) < HIGHEST_DB).all()
    # the promise for 1024 x 1024, without the picture
    assert 2 / 255 / math.sqrt(3 * 1024**2) > SAME > 2**-24


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 4), (2, 1, 4, 4), (3, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"Give all as \[b, 3, h, w\]"):
        in_double(
            torch.zeros(2, 3, 4, 4) if len(shape) == 4 and shape[1] == 3 else torch.zeros(shape), torch.zeros(shape)
        )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_picture_that_diverged_is_refused_and_named(value: float) -> None:
    broken = torch.zeros(3, 3, 4, 4)
    broken[1, 2, 0, 0] = value
    with pytest.raises(ImageError, match=r"pictures \[1\]"):
        in_double(torch.zeros(3, 3, 4, 4), broken)


def test_masks_of_another_size_or_device_are_refused() -> None:
    pictures = torch.zeros(2, 3, 4, 5)
    check_mask(torch.zeros(2, 1, 4, 5), pictures)
    for shape in [(2, 1, 5, 4), (1, 1, 4, 5), (2, 3, 4, 5), (2, 4, 5)]:
        with pytest.raises(ShapeError, match=r"not \[2, 1, 4, 5\] as the pictures"):
            check_mask(torch.zeros(shape), pictures)
    with pytest.raises(DeviceError, match="the pictures on cpu"):
        check_mask(torch.zeros(2, 1, 4, 5, device="meta"), pictures)
    with pytest.raises(DeviceError, match="several devices"):
        in_double(pictures, pictures.to("meta"))


def left_half(batch: int = 2) -> Tensor:
    mask = torch.zeros(batch, 1, 4, 6, dtype=torch.bool)
    mask[..., :3] = True
    return mask


def test_the_share_is_of_squares() -> None:
    source = torch.zeros(2, 3, 4, 6)
    edited = source.clone()
    edited[0, :, :, :3], edited[0, :, :, 3:] = 0.3, 0.1  # 9 parts inside, 1 outside
    edited[1, 0, 0, 5] = -0.5
    assert outside_share(edited, source, left_half()).tolist() == pytest.approx([0.1, 1], rel=1e-6)
    # a share knows no size; single precision
    assert outside_share(0.01 * edited, source, left_half()).tolist() == pytest.approx([0.1, 1], rel=1e-6)


def test_the_change_outside_is_in_units_of_the_wanted_change() -> None:
    """A wanted change of 9 parts in the left half; 9 and 1 parts are made, then what was wanted alone."""
    source = torch.zeros(2, 3, 4, 6)
    truth, edited = source.clone(), source.clone()
    truth[:, :, :, :3] = 0.3
    edited[0, :, :, :3], edited[0, :, :, 3:] = 0.6, 0.1
    edited[1] = truth[1]
    assert outside_change(edited, source, truth, left_half()).tolist() == pytest.approx([1 / 9, 0], rel=1e-6)
    assert outside_change(edited, source, source, left_half()).isnan().all()


def test_no_change_has_no_share() -> None:
    source = noise(2, 3, 4, 6)
    assert outside_share(source, source, left_half()).isnan().all()
    assert outside_psnr_db(source, source, left_half()).tolist() == [100, 100]


def test_masks_of_all_and_of_nothing() -> None:
    edited, source, mask = noise(2, 3, 4, 6), noise(2, 3, 4, 6, seed=1), left_half()
    assert outside_share(edited, source, mask | True).tolist() == [0, 0]
    assert outside_share(edited, source, mask & False).tolist() == [1, 1]
    assert outside_psnr_db(edited, source, mask | True).isnan().all()


def test_decibels_are_those_of_torchmetrics_on_the_part_outside() -> None:
    edited, source = (noise(2, 3, 4, 6, seed=seed, scale=0.2) for seed in (0, 1))
    found = outside_psnr_db(edited, source, left_half())
    for row in range(2):
        part = edited[row, :, :, 3:].clamp(-1, 1), source[row, :, :, 3:].clamp(-1, 1)
        theirs = peak_signal_noise_ratio(*part, data_range=(-1.0, 1.0))
        assert found[row].item() == pytest.approx(theirs.item(), rel=1e-6)  # theirs has a logarithm in single precision
    # and what is inside is not seen
    inside = torch.where(left_half(), 5.0, edited)
    assert torch.equal(outside_psnr_db(inside, source, left_half()), found)


def test_a_mask_of_another_size_is_refused() -> None:
    pictures, narrow = torch.zeros(2, 3, 4, 6), left_half()[..., :5]
    for measure in (outside_share, outside_psnr_db):
        with pytest.raises(ShapeError, match=r"the mask is \[2, 1, 4, 5\], not \[2, 1, 4, 6\]"):
            inspect.unwrap(measure)(pictures, pictures, narrow)  # without the shapes that tests check


def test_it_is_the_effect_inside_the_mask_alone() -> None:
    """The shadow lies in the left half: none of it, all of it, half of it with something beside it that it is not."""
    source = torch.zeros(3, 3, 4, 6)
    truth, edited, mask = source.clone(), source.clone(), torch.zeros(3, 1, 4, 6, dtype=torch.bool)
    mask[..., :3] = True
    truth[..., :3], truth[..., 3:] = -0.2, 0.8
    edited[0, ..., 3:] = 0.8
    edited[1] = truth[1]
    edited[2, ..., :3] = -0.1
    edited[2, 0, :2, :3] += 0.3
    edited[2, 0, 2:, :3] -= 0.3
    assert side_effect(edited, source, truth, mask).tolist() == pytest.approx([0, 1, 0.5], abs=1e-6)  # single precision


def test_without_side_effects_there_is_no_number() -> None:
    pictures, mask = (noise(2, 3, 4, 6, seed=seed) for seed in range(3)), torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    assert side_effect(*pictures, mask).isnan().all()
    with pytest.raises(ShapeError, match="Resize it"):
        side_effect(*(noise(2, 3, 4, 6, seed=seed) for seed in range(3)), mask[..., :3])

"""Scores of edits of which effect and leakage are known, what changes outside a mask, and images that differ."""

import inspect
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from jaxtyping import Float64
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from latentedit import LatentEditError
from latentedit.core import ImageError, ShapeError
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.images import HIGHEST_DB, SAME, check_mask, differ, in_double, mean_square, psnr_db
from latentedit_bench.metrics.locality import outside_change, outside_psnr_db, outside_share, side_effect

Images = Float64[Tensor, "..."]


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> Images:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SOURCE, WANTED, _other = (noise(2, 3, 6, 5, seed=seed, scale=0.2) for seed in range(3))
TRUTH = SOURCE + WANTED


def _orthogonal(change: Images, wanted: Images) -> Images:
    """The part of a change that is orthogonal to the wanted one, as long as the wanted one."""
    flat, along = change.flatten(1), wanted.flatten(1)
    flat = flat - (flat * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True) * along
    return (flat * along.norm(dim=1, keepdim=True) / flat.norm(dim=1, keepdim=True)).reshape(change.shape)


ORTHOGONAL = _orthogonal(_other, WANTED)


@example(0.8, 0.6)
@example(1.5, 2.0)
@example(-0.5, 0.0)
@example(1.0, 0.0)
@example(0.0, 0.0)
@given(st.floats(-3, 3), st.floats(0, 3))
def test_effect_and_leakage_determine_all_scores_and_the_error(effect: float, leakage: float) -> None:
    """The identities that the module states."""
    edited = SOURCE + effect * WANTED + leakage * ORTHOGONAL
    found = all_scores(edited, SOURCE, TRUTH)
    size = math.hypot(effect, leakage)
    effectiveness = min(1.0, max(0.0, effect * (2 - effect) - leakage**2))
    # float64: each is a quotient of two sums of 90 products
    assert found["effect"].tolist() == pytest.approx([effect] * 2, abs=1e-13)
    assert found["leakage"].tolist() == pytest.approx([leakage] * 2, abs=1e-13)
    assert found["effectiveness"].tolist() == pytest.approx([effectiveness] * 2, abs=1e-12)
    error = (1 - effect) ** 2 + leakage**2
    assert found["error"].tolist() == pytest.approx([error] * 2, abs=1e-12)
    if size == 0:
        assert found["decomposability"].isnan().all()
        assert found["disentanglement"].tolist() == [0, 0]
    if size > 1e-3:  # below, the cosine has the rounding of source + change, 1e-16 / 1e-3, and more
        cosine = abs(effect) / size
        close = 1e-10 if size < 0.1 else 1e-12
        assert found["decomposability"].tolist() == pytest.approx([cosine] * 2, abs=close)
        harmonic = 2 * effectiveness * cosine / (effectiveness + cosine) if effectiveness else 0
        assert found["disentanglement"].tolist() == pytest.approx([harmonic] * 2, abs=2 * close)


def test_without_a_wanted_change_nothing_is_defined() -> None:
    assert all(values.isnan().all() for values in all_scores(TRUTH, SOURCE, SOURCE).values())


def test_changes_below_rounding_do_not_count() -> None:
    """Less than `SAME` at the average pixel; and rounding makes no score larger than one."""
    size = SAME / WANTED.flatten(1).square().mean(1).sqrt().max().item()
    smaller, larger = (all_scores(SOURCE + part * size * WANTED, SOURCE, TRUTH) for part in (0.5, 2))
    assert smaller["decomposability"].isnan().all()
    assert smaller["disentanglement"].tolist() == [0, 0]
    assert not larger["decomposability"].isnan().any()
    source, wanted = (noise(200, 3, 6, 5, seed=seed, scale=0.2) for seed in (5, 6))
    assert float(all_scores(source + 0.3 * wanted, source, source + wanted)["decomposability"].max()) <= 1


def test_decibels_are_those_of_torchmetrics_up_to_a_hundred() -> None:
    a, b = (noise(4, 3, 8, 9, seed=seed, scale=0.3).clamp(-1, 1) for seed in (0, 1))
    theirs = [peak_signal_noise_ratio(x, y, data_range=(-1.0, 1.0)) for x, y in zip(a, b, strict=True)]
    # theirs takes the logarithm of the base in single precision
    torch.testing.assert_close(psnr_db(mean_square(a, b)), torch.stack(theirs), rtol=1e-6, atol=0)
    found = psnr_db(torch.tensor([0.0, 1e-20, 4e-10, 0.04, math.nan], dtype=torch.float64))
    assert found.tolist() == pytest.approx([HIGHEST_DB, HIGHEST_DB, 100, 20, math.nan], rel=1e-12, nan_ok=True)


def test_rounding_is_ignored_and_one_step_of_eight_bits_is_a_difference() -> None:
    image = noise(1, 3, 128, 128, scale=0.3).clamp(-1, 1)
    assert not differ(image, image.float().double()).any()
    assert {one.dtype for one in in_double(image.float(), image)} == {torch.float64}
    step = image.clone()
    step[0, 1, 3, 4] += 2 / 255
    assert differ(image, step).all()
    assert (psnr_db(mean_square(image, step)) < HIGHEST_DB).all()
    # the promise for 1024 x 1024, without the image
    assert 2 / 255 / math.sqrt(3 * 1024**2) > SAME > 2**-24


SIZED = torch.zeros(2, 3, 4, 6)
BROKEN = torch.tensor([0.0, math.inf, math.nan]).reshape(3, 1, 1, 1).expand(3, 3, 4, 6)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        ((SIZED, torch.zeros(1, 3, 4, 6)), ShapeError),
        ((torch.zeros(2, 1, 4, 4),) * 2, ShapeError),
        ((torch.zeros(3, 4, 4),) * 2, ShapeError),
        ((torch.zeros(3, 3, 4, 6), BROKEN), ImageError),
    ],
)
def test_wrong_images_are_refused(images: tuple[Tensor, ...], error: type[LatentEditError]) -> None:
    with pytest.raises(error):
        in_double(*images)


def test_wrong_masks_are_refused() -> None:
    for shape in [(2, 1, 6, 4), (1, 1, 4, 6), (2, 3, 4, 6), (2, 4, 6)]:
        with pytest.raises(ShapeError):
            check_mask(torch.zeros(shape), SIZED)
    for measure, count in ((outside_share, 2), (outside_psnr_db, 2), (outside_change, 3), (side_effect, 3)):
        with pytest.raises(ShapeError):
            # without the shapes that jaxtyping checks in tests
            inspect.unwrap(measure)(*(SIZED,) * count, torch.zeros(2, 1, 4, 5, dtype=torch.bool))


LEFT_HALF = (torch.arange(6) < 3).expand(2, 1, 4, 6)


def test_the_change_outside_is_a_share_of_squares_or_in_units_of_the_wanted_change() -> None:
    """Nine parts inside and one outside; then all of it outside, or the wanted change alone."""
    truth, edited = SIZED.clone(), SIZED.clone()
    edited[0, :, :, :3], edited[0, :, :, 3:] = 0.3, 0.1
    edited[1, 0, 0, 5] = -0.5
    # single precision; a share does not depend on the size of a change
    assert outside_share(edited, SIZED, LEFT_HALF).tolist() == pytest.approx([0.1, 1], rel=1e-6)
    assert outside_share(0.01 * edited, SIZED, LEFT_HALF).tolist() == pytest.approx([0.1, 1], rel=1e-6)
    truth[:, :, :, :3] = 0.3
    edited[1] = truth[1]
    assert outside_change(edited, SIZED, truth, LEFT_HALF).tolist() == pytest.approx([1 / 9, 0], rel=1e-6)
    assert outside_change(edited, SIZED, SIZED, LEFT_HALF).isnan().all()


def test_unchanged_images_and_masks_of_everything_or_nothing() -> None:
    edited, source = noise(2, 3, 4, 6), noise(2, 3, 4, 6, seed=1)
    assert outside_share(source, source, LEFT_HALF).isnan().all()
    assert outside_psnr_db(source, source, LEFT_HALF).tolist() == [100, 100]
    assert outside_share(edited, source, LEFT_HALF | True).tolist() == [0, 0]
    assert outside_share(edited, source, LEFT_HALF & False).tolist() == [1, 1]
    assert outside_psnr_db(edited, source, LEFT_HALF | True).isnan().all()


def test_decibels_outside_are_those_of_torchmetrics_on_that_part() -> None:
    edited, source = (noise(2, 3, 4, 6, seed=seed, scale=0.2) for seed in (0, 1))
    found = outside_psnr_db(edited, source, LEFT_HALF)
    for row in range(2):
        part = edited[row, :, :, 3:].clamp(-1, 1), source[row, :, :, 3:].clamp(-1, 1)
        theirs = peak_signal_noise_ratio(*part, data_range=(-1.0, 1.0))
        assert found[row].item() == pytest.approx(theirs.item(), rel=1e-6)  # theirs has a logarithm in single precision
    assert torch.equal(outside_psnr_db(torch.where(LEFT_HALF, 5.0, edited), source, LEFT_HALF), found)


def test_a_side_effect_is_the_effect_inside_the_mask() -> None:
    """The shadow lies in the left half: none of it, all of it, half of it with an orthogonal change on top."""
    source = torch.zeros(3, 3, 4, 6)
    truth, edited, mask = source.clone(), source.clone(), LEFT_HALF[:1].expand(3, 1, 4, 6)
    truth[..., :3], truth[..., 3:] = -0.2, 0.8
    edited[0, ..., 3:] = 0.8
    edited[1] = truth[1]
    edited[2, ..., :3] = -0.1
    edited[2, 0, :2, :3] += 0.3
    edited[2, 0, 2:, :3] -= 0.3
    assert side_effect(edited, source, truth, mask).tolist() == pytest.approx([0, 1, 0.5], abs=1e-6)  # single precision
    assert side_effect(edited, source, truth, mask & False).isnan().all()

"""What changes outside a mask, and how much of a side effect inside it."""

import inspect

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from latentedit.core.errors import ShapeError
from latentedit_bench.metrics.locality import outside_change, outside_psnr_db, outside_share
from latentedit_bench.metrics.side_effects import side_effect
from tests.bench.metrics.constructed import noise


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

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from latentedit.core.errors import DeviceError, ImageError, ShapeError
from latentedit_bench.metrics.pictures import HIGHEST_DB, SAME, check_mask, differ, in_double, mean_square, psnr_db
from tests.bench.metrics.constructed import noise


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

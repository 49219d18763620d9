"""Numbers of PIE-Bench against torchmetrics, SciPy and the pixels outside the mask."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from latentedit.core import ShapeError
from latentedit_bench.metrics import pie_bench
from latentedit_bench.metrics.pie_bench import SCALE, Mode, inside_mask, last_square, scores

Measure = Callable[..., Tensor]


def measure(name: str) -> Measure:
    """One of the numbers, without the factor of the tables."""

    def found(*images: Tensor, mode: Mode) -> Tensor:
        return scores(*images, mode=mode)[f"background_{name}"] / SCALE[f"background_{name}"]

    return found


background_mse, background_psnr_db, background_ssim = MEASURES = [measure(name) for name in ("mse", "psnr_db", "ssim")]
MODES: tuple[Mode, ...] = ("legacy", "corrected")
HEIGHT = WIDTH = 15


def images(seed: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64) * 2 - 1


def masks(seed: int, count: int = 3) -> Tensor:
    """Rectangles of different sizes, away from the border."""
    mask = torch.zeros(count, 1, HEIGHT, WIDTH, dtype=torch.bool)
    for index in range(count):
        mask[index, 0, 3 : 6 + index + seed % 3, 4 : 8 + index] = True
    return mask


def evaluator_images(source: Tensor, mask: Tensor) -> Tensor:
    """The images that the evaluator compares: in [0, 1], times the background, with the border in the mask."""
    mask = mask.double().numpy()
    mask[:, :, [0, -1], :] = 1
    mask[:, :, :, [0, -1]] = 1
    return (source + 1) / 2 * torch.from_numpy(1 - mask)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (background_mse, lambda a, b: mean_squared_error(a.contiguous(), b.contiguous())),
        (background_psnr_db, lambda a, b: peak_signal_noise_ratio(a, b, data_range=1.0)),
        (background_ssim, lambda a, b: structural_similarity_index_measure(a, b, data_range=1.0)),
    ],
)
def test_legacy_is_torchmetrics_of_the_blackened_images(ours: Any, theirs: Callable[..., Tensor]) -> None:
    """Image by image, as the evaluator does; both in float64, so they differ by rounding alone."""
    edited, source, mask = images(0), images(1), masks(0)
    a, b = evaluator_images(edited, mask), evaluator_images(source, mask)
    expected = torch.stack([theirs(a[[i]], b[[i]]) for i in range(3)])
    assert torch.allclose(ours(edited, source, mask, mode="legacy"), expected.double(), rtol=1e-6)
    assert not torch.allclose(ours(edited, source, mask, mode="corrected"), expected.double(), rtol=1e-3)


@given(seed=st.integers(0, 100))
def test_corrected_error_is_of_the_background_alone(seed: int) -> None:
    edited, source = images(seed), images(seed + 1)
    mask = torch.from_numpy(np.random.default_rng(seed).random((3, 1, HEIGHT, WIDTH)) < 0.6)
    found = background_mse(edited, source, mask, mode="corrected")
    for index in range(3):
        outside = ~mask[index, 0].numpy()
        change = ((edited - source)[index].numpy() / 2)[:, outside]
        assert math.isclose(found[index], (change**2).mean(), rel_tol=1e-12)
    decibels = background_psnr_db(edited, source, mask, mode="corrected")
    assert torch.allclose(decibels, -10 * found.log10(), rtol=1e-12)


def test_corrected_similarity_is_of_windows_about_the_background() -> None:
    """Against scipy's Gaussian filter, channel by channel; the window is cut at 3.5 deviations in both."""
    edited, source, mask = images(4), images(5), masks(1)
    found = background_ssim(edited, source, mask, mode="corrected")
    for index in range(3):
        a, b = ((image[index].numpy() + 1) / 2 for image in (edited, source))
        there = mask[index, 0].numpy()
        a = np.where(there, b, a)
        windows = [similarity(x, y) for x, y in zip(a, b, strict=True)]
        assert math.isclose(found[index], np.mean([values[~there].mean() for values in windows]), rel_tol=1e-9)


def similarity(a: Any, b: Any) -> Any:
    def mean(values: Any) -> Any:
        return gaussian_filter(values, 1.5, truncate=3.5, mode="mirror")

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ours", MEASURES)
def test_only_the_background_counts(ours: Any, mode: Mode) -> None:
    edited, source, mask = images(0), images(1), masks(0)
    other = torch.where(mask, images(2), edited)
    assert torch.equal(ours(edited, source, mask, mode=mode), ours(other, source, mask, mode=mode))
    outside = torch.where(mask, edited, images(2))
    assert not torch.allclose(ours(edited, source, mask, mode=mode), ours(outside, source, mask, mode=mode))
    untouched = ours(torch.where(mask, edited, source), source, mask, mode=mode).tolist()
    assert untouched == pytest.approx([{background_mse: 0, background_psnr_db: 100}.get(ours, 1)] * 3, rel=1e-12)


def test_a_mask_of_everything_is_no_number() -> None:
    """All but the border is enough in legacy mode."""
    edited, source, mask = images(0), images(1), masks(0)
    mask[1, :, 1:-1, 1:-1] = True
    for ours in MEASURES:
        assert ours(edited, source, mask, mode="legacy").isnan().tolist() == [False, True, False]
        assert ours(edited, source, mask, mode="corrected").isnan().tolist() == [False] * 3
        assert ours(edited, source, torch.ones_like(mask), mode="corrected").isnan().all()


def test_the_border_is_inside_in_legacy_mode_only() -> None:
    mask = masks(0)
    assert inside_mask(mask, mode="corrected") is mask
    bordered = inside_mask(mask, mode="legacy")
    assert torch.equal(bordered[..., 1:-1, 1:-1], mask[..., 1:-1, 1:-1])
    assert bordered.sum() == mask.sum() + 3 * 2 * (HEIGHT + WIDTH - 2)
    assert not mask[..., 0, :].any()  # the argument is left as it was


@pytest.mark.slow
def test_rows_of_images_lose_all_but_the_last_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are scored, in the units of the tables."""
    row = torch.arange(2 * 520 * 1100, dtype=torch.float32).reshape(2, 1, 520, 1100).expand(2, 3, 520, 1100)
    assert torch.equal(last_square(row), row[:, :, 8:, 588:])
    edited, source, mask = images(0), images(1), masks(0)
    assert last_square(edited) is edited
    with pytest.raises(ShapeError):
        last_square(torch.zeros(1, 3, 14, 17))
    with pytest.raises(ShapeError):
        scores(torch.zeros(1, 3, 5, 5), torch.zeros(1, 3, 5, 5), mask[:1, :, :5, :5], mode="legacy")
    monkeypatch.setattr(pie_bench, "LEGACY_SIDE", HEIGHT)
    row = torch.cat([torch.zeros_like(edited), edited], dim=3)
    cut, whole = (scores(one, source, mask, mode="legacy") for one in (row, edited))
    assert {name: values.tolist() for name, values in cut.items()} == {n: v.tolist() for n, v in whole.items()}
    assert SCALE == {"background_psnr_db": 1, "background_mse": 1e4, "background_ssim": 100}

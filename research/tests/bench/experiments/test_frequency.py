"""The mean spatial frequency of images whose spectrum is known."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from latentedit_bench.metrics.vectors import centroid, white_centroid


def wave(height: int, width: int, ky: int, kx: int, phase: float = 0.4) -> torch.Tensor:
    rows = torch.arange(height, dtype=torch.float64).unsqueeze(1) * ky / height
    columns = torch.arange(width, dtype=torch.float64).unsqueeze(0) * kx / width
    return torch.cos(2 * math.pi * (rows + columns) + phase)[None, None]


@example((8, 8), 4, 4)  # a chessboard is Nyquist in both directions
@example((7, 6), 0, 0)
@given(st.sampled_from([(16, 16), (15, 15), (16, 24), (11, 8)]), st.integers(-8, 8), st.integers(-8, 8))
def test_a_plane_wave_has_its_own_frequency(sides: tuple[int, int], ky: int, kx: int) -> None:
    """A wave of more cycles than half the side is one of fewer, so ky and kx are taken within Nyquist."""
    height, width = sides
    ky, kx = max(min(ky, height // 2), -(height // 2)), max(min(kx, width // 2), -(width // 2))
    frequency = 2 * math.hypot(ky / height, kx / width)
    assert float(centroid(wave(*sides, ky, kx))[0]) == pytest.approx(frequency, abs=1e-12)


def test_channels_add_and_vectors_stay_apart() -> None:
    low, high = wave(16, 16, 1, 0), wave(16, 16, 0, 6)
    both, each = torch.cat([low, 2 * high], dim=1), torch.cat([low, 2 * high])
    # |2 high|^2 is four times |low|^2, and frequencies are 1/8 and 6/8 of Nyquist.
    assert float(centroid(both)[0]) == pytest.approx((1 / 8 + 4 * 6 / 8) / 5)
    assert centroid(each).tolist() == pytest.approx([1 / 8, 6 / 8])


def test_white_noise_has_the_white_centroid() -> None:
    """Half of the coefficients are independent: a centroid scatters by sd(frequency) / sqrt(c h w / 2) = 0.0037."""
    # 2 x 2 has frequencies 0, 1, 1, sqrt(2); a large image the mean distance from the middle of a square of side 2
    assert white_centroid(2, 2) == pytest.approx((2 + math.sqrt(2)) / 4)
    assert white_centroid(512, 512) == pytest.approx((math.sqrt(2) + math.log(1 + math.sqrt(2))) / 3, abs=1e-4)
    noise = torch.randn(4, 16, 32, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert centroid(noise).tolist() == pytest.approx([white_centroid(32, 24)] * 4, abs=4 * 0.0037)
    assert abs(float(centroid(noise).mean()) - white_centroid(32, 24)) < 4 * 0.0037 / 2
    # An impulse has exactly a flat spectrum.
    impulse = torch.zeros(1, 1, 9, 6)
    impulse[0, 0, 2, 3] = 1
    assert float(centroid(impulse)[0]) == pytest.approx(white_centroid(9, 6), abs=1e-14)

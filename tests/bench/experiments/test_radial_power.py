import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit_bench.experiments.radial_power import RadialPower, centroid, radial_power, white_centroid


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(height: int, width: int, ky: int, kx: int, phase: float = 0.4) -> torch.Tensor:
    rows = torch.arange(height, dtype=torch.float64).unsqueeze(1) * ky / height
    columns = torch.arange(width, dtype=torch.float64).unsqueeze(0) * kx / width
    return torch.cos(2 * math.pi * (rows + columns) + phase)[None, None]


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 3), st.integers(0, 100))
def test_power_adds_up_to_the_squared_length(height: int, width: int, channels: int, seed: int) -> None:
    v = gaussian(2, channels, height, width, seed=seed)
    power = radial_power(v)
    assert power.power.shape == power.moment.shape == (2, min(height, width) // 2 + 1)
    assert torch.allclose(power.power.sum(1), v.flatten(1).square().sum(1), rtol=1e-13)
    assert power.frequency.tolist() == pytest.approx([2 * j / min(height, width) for j in range(power.power.shape[1])])


@example((8, 8), 4, 4)  # a chessboard is Nyquist in both directions
@example((7, 6), 0, 0)
@given(st.sampled_from([(16, 16), (15, 15), (16, 24), (11, 8)]), st.integers(-8, 8), st.integers(-8, 8))
def test_a_plane_wave_lands_in_its_bin(sides: tuple[int, int], ky: int, kx: int) -> None:
    """A wave of more cycles than half the side is one of fewer, so ky and kx are taken within Nyquist."""
    height, width = sides
    ky, kx = max(min(ky, height // 2), -(height // 2)), max(min(kx, width // 2), -(width // 2))
    frequency = 2 * math.hypot(ky / height, kx / width)
    bins = min(sides) // 2
    power = radial_power(wave(*sides, ky, kx))
    held = min(round(frequency * min(sides) / 2), bins)
    assert float(power.power[0, held] / power.power.sum()) == pytest.approx(1, abs=1e-12)
    assert float(centroid(power)[0]) == pytest.approx(frequency, abs=1e-12)


def test_channels_add_and_vectors_stay_apart() -> None:
    low, high = wave(16, 16, 1, 0), wave(16, 16, 0, 6)
    both = radial_power(torch.cat([low, 2 * high], dim=1))
    each = radial_power(torch.cat([low, 2 * high]))
    assert torch.allclose(both.power[0], each.power.sum(0))
    # |2 high|^2 is four times |low|^2, and frequencies are 1/8 and 6/8 of Nyquist.
    assert float(centroid(both)[0]) == pytest.approx((1 / 8 + 4 * 6 / 8) / 5)
    assert centroid(each).tolist() == pytest.approx([1 / 8, 6 / 8])


def test_the_white_centroid_is_that_of_an_impulse_of_small_and_of_large_pictures() -> None:
    """2 x 2: frequencies 0, 1, 1, sqrt(2). Large: the mean distance from the middle of a square of side 2."""
    impulse = torch.zeros(1, 1, 9, 6)
    impulse[0, 0, 2, 3] = 1
    assert float(centroid(radial_power(impulse))[0]) == pytest.approx(white_centroid(9, 6), abs=1e-14)
    assert white_centroid(2, 2) == pytest.approx((2 + math.sqrt(2)) / 4)
    assert white_centroid(512, 512) == pytest.approx((math.sqrt(2) + math.log(1 + math.sqrt(2))) / 3, abs=1e-4)


def test_what_has_no_spectrum_is_refused() -> None:
    for bad in (torch.zeros(0, 1, 4, 4), torch.zeros(1, 1, 1, 4)):
        with pytest.raises(ConfigError, match="sides of 2"):
            radial_power(bad)
    with pytest.raises(ConfigError, match="not finite"):
        radial_power(torch.full((1, 1, 4, 4), math.nan))
    zero: RadialPower = radial_power(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ConfigError, match="is zero"):
        centroid(zero)
    with pytest.raises(ConfigError, match="sides of 2"):
        white_centroid(1, 4)

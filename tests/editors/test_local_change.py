"""What reaches the picture: all of a change where it is strong, little of what is faint, and no seam between."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor
from torch.nn import functional

from latentedit.core.rng import stream
from latentedit.editors.local_change import FLOOR, local_change

SHAPES = st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 50)


def random_change(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers in one half of each picture, and a hundredth of such in the other."""
    change = torch.randn(shape, generator=stream(seed, "tests"), dtype=torch.float32).to(torch.float64)
    change[..., : shape[-1] // 2] /= 100
    return change


def bump(height: int, width: int, reach: float) -> Tensor:
    """A smooth change, 1 in the middle, in all channels alike."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.exp(-(x.square() + y.square()) / (2 * reach**2)).to(torch.float64).expand(1, 3, -1, -1)


def steepest(values: Tensor) -> float:
    """The greatest difference of two neighbours."""
    return max(float(values.diff(dim=2).abs().max()), float(values.diff(dim=3).abs().max()))


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (128, 128), (200, 96), (512, 384)])
@pytest.mark.parametrize("values", [(0.3, -0.2, 0.1), (1e-6, 0.0, 0.0)])
def test_a_uniform_change_stays_whole(size: tuple[int, int], values: tuple[float, ...]) -> None:
    change = torch.tensor(values)[None, :, None, None].expand(2, 3, *size)
    assert torch.allclose(local_change(change), change, rtol=1e-6, atol=0)


@given(SHAPES, SEEDS, st.sampled_from([-1e-6, -1.0, 0.25, 3.0, 1e6]))
def test_it_does_not_depend_on_the_strength(shape: tuple[int, ...], seed: int, factor: float) -> None:
    change = random_change(shape, seed)
    assert torch.allclose(local_change(factor * change), factor * local_change(change), rtol=1e-12, atol=0)


@given(SHAPES, SEEDS, st.sampled_from([0.001, FLOOR, 0.5]))
def test_it_is_the_change_times_its_share_by_an_independent_average(
    shape: tuple[int, ...], seed: int, floor: float
) -> None:
    """Below 150 pixels the average is over 3 x 3 of them."""
    change = random_change(shape, seed).numpy()
    energy = uniform_filter(np.square(change).sum(1, keepdims=True), (0, 0, 3, 3), mode="nearest")
    strongest = energy.max((1, 2, 3), keepdims=True)
    expected = change * (1 + floor) * energy / (energy + floor * strongest)
    assert np.allclose(local_change(torch.from_numpy(change), floor=floor), expected, rtol=1e-9, atol=1e-12)


@given(SHAPES, SEEDS)
def test_no_pixel_grows_and_none_turns(shape: tuple[int, ...], seed: int) -> None:
    change = random_change(shape, seed)
    kept = local_change(change)
    assert (kept.abs() <= change.abs() * (1 + 1e-12)).all()
    assert (kept * change >= 0).all()


@pytest.mark.parametrize("ratio", [1e-4, 0.01, 0.03**0.5, 0.5])
def test_what_is_faint_beside_a_strong_place_is_reduced(ratio: float) -> None:
    """With q = ratio^2 of the energy of the strong place, (1 + floor) q / (q + floor) is kept."""
    change = torch.full((1, 3, 60, 60), ratio, dtype=torch.float64)
    change[..., :30] = -1.0
    kept = local_change(change)
    share = (1 + FLOOR) * ratio**2 / (ratio**2 + FLOOR)
    assert torch.allclose(kept[..., 31:], torch.tensor(ratio * share, dtype=torch.float64), rtol=1e-9)
    assert torch.allclose(kept[..., :29], change[..., :29], rtol=1e-12)


def test_a_faint_remainder_leaves_the_picture_bit_for_bit() -> None:
    """Two levels of 255 all over the picture, beside a change of a hundred: less than half a level is left of them."""
    change = torch.full((1, 3, 128, 128), 2 / 127.5)
    change[..., 40:60, 40:60] = 100 / 127.5
    kept = local_change(change) * 127.5
    assert float(kept[..., :38, :].abs().max()) < 0.5
    assert float(kept[..., 41:59, 41:59].min()) > 99.99


@pytest.mark.parametrize("size", [(128, 128), (512, 512), (160, 96)])
@pytest.mark.parametrize("reach", [0.2, 0.5])
@pytest.mark.parametrize("floor", [FLOOR, 0.1, 0.3])
def test_a_smooth_change_stays_smooth(size: tuple[int, int], reach: float, floor: float) -> None:
    """With q = p / (p + floor max p), the slope grows by (1 + floor) (q + 2 q (1 - q)), at most 9/8 (1 + floor).

    A change that is cut off where its energy is the floor has a step there instead: the last line.
    """
    change = bump(*size, reach)
    before, after = steepest(change), steepest(local_change(change, floor=floor))
    assert after <= (1 + floor) * 9 / 8 * before * 1.01
    assert steepest(change * (change.square() > floor)) > 2 * before


@given(SHAPES, SEEDS)
def test_pictures_are_looked_at_one_by_one(shape: tuple[int, ...], seed: int) -> None:
    change = random_change(shape, seed) * torch.logspace(0, 4, shape[0])[:, None, None, None]
    together = local_change(change)
    for index in range(shape[0]):
        assert torch.allclose(together[index : index + 1], local_change(change[index : index + 1]), rtol=1e-12)


def test_no_change_stays_none() -> None:
    change = torch.zeros(2, 3, 40, 30)
    change[1, 0, 3, 3] = 0.5
    kept = local_change(change)
    assert torch.equal(kept[0], torch.zeros(3, 40, 30))
    assert torch.equal(kept[1] != 0, change[1] != 0)
    assert kept.dtype == change.dtype


@pytest.mark.slow
@pytest.mark.parametrize("times", [3, 5])
def test_the_average_grows_with_the_picture(times: int) -> None:
    """Each pixel as a block of pixels: the average around the middle of a block is that around the pixel.

    The border, which stands in for what lies beyond, is left as it was: its blocks reach further than its pixels.
    """
    change = functional.pad(random_change((2, 3, 124, 146), 0), (2, 2, 2, 2))
    grown = change.repeat_interleave(times, 2).repeat_interleave(times, 3)
    middles = local_change(grown)[..., times // 2 :: times, times // 2 :: times]
    assert torch.allclose(middles, local_change(change), rtol=1e-9)
    assert not torch.allclose(local_change(grown)[..., 0::times, 0::times], local_change(change), rtol=1e-3)

"""Shares of change: `local_change` keeps a change where it is strong and fades it where it is faint."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor
from torch.nn import functional

from latentedit.identification.locality import (
    FLOOR,
    along,
    change_share,
    composed_change,
    dropped_residual,
    local_change,
)
from latentedit.numerics.rng import stream

SHAPES = st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 50)


def random_change(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers, divided by 100 in the left half of each image."""
    change = torch.randn(shape, generator=stream(seed, "tests"), dtype=torch.float32).to(torch.float64)
    change[..., : shape[-1] // 2] /= 100
    return change


@given(SHAPES, SEEDS, st.sampled_from([0.001, FLOOR, 0.5]))
def test_it_matches_an_independent_average(shape: tuple[int, ...], seed: int, floor: float) -> None:
    """Images below 150 pixels are averaged over 3 x 3 pixels."""
    change = random_change(shape, seed).numpy()
    energy = uniform_filter(np.square(change).sum(1, keepdims=True), (0, 0, 3, 3), mode="nearest")
    strongest = energy.max((1, 2, 3), keepdims=True).clip(max=1)
    share, own = energy / (energy + floor * strongest), np.square(change).sum(1, keepdims=True)
    mask = np.minimum((1 + floor) * share, 1)
    lost = (own * (1 - mask)).sum((1, 2, 3)) / own.sum((1, 2, 3))
    whole = ((share > 0.5).mean((1, 2, 3)) > 0.3) & (lost > 0.05)
    expected = np.where(whole[:, None, None, None], change, change * mask)
    kept = local_change(torch.from_numpy(change), floor=floor).numpy()
    assert np.allclose(kept, expected, rtol=1e-9, atol=1e-12)
    assert (np.abs(kept) <= np.abs(change) * (1 + 1e-12)).all(), "no pixel changes more"
    assert not local_change(torch.zeros(1, 3, 4, 4)).any()


def test_a_change_of_most_of_the_image_stays_whole_unless_the_mask_takes_little() -> None:
    """Strong in some columns, weaker in the others, which the mask would take; each image by itself."""
    columns = torch.arange(40)
    wide = torch.where(columns < 16, 1.0, 0.45)  # strong in .4 of the image; the mask takes .11 of the energy
    small = torch.where(columns < 8, 1.0, 0.45)
    faint = torch.where(columns < 16, 1.0, 0.1)
    change = torch.stack([wide, small, faint])[:, None, None].expand(3, 3, 40, 40) / 3**0.5  # energy 1 where strong
    kept = local_change(change, floor=0.3)
    assert torch.equal(kept[0], change[0])
    for image, weak in ((1, 0.45), (2, 0.1)):
        assert torch.allclose(kept[image, ..., 30:], change[image, ..., 30:] * 1.3 / (1 + 0.3 / weak**2))


@pytest.mark.parametrize("times", [3, 5])
def test_the_averaging_window_scales_with_the_image(times: int) -> None:
    """If each pixel is repeated as a block, the average around the middle of a block is that around the pixel.

    Images are padded with zeros, since at the border the windows of blocks and pixels differ.
    """
    change = functional.pad(random_change((2, 3, 124, 146), 0), (2, 2, 2, 2))
    grown = change.repeat_interleave(times, 2).repeat_interleave(times, 3)
    middles = local_change(grown)[..., times // 2 :: times, times // 2 :: times]
    assert torch.allclose(middles, local_change(change), rtol=1e-9)
    assert not torch.allclose(local_change(grown)[..., 0::times, 0::times], local_change(change), rtol=1e-3)


def test_a_weak_change_is_not_dimmed_next_to_a_strong_one() -> None:
    strong, weak = torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 20)
    strong[..., 2:8, 2:8], weak[..., 12:18, 12:18] = 0.5, 0.05
    both = strong + weak
    middle = (..., slice(13, 17), slice(13, 17))
    assert local_change(both)[middle].max() < 0.025
    assert torch.allclose(local_change(both, parts=(strong, weak))[middle], weak[middle])
    assert torch.equal(local_change(both, parts=(both,)), local_change(both))


@pytest.mark.parametrize("local", [True, False])
def test_what_the_codec_lost_is_dropped_where_a_strong_change_draws_other_lines(local: bool) -> None:
    """Where the old lines go, not where the same lines have another color; not where the change is faint or nothing."""
    decoded, lost = random_change((1, 3, 60, 60), 2).clamp(-1, 1), 0.1 * random_change((1, 3, 60, 60), 3)
    decoded[..., :30] *= 100
    change = torch.zeros_like(decoded)
    change[..., 5:25, 5:25] = 0.9 - decoded[..., 5:25, 5:25]  # a new part
    change[..., 5:25, 35:55] = torch.tensor([0.9, -0.9, 0.0])[:, None, None]  # another color
    decoded[..., 35:55, 5:25] = 0
    change[..., 35:55, 5:25] = 0.03 * lost[..., 5:25, 5:25].sign()  # other lines, but faint
    made = local_change(change) if local else change
    dropped = made - composed_change(change, decoded + lost, decoded, 1.0, local=local)
    new, recolored, faint = ((..., slice(a, a + 12), slice(b, b + 12)) for a, b in ((9, 9), (9, 39), (39, 9)))
    assert torch.allclose(dropped[new], lost[new], rtol=0.25)
    assert (dropped[recolored].abs() <= 0.05 * lost[recolored].abs()).all()
    assert (dropped[faint].abs() <= 0.05 * lost[faint].abs()).all()
    assert not dropped[..., 57:, :].any()
    assert torch.equal(composed_change(change, decoded + lost, decoded, 0.0, local=local), made)


def test_strengths_of_either_sign_drop_their_share_and_invisible_changes_drop_none() -> None:
    assert [dropped_residual(strength, 0.5) for strength in (0, 0.5, -0.5, 1, 2)] == [0, 0.25, 0.25, 0.5, 0.5]
    decoded = random_change((1, 3, 20, 20), 4)
    made = composed_change(-1e-6 * decoded, decoded + 1, decoded, 1.0, local=False)
    assert made.abs().max() < 1e-3


LATENTS = st.sampled_from([(2, 5), (3, 2, 3), (2, 4, 5, 6), (1, 1, 1, 1)])
FLOORS = st.floats(1e-4, 1.0)


def displacement(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers, every third of them zero."""
    z = torch.randn(shape, generator=stream(seed, "tests"), dtype=torch.float32).to(torch.float64)
    z.view(-1)[::3] = 0
    return z


@given(LATENTS, SEEDS, FLOORS, st.sampled_from([-1e-30, 1e-3, -7.0, 1e30]))
def test_shares_are_per_image_and_ignore_size_and_sign(
    shape: tuple[int, ...], seed: int, floor: float, factor: float
) -> None:
    """Each image has another scale, so that energies compared across the batch would fail."""
    moved = displacement(shape, seed) * torch.logspace(0, 4, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    together = change_share(factor * moved, floor)
    for index in range(shape[0]):
        assert torch.allclose(together[index : index + 1], change_share(moved[index : index + 1], floor), rtol=1e-12)


@pytest.mark.parametrize("floor", [0.01, 0.3])
def test_the_share_of_a_vector_is_elementwise_and_half_at_the_floor(floor: float) -> None:
    moved = torch.tensor([[0.0, -2.0, 2.0 * floor**0.5, 1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.0, 1 / (1 + floor), 0.5, 0.25 / (0.25 + floor)]], dtype=torch.float64)
    assert torch.allclose(change_share(moved, floor), expected, rtol=1e-14)


@given(st.sampled_from([1, 3, 5, 9]), st.integers(1, 12), st.integers(1, 12), SEEDS, FLOORS)
def test_the_averaging_window_has_the_requested_width(
    width: int, rows: int, columns: int, seed: int, floor: float
) -> None:
    moved = displacement((2, 4, rows, columns), seed)
    size = (0, 0, width, width)
    energy = torch.from_numpy(uniform_filter(moved.square().sum(1, keepdim=True).numpy(), size, mode="nearest"))
    expected = energy / (energy + floor * energy.amax((1, 2, 3), keepdim=True)).clamp_min(1e-300)
    assert torch.allclose(change_share(moved, floor, width=width), expected, rtol=1e-9, atol=1e-12)
    assert width != 3 or torch.equal(change_share(moved, floor), change_share(moved, floor, width=3))


@given(SEEDS, st.sampled_from([1e-20, 1.0, -3.0, 1e20]))
def test_along_is_an_orthogonal_projection_at_each_position(seed: int, size: float) -> None:
    """The rest is orthogonal, projecting twice changes nothing, and the displacement's size and sign do not matter."""
    part, moved = displacement((2, 4, 3, 5), seed)[None], displacement((2, 4, 3, 5), seed + 1)
    moved[0] = 0
    found = along(part, moved)
    assert torch.allclose(((part - found) * moved).sum(-3), torch.zeros(2, 3, 5, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(along(found, moved), found, rtol=1e-12, atol=1e-14)
    assert torch.allclose(along(part, size * moved), found, rtol=1e-12, atol=1e-14)
    assert not found[:, 0].any()
    vector, moved_vector = torch.tensor([[[3.0, -4.0, 5.0]]]), torch.tensor([[0.0, 2.0, -1e-9]])
    assert torch.allclose(along(vector, moved_vector), torch.tensor([[[0.0, -4.0, 5.0]]])), "a vector is elementwise"

"""Shares of change against SciPy, and the part of a latent along a displacement."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor

from latentedit.core.rng import stream
from latentedit.directions.identification import along, change_share

SHAPES = st.sampled_from([(2, 5), (3, 2, 3), (2, 4, 5, 6), (1, 1, 1, 1)])
FLOORS = st.floats(1e-4, 1.0)


def displacement(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers, every third of them zero."""
    z = torch.randn(shape, generator=stream(seed, "tests"), dtype=torch.float32).to(torch.float64)
    z.view(-1)[::3] = 0
    return z


@given(SHAPES, st.integers(0, 50), FLOORS, st.sampled_from([-1e-30, 1e-3, -7.0, 1e30]))
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


@given(st.sampled_from([1, 3, 5, 9]), st.integers(1, 12), st.integers(1, 12), st.integers(0, 50), FLOORS)
def test_the_averaging_window_has_the_requested_width(
    width: int, rows: int, columns: int, seed: int, floor: float
) -> None:
    moved = displacement((2, 4, rows, columns), seed)
    size = (0, 0, width, width)
    energy = torch.from_numpy(uniform_filter(moved.square().sum(1, keepdim=True).numpy(), size, mode="nearest"))
    expected = energy / (energy + floor * energy.amax((1, 2, 3), keepdim=True)).clamp_min(1e-300)
    assert torch.allclose(change_share(moved, floor, width=width), expected, rtol=1e-9, atol=1e-12)
    assert width != 3 or torch.equal(change_share(moved, floor), change_share(moved, floor, width=3))


@given(st.integers(0, 50), st.sampled_from([1e-20, 1.0, -3.0, 1e20]))
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

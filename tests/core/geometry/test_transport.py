import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.transport import transported
from tests.core.geometry.drawn import gaussian

RANK, FEATURE, LATENT = 3, (2, 4), (5,)


def basis(seed: int, rank: int = RANK) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, s and v of a random J from 5 numbers to 2 x 4, and J itself."""
    jacobian = gaussian(8, 5, seed=seed)
    u, s, vh = torch.linalg.svd(jacobian, full_matrices=False)
    return u.T[:rank].reshape(rank, *FEATURE), s[:rank], vh[:rank], jacobian


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@given(seed=st.integers(0, 1000), inverse=st.booleans(), damping=st.floats(0, 2))
def test_to_where_it_is_a_basis_stays_as_it_is(seed: int, inverse: bool, damping: float) -> None:
    u, s, v, _ = basis(seed)
    found = transported(u, u, s, v, inverse=inverse, damping=damping)
    assert torch.allclose(found.v, v, atol=1e-12)
    assert torch.allclose(found.u, u, atol=1e-12)
    assert torch.allclose(found.captured, torch.ones(RANK, dtype=torch.float64), atol=1e-12)


@given(seed=st.integers(0, 1000), length=st.floats(1e-3, 1e3))
def test_with_the_inverse_the_projection_is_what_the_latent_makes(seed: int, length: float) -> None:
    """On J itself, restricted to its first singular vectors: ``J v`` is parallel to ``U U^T u``, and never longer."""
    u, s, v, jacobian = basis(seed)
    given_u = length * gaussian(2, *FEATURE, seed=seed + 1)
    found = transported(given_u, u, s, v)
    columns = u.flatten(1).T
    for index in range(2):
        projected = columns @ columns.T @ given_u[index].flatten()
        made = jacobian @ found.v[index]
        assert cosine(made, projected) == pytest.approx(1, abs=1e-10)
        assert cosine(found.u[index], projected) == pytest.approx(1, abs=1e-10)
        share = float(projected.square().sum() / given_u[index].square().sum())
        assert float(found.captured[index]) == pytest.approx(share, rel=1e-9)
        assert share <= 1
        assert math.cos(float(found.angle[index])) ** 2 == pytest.approx(share, rel=1e-9)
    assert found.v.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert found.u.flatten(1).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_without_the_inverse_large_singular_values_win() -> None:
    """A change that is half and half of two directions comes back half and half, and makes mostly the first."""
    u, s, v = torch.eye(2, 3, dtype=torch.float64), torch.tensor([9.0, 1.0]), torch.eye(2, dtype=torch.float64)
    both = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    plain = transported(both, u, s, v, inverse=False)
    assert plain.v[0].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    pulled = transported(both, u, s, v)
    assert float(pulled.v[0, 1] / pulled.v[0, 0]) == pytest.approx(9)


@given(damping=st.floats(0.01, 1), largest=st.floats(1e-3, 1e3))
def test_damping_bounds_what_the_inverse_makes_of_small_singular_values(damping: float, largest: float) -> None:
    """By 1 / (2 d), reached at s = d s_1."""
    s = largest * torch.tensor([1.0, damping, 1e-6], dtype=torch.float64)
    eye, u = torch.eye(3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    v = transported(u, eye, s, eye, damping=damping).v[0]
    weights = v / v[0] / (1 + damping**2)  # undo the damping of the first itself
    assert float(weights[1]) == pytest.approx(1 / (2 * damping))
    assert float(weights[2]) <= 1e-6 / damping**2


def test_a_smaller_rank_is_a_smaller_basis() -> None:
    u, s, v, _ = basis(3)
    given_u = gaussian(1, *FEATURE, seed=4)
    cut, small = transported(given_u, u, s, v, rank=2), transported(given_u, u[:2], s[:2], v[:2])
    assert torch.equal(cut.v, small.v)
    half = transported(u.bfloat16(), u.bfloat16(), s.bfloat16(), v.bfloat16())
    assert half.v.dtype == half.u.dtype == half.captured.dtype == torch.float64
    assert float(cut.captured[0]) < float(transported(given_u, u, s, v).captured[0])


def test_vectors_of_no_singular_value_count_for_nothing() -> None:
    """Their u is arbitrary, so neither what is captured nor the pull-back may depend on it."""
    u, s, v, _ = basis(5)
    s = torch.cat([s[:2], s.new_zeros(1)])
    given_u = gaussian(1, *FEATURE, seed=6)
    found, without = transported(given_u, u, s, v), transported(given_u, u[:2], s[:2], v[:2])
    assert torch.equal(found.v, without.v)
    assert torch.equal(found.captured, without.captured)
    with pytest.raises(ConfigError, match="singular value above 0"):
        transported(given_u, u, torch.zeros(3), v)


def test_bad_requests_are_refused() -> None:
    u, s, v, jacobian = basis(8)
    outside = torch.linalg.qr(jacobian, mode="complete")[0][:, -1].reshape(1, *FEATURE)
    with pytest.raises(ConfigError, match="nothing of change number 1"):
        transported(torch.cat([u[:1], outside]), u, s, v)
    with pytest.raises(ConfigError, match="number 0 of the feature is 0"):
        transported(torch.zeros(1, *FEATURE, dtype=torch.float64), u, s, v)
    for rank in (0, 4):
        with pytest.raises(ConfigError, match="rank must lie from 1 to 3"):
            transported(u, u, s, v, rank=rank)
    for damping in (-1.0, math.nan):
        with pytest.raises(ConfigError, match="damping"):
            transported(u, u, s, v, damping=damping)
    with pytest.raises((ShapeError, TypeError)):
        transported(u[:, :1], u, s, v)
    with pytest.raises((ShapeError, TypeError)):
        transported(u, u, s[:2], v)

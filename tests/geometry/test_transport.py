"""Transport of directions to other images, and the projection and pullback behind it."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.pullback import LocalBasis, basis_point, local_basis
from latentedit.geometry.transport import Carried, feature_of, pulled_back, transport_direction, transported
from tests.geometry.examples import FEATURE, RANK, random_normal, random_svd
from tests.identification.networks import NetworkBackbone, network_image

LEVEL, STEPS = 0.6, 4


@pytest.fixture(scope="module")
def model() -> NetworkBackbone:
    return NetworkBackbone()


def basis_of(latent: JointLatent, *, rank: int = 6, level: float = LEVEL, site: str = "mid") -> LocalBasis:
    return local_basis(latent, site=site, rank=rank, level=level, steps=STEPS)


@pytest.fixture(scope="module")
def source_basis(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_image(model, 1))


@pytest.fixture(scope="module")
def target_basis(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_image(model, 2))


def displacement(carried: Carried) -> Tensor:
    """The displacement of the latent at the level."""
    return (carried.direction.z * (1 - carried.direction.level)).flatten()


def jacobian(basis: LocalBasis) -> Tensor:
    """The dense Jacobian of the feature at the basis, by autograd."""
    model, text, level = basis.latent.backbone, basis.condition, torch.tensor([basis.level], dtype=torch.float64)
    top = basis.trace.top.clone()
    result: Any = torch.autograd.functional.jacobian(lambda z: model.features(z, level, text, basis.site), top)
    return result.reshape(basis.u[0].numel(), -1)


def test_transport_to_the_same_image_and_of_the_negative(source_basis: LocalBasis, target_basis: LocalBasis) -> None:
    for index in range(3):
        direction = source_basis.direction(index, step=2.5)
        carried = transport_direction(direction, source_basis, full=False)
        assert carried.captured == pytest.approx(1, abs=1e-12)
        assert torch.allclose(transport_direction(direction, source_basis).direction.z, direction.z, atol=0.05), (
            "J^T u = s v"
        )
        assert torch.allclose(carried.direction.z, direction.z, atol=1e-12)
        assert carried.direction.feature is not None
        assert torch.allclose(carried.direction.feature, source_basis.u[index], atol=1e-12)
    direction = source_basis.direction(2)
    assert direction.mean().feature is direction.feature  # a mean over several images has none, see test_base.py
    for full in (True, False):
        first, second = (
            transport_direction(one, target_basis, full=full).direction.z for one in (-direction, direction)
        )
        assert torch.allclose(first, -second)


def test_full_transport_is_the_steepest_displacement(source_basis: LocalBasis, target_basis: LocalBasis) -> None:
    """Against autograd. The target needs no directions, and no displacement has a larger component along u."""
    point = basis_point(target_basis.latent, site="mid", level=LEVEL, steps=STEPS)
    assert (len(point), point.products) == (0, 0)
    carried, dense, u = (
        transport_direction(source_basis.direction(0), point, step=1.0),
        jacobian(target_basis),
        source_basis.u[0].flatten(),
    )
    assert torch.allclose(displacement(carried), (dense.T @ u) / (dense.T @ u).norm(), atol=1e-9)
    feature_change = dense @ displacement(carried)
    assert carried.captured == pytest.approx(cosine(feature_change, u) ** 2)
    assert carried.direction.feature is not None
    assert cosine(carried.direction.feature, feature_change) == pytest.approx(1)
    random_features = random_normal(2000, 9)
    mean = float(
        torch.nn.functional.cosine_similarity(random_features @ dense @ dense.T, random_features).square().mean()
    )
    assert carried.chance == pytest.approx(mean, abs=0.3)
    assert [carried.direction.settings[name] for name in ("full", "rank")] == [True, None]
    rank_one = transport_direction(
        source_basis.direction(0), basis_of(target_basis.latent, rank=1), full=False, step=1.0
    )
    assert float(feature_change @ u) > float((dense @ displacement(rank_one)) @ u)
    with pytest.raises(ConfigError):
        pulled_back(torch.zeros(1, 9, dtype=torch.float64), point.jacobian)


def test_transport_projects_the_feature_change(source_basis: LocalBasis, target_basis: LocalBasis) -> None:
    """The target has all 6 directions; the reference is V U^T u of the dense Jacobian."""
    direction = source_basis.direction(0, step=0.7)
    carried = transport_direction(direction, target_basis, full=False)
    dense = jacobian(target_basis)
    left, _, right = torch.linalg.svd(dense, full_matrices=False)
    expected = right.T @ (left.T @ source_basis.u[0].flatten())
    assert torch.allclose(displacement(carried), 0.7 * expected / expected.norm(), atol=1e-6)
    projection = dense @ torch.linalg.pinv(dense) @ source_basis.u[0].flatten()
    assert carried.captured == pytest.approx(float(projection.square().sum()), rel=1e-6)
    assert 0 < carried.captured < 1
    assert carried.chance == pytest.approx(6 / 9)


def test_metadata_of_a_transported_direction(source_basis: LocalBasis, target_basis: LocalBasis) -> None:
    direction = dataclasses.replace(source_basis.direction(1), notes=("a note",))
    carried = transport_direction(direction, target_basis, full=False, step=3.0)
    result = carried.direction
    assert (result.method, result.level, result.source_captions) == ("transport", LEVEL, ("",))
    assert dict(result.settings) == {
        "from": direction.fingerprint, "captured": carried.captured, "full": False, "site": "mid",
        "pooling": "none", "level": LEVEL, "steps": STEPS, "rank": 6, "seed": 0, "prompt": "", "step": 3.0,
    }  # fmt: skip
    assert float(displacement(carried).norm()) == pytest.approx(3)
    assert "a note" in result.notes
    assert not bool(result.condition.tokens.any())


def test_other_levels_are_rejected(model: NetworkBackbone, source_basis: LocalBasis) -> None:
    lower_level = basis_of(network_image(model, 1), level=0.3)
    with pytest.raises(ConfigError, match=r"0\.3.*0\.6"):
        transport_direction(source_basis.direction(0), lower_level)
    with pytest.raises(ConfigError, match=r"0\.6.*0\.3"):
        transport_direction(lower_level.direction(0), source_basis)
    nearby_level = dataclasses.replace(source_basis.direction(0), level=LEVEL + 5e-7)
    assert transport_direction(nearby_level, source_basis, full=False).captured == pytest.approx(1)


def test_mismatched_directions_are_rejected(source_basis: LocalBasis, target_basis: LocalBasis) -> None:
    direction = source_basis.direction(0)
    invalid_changes: list[dict[str, Any]] = [
        {"feature": None, "method": "hsds", "settings": {}},
        {"settings": {"site": 3}},
        {"z": direction.z.repeat(2, 1, 1)},
    ]
    for changes in invalid_changes:
        with pytest.raises(ConfigError):
            transport_direction(dataclasses.replace(direction, **changes), target_basis)
        with pytest.raises(ConfigError):
            feature_of(dataclasses.replace(direction, **changes))
    other_site = basis_of(target_basis.latent, site="clean")
    outside = torch.linalg.svd(jacobian(target_basis))[0][:, -1]
    for changes, basis, message in (
        ({"model_fingerprint": "other"}, target_basis, "model"),
        ({}, other_site, "site.*'clean'.*'mid'"),
        ({"feature": torch.eye(3)}, target_basis, r"\[9\].*\[3, 3\]"),
        ({"settings": {"site": "mid", "pooling": "space"}}, target_basis, "pooling.*'none'.*'space'"),
        ({"feature": outside}, target_basis, "0"),
    ):
        with pytest.raises(LatentEditError, match=message):
            transport_direction(dataclasses.replace(direction, **changes), basis, full=False)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@given(seed=st.integers(0, 1000), inverse=st.booleans(), damping=st.floats(0, 2))
def test_transport_to_the_same_basis_is_the_identity(seed: int, inverse: bool, damping: float) -> None:
    u, s, v, _ = random_svd(seed)
    result = transported(u, u, s, v, inverse=inverse, damping=damping)
    assert torch.allclose(result.v, v, atol=1e-12)
    assert torch.allclose(result.u, u, atol=1e-12)
    assert torch.allclose(result.captured, torch.ones(RANK, dtype=torch.float64), atol=1e-12)
    assert float(result.captured.max()) <= 1


@given(seed=st.integers(0, 1000), length=st.floats(1e-3, 1e3))
def test_inverse_transport_makes_the_projected_feature_change(seed: int, length: float) -> None:
    """``J v`` is parallel to ``U U^T u``, which is never longer than u, where U are the first singular vectors of J."""
    u, s, v, jacobian = random_svd(seed)
    new_u = length * random_normal(2, *FEATURE, seed=seed + 1)
    result = transported(new_u, u, s, v)
    columns = u.flatten(1).T
    for index in range(2):
        projected = columns @ columns.T @ new_u[index].flatten()
        feature_change = jacobian @ result.v[index]
        assert cosine(feature_change, projected) == pytest.approx(1, abs=1e-10)
        assert cosine(result.u[index], projected) == pytest.approx(1, abs=1e-10)
        share = float(projected.square().sum() / new_u[index].square().sum())
        assert float(result.captured[index]) == pytest.approx(share, rel=1e-9)
        assert share <= 1
    assert result.v.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert result.u.flatten(1).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_without_the_inverse_large_singular_values_dominate() -> None:
    """Equal parts of two directions stay equal in the latent, which mostly changes the feature along the first."""
    u, s, v = torch.eye(2, 3, dtype=torch.float64), torch.tensor([9.0, 1.0]), torch.eye(2, dtype=torch.float64)
    equal_parts = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    without_inverse = transported(equal_parts, u, s, v, inverse=False)
    assert without_inverse.v[0].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    with_inverse = transported(equal_parts, u, s, v)
    assert float(with_inverse.v[0, 1] / with_inverse.v[0, 0]) == pytest.approx(9)


@given(damping=st.floats(0.01, 1), largest=st.floats(1e-3, 1e3))
def test_damping_bounds_the_inverse_of_small_singular_values(damping: float, largest: float) -> None:
    """The bound is 1 / (2 d), reached at s = d s_1."""
    s = largest * torch.tensor([1.0, damping, 1e-6], dtype=torch.float64)
    eye, u = torch.eye(3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    v = transported(u, eye, s, eye, damping=damping).v[0]
    weights = v / v[0] / (1 + damping**2)  # undo the damping of the first
    assert float(weights[1]) == pytest.approx(1 / (2 * damping))
    assert float(weights[2]) <= 1e-6 / damping**2


def test_smaller_bases_capture_less_and_half_precision_is_upcast() -> None:
    u, s, v, _ = random_svd(3)
    new_u = random_normal(1, *FEATURE, seed=4)
    smaller = transported(new_u, u[:2], s[:2], v[:2])
    half = transported(u.bfloat16(), u.bfloat16(), s.bfloat16(), v.bfloat16())
    assert half.v.dtype == half.u.dtype == half.captured.dtype == torch.float64
    assert float(smaller.captured[0]) < float(transported(new_u, u, s, v).captured[0])


def test_vectors_with_zero_singular_value_are_ignored() -> None:
    """Their u is arbitrary, so captured energy and pullback must not depend on it."""
    u, s, v, _ = random_svd(5)
    s = 1e-9 * torch.cat([s[:2], 1e-13 * s[:1]])
    new_u = random_normal(1, *FEATURE, seed=6)
    result, reduced = transported(new_u, u, s, v), transported(new_u, u[:2], s[:2], v[:2])
    assert torch.equal(result.v, reduced.v)
    assert torch.equal(result.captured, reduced.captured)

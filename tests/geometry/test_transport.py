"""Directions carried to another image, and the projection and pull-back behind them."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError, LatentEditError, ShapeError
from latentedit.geometry.local_basis import LocalBasis, local_basis
from latentedit.geometry.transport import Carried, feature_of, pulled_back, transport_direction, transported
from latentedit.latents.joint import JointLatent
from tests.directions.networks import NetworkBackbone, network_image
from tests.geometry.drawn import gaussian

LEVEL, STEPS = 0.6, 4


@pytest.fixture(scope="module")
def model() -> NetworkBackbone:
    return NetworkBackbone()


def basis_of(latent: JointLatent, *, rank: int = 6, level: float = LEVEL, site: str = "mid") -> LocalBasis:
    return local_basis(latent, site=site, rank=rank, level=level, steps=STEPS)


@pytest.fixture(scope="module")
def here(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_image(model, 1))


@pytest.fixture(scope="module")
def there(model: NetworkBackbone) -> LocalBasis:
    return basis_of(network_image(model, 2))


def displacement(carried: Carried) -> Tensor:
    """Of the latent at the level."""
    return (carried.direction.z * (1 - carried.direction.level)).flatten()


def jacobian(basis: LocalBasis) -> Tensor:
    """Of the feature at the basis, by autograd on the network itself."""
    model, text, level = basis.latent.backbone, basis.condition, torch.tensor([basis.level], dtype=torch.float64)
    top = basis.trace.top.clone()
    found: Any = torch.autograd.functional.jacobian(lambda z: model.features(z, level, text, basis.site), top)
    return found.reshape(basis.u[0].numel(), -1)


def test_the_negative_and_its_own_image(here: LocalBasis, there: LocalBasis) -> None:
    for index in range(3):
        direction = here.direction(index, step=2.5)
        carried = transport_direction(direction, here, full=False)
        assert carried.captured == pytest.approx(1, abs=1e-12)
        assert torch.allclose(transport_direction(direction, here).direction.z, direction.z, atol=0.05), "J^T u = s v"
        assert torch.allclose(carried.direction.z, direction.z, atol=1e-12)
        assert carried.direction.feature is not None
        assert torch.allclose(carried.direction.feature, here.u[index], atol=1e-12)
    direction = here.direction(2)
    assert direction.mean().feature is direction.feature  # of several images there is none, see test_base.py
    for full in (True, False):
        first, second = (transport_direction(one, there, full=full).direction.z for one in (-direction, direction))
        assert torch.allclose(first, -second)


def test_by_the_full_jacobian_it_is_the_steepest_displacement(here: LocalBasis, there: LocalBasis) -> None:
    """Against autograd; no directions are needed there, and no displacement has a larger part along u."""
    point = basis_of(there.latent, rank=0)
    assert (len(point), point.products) == (0, 0)
    carried, dense, u = transport_direction(here.direction(0), point, step=1.0), jacobian(there), here.u[0].flatten()
    assert torch.allclose(displacement(carried), (dense.T @ u) / (dense.T @ u).norm(), atol=1e-9)
    made = dense @ displacement(carried)
    assert carried.captured == pytest.approx(cosine(made, u) ** 2)
    assert carried.direction.feature is not None
    assert cosine(carried.direction.feature, made) == pytest.approx(1)
    drawn = gaussian(2000, 9)
    mean = float(torch.nn.functional.cosine_similarity(drawn @ dense @ dense.T, drawn).square().mean())
    assert carried.chance == pytest.approx(mean, abs=0.3)
    assert [carried.direction.settings[name] for name in ("full", "rank")] == [True, None]
    by_few = transport_direction(here.direction(0), basis_of(there.latent, rank=1), full=False, step=1.0)
    assert float(made @ u) > float((dense @ displacement(by_few)) @ u)
    with pytest.raises(ConfigError):
        pulled_back(torch.zeros(1, 9, dtype=torch.float64), point.jacobian)


@given(seed=st.integers(0, 1000), inverse=st.booleans())
def test_signs_of_the_pairs_do_not_matter(seed: int, inverse: bool) -> None:
    """A search may turn any pair around, u and v together; turned alone, u would turn a part of v."""
    u, s, v, _ = basis(seed)
    given_u, sign = gaussian(2, *FEATURE, seed=seed + 1), gaussian(RANK, seed=seed + 2).sign()
    turned_u, turned_v = sign[:, None, None] * u, sign[:, None] * v
    expected = transported(given_u, u, s, v, inverse=inverse)
    found = transported(given_u, turned_u, s, turned_v, inverse=inverse)
    assert torch.allclose(found.v, expected.v, atol=1e-12)
    assert torch.allclose(found.u, expected.u, atol=1e-12)
    one_turned = transported(given_u, torch.cat([-u[:1], u[1:]]), s, v, inverse=inverse)
    assert not torch.allclose(one_turned.v, expected.v, atol=1e-6)


def test_it_makes_the_same_change_of_the_feature_as_far_as_it_can(here: LocalBasis, there: LocalBasis) -> None:
    """With all 6 directions of the target: V U^T u by the network's own derivative."""
    direction = here.direction(0, step=0.7)
    carried = transport_direction(direction, there, full=False)
    dense = jacobian(there)
    left, _, right = torch.linalg.svd(dense, full_matrices=False)
    expected = right.T @ (left.T @ here.u[0].flatten())
    assert torch.allclose(displacement(carried), 0.7 * expected / expected.norm(), atol=1e-6)
    projection = dense @ torch.linalg.pinv(dense) @ here.u[0].flatten()
    assert carried.captured == pytest.approx(float(projection.square().sum()), rel=1e-6)
    assert 0 < carried.captured < 1
    assert carried.chance == pytest.approx(6 / 9)


def test_what_it_states_of_itself(here: LocalBasis, there: LocalBasis) -> None:
    direction = dataclasses.replace(here.direction(1), notes=("a note",))
    carried = transport_direction(direction, there, full=False, step=3.0)
    found = carried.direction
    assert (found.method, found.level, found.source_captions) == ("transport", LEVEL, ("",))
    assert dict(found.settings) == {
        "from": direction.fingerprint, "captured": carried.captured, "full": False, "site": "mid",
        "pooling": "none", "level": LEVEL, "steps": STEPS, "rank": 6, "seed": 0, "prompt": "", "step": 3.0,
    }  # fmt: skip
    assert float(displacement(carried).norm()) == pytest.approx(3)
    assert "a note" in found.notes
    assert not bool(found.condition.tokens.any())


def test_another_level_is_refused(model: NetworkBackbone, here: LocalBasis) -> None:
    lower = basis_of(network_image(model, 1), level=0.3)
    with pytest.raises(ConfigError, match=r"0\.3.*0\.6"):
        transport_direction(here.direction(0), lower)
    with pytest.raises(ConfigError, match=r"0\.6.*0\.3"):
        transport_direction(lower.direction(0), here)
    nearly = dataclasses.replace(here.direction(0), level=LEVEL + 5e-7)
    assert transport_direction(nearly, here, full=False).captured == pytest.approx(1)


def test_bad_requests_are_refused(here: LocalBasis, there: LocalBasis) -> None:
    direction = here.direction(0)
    unfit: list[dict[str, Any]] = [
        {"feature": None, "method": "hsds", "settings": {}},
        {"settings": {"site": 3}},
        {"z": direction.z.repeat(2, 1, 1)},
    ]
    for changes in unfit:
        with pytest.raises(ConfigError):
            transport_direction(dataclasses.replace(direction, **changes), there)
        with pytest.raises(ConfigError):
            feature_of(dataclasses.replace(direction, **changes))
    elsewhere = basis_of(there.latent, site="clean")
    outside = torch.linalg.svd(jacobian(there))[0][:, -1]
    for changes, basis, words in (
        ({"model_fingerprint": "other"}, there, "model"),
        ({}, elsewhere, "site.*'clean'.*'mid'"),
        ({"feature": torch.eye(3)}, there, r"\[9\].*\[3, 3\]"),
        ({"settings": {"site": "mid", "pooling": "space"}}, there, "pooling.*'none'.*'space'"),
        ({"feature": outside}, there, "0"),
    ):
        with pytest.raises(LatentEditError, match=words):
            transport_direction(dataclasses.replace(direction, **changes), basis, full=False)


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
    assert float(found.captured.max()) <= 1


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


def test_a_smaller_basis_captures_less_and_half_precision_is_widened() -> None:
    u, s, v, _ = basis(3)
    given_u = gaussian(1, *FEATURE, seed=4)
    small = transported(given_u, u[:2], s[:2], v[:2])
    half = transported(u.bfloat16(), u.bfloat16(), s.bfloat16(), v.bfloat16())
    assert half.v.dtype == half.u.dtype == half.captured.dtype == torch.float64
    assert float(small.captured[0]) < float(transported(given_u, u, s, v).captured[0])


def test_vectors_of_no_singular_value_count_for_nothing() -> None:
    """Their u is arbitrary, so neither what is captured nor the pull-back may depend on it."""
    u, s, v, _ = basis(5)
    s = 1e-9 * torch.cat([s[:2], 1e-13 * s[:1]])
    given_u = gaussian(1, *FEATURE, seed=6)
    found, without = transported(given_u, u, s, v), transported(given_u, u[:2], s[:2], v[:2])
    assert torch.equal(found.v, without.v)
    assert torch.equal(found.captured, without.captured)
    with pytest.raises(ConfigError):
        transported(given_u, u, torch.zeros(3), v)


def test_vectors_that_do_not_fit_are_refused() -> None:
    u, s, v, jacobian = basis(8)
    outside = torch.linalg.qr(jacobian, mode="complete")[0][:, -1].reshape(1, *FEATURE)
    with pytest.raises(ConfigError):
        transported(torch.cat([u[:1], outside]), u, s, v)
    with pytest.raises(ConfigError):
        transported(torch.zeros(1, *FEATURE, dtype=torch.float64), u, s, v)
    for damping in (-1.0, math.nan):
        with pytest.raises(ConfigError):
            transported(u, u, s, v, damping=damping)
    with pytest.raises((ShapeError, TypeError)):
        transported(u[:, :1], u, s, v)
    with pytest.raises((ShapeError, TypeError)):
        transported(u, u, s[:2], v)

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.geometry.global_basis import GlobalDirections, Mean, agreement, global_directions
from latentedit.geometry.pullback import LocalBasis, local_basis
from latentedit.geometry.transport import transport_direction
from latentedit.identification.direction import Direction
from latentedit.models.derivatives import FeatureJacobian, FeatureMap
from latentedit.numerics.rng import stream
from tests.identification.networks import NetworkBackbone, network_image

LEVEL, STEPS = 0.6, 4
MEANS: tuple[Mean, ...] = ("frechet", "hungarian")


def basis_of(model: NetworkBackbone, seed: int, *, rank: int = 2, level: float = LEVEL, prompt: str = "") -> LocalBasis:
    return local_basis(network_image(model, seed), site="mid", rank=rank, level=level, prompt=prompt, steps=STEPS)


@pytest.fixture(scope="module")
def bases() -> list[LocalBasis]:
    model = NetworkBackbone()
    return [basis_of(model, seed) for seed in range(4)]


def random_orthonormal_rows(seed: int, rank: int = 3, size: int = 12) -> Tensor:
    noise = torch.randn(size, rank, generator=stream(seed, "sets"), dtype=torch.float64)
    return torch.linalg.qr(noise)[0].T


def global_directions_of(bases: list[LocalBasis], feature_sets: list[Tensor], mean: Mean) -> GlobalDirections:
    """The global directions of bases with these feature changes ``u``."""
    first, (rank,) = bases[0], {len(rows) for rows in feature_sets}
    values, v = first.singular_values[:1].expand(rank), first.v[:1].expand(rank, *first.v.shape[1:])
    base = {"singular_values": values, "v": v, "residuals": first.residuals[:1].expand(rank)}
    return global_directions([dataclasses.replace(first, u=rows, **base) for rows in feature_sets], mean=mean)


@pytest.mark.parametrize("mean", MEANS)
def test_the_mean_of_copies_is_the_original(bases: list[LocalBasis], mean: Mean) -> None:
    """The copies are shuffled and have other signs; one is float32."""
    rows = random_orthonormal_rows(0).reshape(3, 3, 4)
    shuffled = rows[[2, 0, 1]] * torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)[:, None, None]
    result = global_directions_of(bases, [rows, shuffled, rows.float()], mean)
    assert result.u.shape == (3, 3, 4)
    cosines_to_original = (result.u.flatten(1) @ rows.flatten(1).T).abs().max(1).values
    for values in (cosines_to_original, result.homogeneity, result.captured):
        assert torch.allclose(values, torch.ones_like(values), atol=1e-6)  # one copy is float32
    assert float(result.spread.max()) < 1e-5
    assert result.converged


@pytest.mark.parametrize("mean", MEANS)
def test_the_mean_of_two_lines_halves_their_angle(bases: list[LocalBasis], mean: Mean) -> None:
    """Lines at 0 and 0.8 rad have their mean at 0.4, at a distance of 0.4 from each."""
    lines = [torch.tensor([[math.cos(angle), math.sin(angle), 0]], dtype=torch.float64) for angle in (0.0, 0.8)]
    result = global_directions_of(bases, lines, mean)
    assert abs(float(result.u[0] @ torch.tensor([math.cos(0.4), math.sin(0.4), 0]).double())) == pytest.approx(1)
    assert result.spread.tolist() == pytest.approx([0.4, 0.4])
    assert result.captured.flatten().tolist() == pytest.approx([math.cos(0.4) ** 2] * 2)
    assert result.homogeneity.flatten().tolist() == pytest.approx([math.cos(0.4)] * 2)


def test_global_directions_of_image_bases(bases: list[LocalBasis]) -> None:
    result = global_directions(bases)
    assert len(result) == 2
    assert torch.allclose(result.u @ result.u.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    assert (result.captured.shape, result.homogeneity.shape, result.spread.shape) == ((4, 2), (4, 2), (4,))
    expected = torch.stack([(result.u @ basis.u.T).square().sum(1) for basis in bases])
    assert torch.allclose(result.captured, expected, atol=1e-6)
    shear = torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    captured, cosines = agreement(result.u, [shear @ basis.u for basis in bases])
    assert torch.allclose(captured, expected, atol=1e-6), "the captured energy depends on the choice of basis"
    assert bool((cosines[0] ** 2 <= captured[0] + 1e-12).all())
    assert result.notes == ()
    unconverged = dataclasses.replace(result, converged=False)
    assert "not converged" in unconverged.notes[0]
    assert "not converged" in unconverged.local(bases[0], 0).notes[0]


@pytest.mark.parametrize("mean", MEANS)
def test_a_global_direction_changes_the_feature_of_a_new_image(
    bases: list[LocalBasis], mean: Mean, tmp_path: Path
) -> None:
    """``J v`` is parallel to the projection of u onto the tangent space of the image; exactly, without damping."""
    result = global_directions(bases[:3], mean=mean)
    new_basis = bases[3]
    local = result.local(new_basis, 1, step=2.5, damping=0.0)
    displacement = local.z * (1 - LEVEL)
    assert float(displacement.norm()) == pytest.approx(2.5)
    feature = FeatureMap(
        backbone=new_basis.latent.backbone, site="mid", level=new_basis.level, condition=new_basis.condition
    )
    feature_change = FeatureJacobian(feature, new_basis.trace.top).matmat(displacement)[0]
    expected = new_basis.u.T @ (new_basis.u @ result.u[1])
    # the basis is within 0.25 degrees of the exact singular vectors, so the cosine is within 1e-5 of 1
    assert float(torch.cosine_similarity(feature_change, expected, dim=0)) == pytest.approx(1, abs=1e-4)
    assert local.feature is not None
    assert torch.allclose(local.feature, expected / expected.norm(), atol=1e-9)
    assert local.method == "global"
    values = {"site": "mid", "level": LEVEL, "mean": mean, "rank": 2, "samples": 3, "index": 1, "seed": 0, "step": 2.5}
    assert local.settings.items() >= values.items()
    assert local.settings["captured"] == pytest.approx(float((new_basis.u @ result.u[1]).square().sum()))
    local.save(tmp_path / "one.safetensors")
    assert Direction.load(tmp_path / "one.safetensors").settings["mean"] == mean
    assert transport_direction(local, bases[0]).direction.method == "transport"


def test_damping_suppresses_weak_directions(bases: list[LocalBasis]) -> None:
    result, new_basis = global_directions(bases), bases[0]
    damped, undamped = (result.local(new_basis, 0, damping=damping).z.flatten() for damping in (10.0, 0.0))
    coefficients = new_basis.u @ result.u[0]
    # in the limit of strong damping, S U^T u
    limit = (new_basis.singular_values * coefficients) @ new_basis.v.flatten(1)
    assert float(torch.cosine_similarity(damped, limit, dim=0)) == pytest.approx(1, abs=1e-3)
    assert not torch.allclose(damped, undamped, rtol=1e-2)


def test_mismatched_bases_are_rejected(bases: list[LocalBasis]) -> None:
    model, other_model, narrow_model = NetworkBackbone(), NetworkBackbone(), NetworkBackbone(hidden=7)
    other_model.fingerprint = "network-2"
    lower_level, other_model_basis = basis_of(model, 1, level=0.3), basis_of(other_model, 1)
    other_site = dataclasses.replace(bases[1], site="clean")
    for second, message in (
        (lower_level, r"level.*0\.6.*0\.3"),
        (basis_of(model, 1, rank=3), "rank.*2.*3"),
        (basis_of(model, 1, prompt="abc"), "text.*'abc'"),
        (other_site, "site"),
        (other_model_basis, "model"),
        (basis_of(narrow_model, 1), "feature shape"),
    ):
        with pytest.raises((ConfigError, ShapeError), match=message):
            global_directions([bases[0], second])
    with pytest.raises(ConfigError):
        global_directions(bases[:1])
    result = global_directions(bases)
    for new_basis, index, message in (
        (bases[0], 2, "1"),
        (lower_level, 0, r"level.*0\.6.*0\.3"),
        (other_site, 0, "site.*'mid'"),
        (other_model_basis, 0, "model"),
    ):
        with pytest.raises(ConfigError, match=message):
            result.local(new_basis, index)

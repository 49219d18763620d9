import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import stream
from latentedit.directions.direction import Direction
from latentedit.geometry.global_directions import GlobalDirections, Mean, agreement, global_directions
from latentedit.geometry.local_basis import LocalBasis, local_basis
from latentedit.geometry.transport import transport_direction
from latentedit.models.derivatives import FeatureJacobian, FeatureMap
from tests.directions.networks import NetworkBackbone, network_image

LEVEL, STEPS = 0.6, 4
MEANS: tuple[Mean, ...] = ("frechet", "hungarian")


def basis_of(model: NetworkBackbone, seed: int, *, rank: int = 2, level: float = LEVEL, prompt: str = "") -> LocalBasis:
    return local_basis(network_image(model, seed), site="mid", rank=rank, level=level, prompt=prompt, steps=STEPS)


@pytest.fixture(scope="module")
def bases() -> list[LocalBasis]:
    model = NetworkBackbone()
    return [basis_of(model, seed) for seed in range(4)]


def random_set(seed: int, rank: int = 3, size: int = 12) -> Tensor:
    noise = torch.randn(size, rank, generator=stream(seed, "sets"), dtype=torch.float64)
    return torch.linalg.qr(noise)[0].T


def shared(bases: list[LocalBasis], sets: list[Tensor], mean: Mean) -> GlobalDirections:
    """Of bases with these changes of the feature."""
    return global_directions([dataclasses.replace(bases[0], u=one) for one in sets], mean=mean)


@pytest.mark.parametrize("mean", MEANS)
def test_the_mean_of_copies_is_the_copy(bases: list[LocalBasis], mean: Mean) -> None:
    """Shuffled, with other signs and in two dimensions: what they share is found, and all of it."""
    one = random_set(0).reshape(3, 3, 4)
    shuffled = one[[2, 0, 1]] * torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)[:, None, None]
    found = shared(bases, [one, shuffled, one.float()], mean)
    assert found.u.shape == (3, 3, 4)
    overlaps = (found.u.flatten(1) @ one.flatten(1).T).abs().max(1).values
    for ones in (overlaps, found.homogeneity, found.captured):
        assert torch.allclose(ones, torch.ones_like(ones), atol=1e-6)  # float32 is among them
    assert float(found.spread.max()) < 1e-5
    assert found.converged


@pytest.mark.parametrize("mean", MEANS)
def test_the_mean_of_two_lines_halves_their_angle(bases: list[LocalBasis], mean: Mean) -> None:
    """Lines at 0 and at 0.8 rad have their mean at 0.4, from which each is 0.4 away."""
    lines = [torch.tensor([[math.cos(angle), math.sin(angle), 0]], dtype=torch.float64) for angle in (0.0, 0.8)]
    found = shared(bases, lines, mean)
    assert abs(float(found.u[0] @ torch.tensor([math.cos(0.4), math.sin(0.4), 0]).double())) == pytest.approx(1)
    assert found.spread.tolist() == pytest.approx([0.4, 0.4])
    assert found.captured.flatten().tolist() == pytest.approx([math.cos(0.4) ** 2] * 2)
    assert found.homogeneity.flatten().tolist() == pytest.approx([math.cos(0.4)] * 2)


def test_of_images(bases: list[LocalBasis]) -> None:
    found = global_directions(bases)
    assert len(found) == 2
    assert torch.allclose(found.u @ found.u.T, torch.eye(2, dtype=torch.float64), atol=1e-9)
    assert (found.captured.shape, found.homogeneity.shape, found.spread.shape) == ((4, 2), (4, 2), (4,))
    exact = torch.stack([(found.u @ basis.u.T).square().sum(1) for basis in bases])
    assert torch.allclose(found.captured, exact, atol=1e-6)
    shear = torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    captured, cosines = agreement(found.u, [shear @ basis.u for basis in bases])
    assert torch.allclose(captured, exact, atol=1e-6), "energy in a space does not depend on its basis"
    assert bool((cosines[0] ** 2 <= captured[0] + 1e-12).all())
    assert found.notes == ()
    loose = dataclasses.replace(found, converged=False)
    assert "not converged" in loose.notes[0]
    assert "not converged" in loose.local(bases[0], 0).notes[0]


@pytest.mark.parametrize("mean", MEANS)
def test_a_global_direction_makes_its_change_of_the_feature_at_a_new_image(
    bases: list[LocalBasis], mean: Mean, tmp_path: Path
) -> None:
    """By the Jacobian there: ``J v`` is parallel to what the tangent space has of u. Without damping, so exactly."""
    found = global_directions(bases[:3], mean=mean)
    there = bases[3]
    local = found.local(there, 1, step=2.5, damping=0.0)
    displacement = local.z * (1 - LEVEL)
    assert float(displacement.norm()) == pytest.approx(2.5)
    feature = FeatureMap(backbone=there.latent.backbone, site="mid", level=there.level, condition=there.condition)
    pushed = FeatureJacobian(feature, there.trace.top).matmat(displacement)[0]
    wanted = there.u.T @ (there.u @ found.u[1])
    # the basis is within 0.25 degrees of the Jacobian's own, so the cosine is within 1e-5 of 1
    assert float(torch.cosine_similarity(pushed, wanted, dim=0)) == pytest.approx(1, abs=1e-4)
    assert local.feature is not None
    assert torch.allclose(local.feature, wanted / wanted.norm(), atol=1e-9)
    assert local.method == "global"
    report = {"site": "mid", "level": LEVEL, "mean": mean, "rank": 2, "samples": 3, "index": 1, "seed": 0, "step": 2.5}
    assert local.settings.items() >= report.items()
    assert local.settings["captured"] == pytest.approx(float((there.u @ found.u[1]).square().sum()))
    local.save(tmp_path / "one.safetensors")
    assert Direction.load(tmp_path / "one.safetensors").settings["mean"] == mean
    assert transport_direction(local, bases[0]).direction.method == "transport"


def test_damping_holds_weak_directions_back(bases: list[LocalBasis]) -> None:
    found, there = global_directions(bases), bases[0]
    wide, plain = (found.local(there, 0, damping=damping).z.flatten() for damping in (10.0, 0.0))
    parts = there.u @ found.u[0]
    strong = (there.singular_values * parts) @ there.v.flatten(1)  # much damping leaves S U^T u
    assert float(torch.cosine_similarity(wide, strong, dim=0)) == pytest.approx(1, abs=1e-3)
    assert not torch.allclose(wide, plain, rtol=1e-2)


def test_what_does_not_belong_together_is_refused(bases: list[LocalBasis]) -> None:
    model, other, narrow = NetworkBackbone(), NetworkBackbone(), NetworkBackbone(hidden=7)
    other.fingerprint = "network-2"
    lower, foreign = basis_of(model, 1, level=0.3), basis_of(other, 1)
    elsewhere = dataclasses.replace(bases[1], site="clean")
    for second, words in (
        (lower, r"level.*0\.6.*0\.3"),
        (basis_of(model, 1, rank=3), "rank.*2.*3"),
        (basis_of(model, 1, prompt="abc"), "text.*'abc'"),
        (elsewhere, "site"),
        (foreign, "model"),
        (basis_of(narrow, 1), "feature shape"),
    ):
        with pytest.raises((ConfigError, ShapeError), match=words):
            global_directions([bases[0], second])
    with pytest.raises(ConfigError):
        global_directions(bases[:1])
    found = global_directions(bases)
    for there, index, words in (
        (bases[0], 2, "1"),
        (lower, 0, r"level.*0\.6.*0\.3"),
        (elsewhere, 0, "site.*'mid'"),
        (foreign, 0, "model"),
    ):
        with pytest.raises(ConfigError, match=words):
            found.local(there, index)

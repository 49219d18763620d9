"""Local bases against the SVD of the dense Jacobian of a small network."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.encoding.inversion import invert
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.pullback import LocalBasis, direction_at, local_basis, random_units
from latentedit.geometry.subspaces import principal_angles
from latentedit.identification.composition import compose
from latentedit.identification.direction import clean_share, lives_at_level
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.models.registry import load
from latentedit.numerics.rng import draw
from latentedit.testing.miniature import miniature_sd3
from tests.identification.mixtures import mixture_latent, two_modes
from tests.identification.networks import NetworkBackbone, network_latent
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error

CAPTION = "abcd"


@pytest.fixture
def latent() -> JointLatent:
    return network_latent(NetworkBackbone(hidden=40), 1)


@pytest.fixture
def basis(latent: JointLatent) -> LocalBasis:
    return local_basis(latent, rank=2, level=0.6, steps=4)


def largest_angle_in_degrees(a: LocalBasis, b: Tensor) -> float:
    return math.degrees(float(principal_angles(a.v.flatten(1), b.flatten(1)).max()))


def test_the_basis_matches_the_svd_of_the_jacobian(latent: JointLatent, basis: LocalBasis) -> None:
    """At the end of the inversion."""
    trace = invert(latent, latent.path(4, 0.6))
    assert basis.level == trace.levels[-1] == 0.6
    assert torch.equal(basis.trace.top, trace.top)
    level, text = torch.tensor([0.6], dtype=torch.float64), latent.backbone.embed([CAPTION])
    dense: Any = torch.autograd.functional.jacobian(
        lambda z: latent.backbone.features(z, level, text, "mid"), trace.top.clone()
    )
    dense = dense.reshape(40, 6)
    _, s, vh = torch.linalg.svd(dense, full_matrices=False)
    assert basis.converged
    assert basis.notes == ()
    assert basis.singular_values.tolist() == pytest.approx(s[:2].tolist(), rel=1e-4)
    assert largest_angle_in_degrees(basis, vh[:2]) <= 0.25
    assert (len(basis), basis.site) == (2, latent.backbone.default_site) == (2, "mid")
    products = basis.v.flatten(1) @ dense.T
    assert torch.allclose(products, basis.singular_values[:, None] * basis.u.flatten(1), atol=1e-9)
    assert bool((basis.residuals < 0.01).all())


def test_energy_truncates_the_rank(latent: JointLatent) -> None:
    """The total energy of all six directions is exact; for two, 8 probes estimate the remainder."""
    full = local_basis(latent, rank=6, level=0.6, steps=4)
    squares = full.singular_values.square()
    shares = squares.cumsum(0) / squares.sum()
    assert torch.allclose(full.energy(), shares, atol=1e-6)
    for energy in (0.3, 0.6, 0.95):
        truncated = local_basis(latent, rank=6, energy=energy, level=0.6, steps=4)
        assert len(truncated.v) == len(truncated.u) == len(truncated.residuals) == int((shares < energy).sum()) + 1
    remainder = 1 - float(shares[1])  # estimated with a relative error of a few times sqrt(2 / 8)
    two_directions = local_basis(latent, rank=2, level=0.6, steps=4)
    assert float(1 / two_directions.energy()[1]) == pytest.approx(
        1 / float(shares[1]), abs=2 * remainder / float(shares[1])
    )
    one_direction = local_basis(latent, rank=1, energy=0.999, level=0.6, steps=4)
    assert "of the energy; a higher rank" in one_direction.notes[-1]
    with pytest.raises(ConfigError):
        local_basis(latent, energy=1.0)


def test_cost_is_counted_and_notes_are_kept(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """One evaluation for each step of the inversion, one for the feature, and two for each product."""

    def no_tangent_rule(*_: object) -> None:
        raise NotImplementedError("no tangent rule")

    stages = list[str]()
    with latent.backbone.count() as cost:
        result = local_basis(latent, rank=1, level=0.6, steps=4, progress=lambda stage, *_: stages.append(stage))
    steps = latent.path(4, 0.6).steps
    assert result.evaluations == cost.evaluations == steps + 1 + 2 * result.products
    assert stages.count("integrate") == steps
    assert stages.count("basis") == result.iterations
    monkeypatch.setattr(forward_ad, "make_dual", no_tangent_rule)
    fallback = local_basis(latent, rank=1, level=0.6, steps=4)
    assert fallback.singular_values.tolist() == pytest.approx(result.singular_values.tolist(), rel=1e-4)
    assert fallback.notes[0].endswith("(no tangent rule); used two reverse passes")
    assert fallback.direction(0).notes == fallback.notes
    assert "not converged" in dataclasses.replace(result, converged=False).notes[0]


def test_a_direction_moves_the_latent_at_its_level_by_its_step(latent: JointLatent, basis: LocalBasis) -> None:
    direction = basis.direction(1, step=2.5)
    assert torch.allclose((1 - 0.6) * direction.z, 2.5 * basis.v[1:2])
    assert not bool(direction.condition.tokens.any() or direction.condition.pooled.any())
    assert (direction.level, direction.method, direction.source_captions) == (0.6, "pullback", (CAPTION,))
    assert direction.feature is not None
    assert torch.equal(direction.feature, basis.u[1])
    assert direction.settings["singular_value"] == pytest.approx(float(basis.singular_values[1]))
    values = {"site": "mid", "level": 0.6, "index": 1, "rank": 2, "seed": 0, "prompt": CAPTION, "steps": 4, "step": 2.5}
    assert direction.settings.items() >= values.items()
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    for index in (-1, 2):
        with pytest.raises(ConfigError):
            basis.direction(index)


def test_prompt_level_and_seed_determine_the_basis(latent: JointLatent, basis: LocalBasis) -> None:
    """The prompt does not affect the inversion, which uses the image's own caption."""
    noise_basis = local_basis(latent, rank=1, level=1.0, steps=2)
    assert torch.allclose(clean_share(1.0) * noise_basis.direction(0).z, noise_basis.v)
    empty_prompt = local_basis(latent, rank=2, level=0.6, steps=4, prompt="")
    assert torch.equal(empty_prompt.trace.top, basis.trace.top)
    assert (empty_prompt.prompt, basis.prompt) == ("", CAPTION)
    assert torch.equal(empty_prompt.condition.tokens, latent.backbone.embed([""]).tokens)
    assert not torch.allclose(empty_prompt.singular_values, basis.singular_values, rtol=1e-4)
    other = local_basis(latent, rank=2, level=0.6, steps=4, seed=1)
    assert not torch.equal(other.v, basis.v)
    assert largest_angle_in_degrees(other, basis.v) <= 0.5


def test_the_first_direction_of_a_mixture_connects_its_modes() -> None:
    """Halfway between two narrow modes, the clean estimate varies most from one mode to the other."""
    backbone = two_modes()
    single = mixture_latent(backbone, 1, condition=backbone.embed([""]))
    midpoint = dataclasses.replace(single, z=torch.zeros_like(single.z))
    result = local_basis(midpoint, site="clean", rank=1, level=0.7, prompt="")
    assert abs(float(result.v[0, 0])) > 0.99
    assert torch.allclose(result.u, result.v, atol=1e-3)


def test_invalid_arguments_are_rejected(latent: JointLatent, tmp_path: Path) -> None:
    model = load(miniature_sd3(tmp_path / "sd3", t5=False, channels=4), device="cpu")
    text = model.embed(["a"])
    z = draw((1, 4, 8, 8), seed=0, purpose="tests")
    image = JointLatent(backbone=model, z=z, condition=text, captions=("a",))
    cases: list[tuple[JointLatent, dict[str, Any], str]] = [
        *((latent, {"level": level}, "level") for level in (0.0, -1.0, 1.5, math.nan)),
        (latent, {"rank": 0}, "rank"),
        (latent, {"rank": 1.5}, "rank"),
        (image, {"site": "block.0.image", "pooling": "space", "rank": 17, "steps": 2}, "16"),
        (mixture_latent(two_modes(), 2), {}, "2"),
    ]
    for case_latent, options, message in cases:
        with pytest.raises((ConfigError, ShapeError), match=message):
            local_basis(case_latent, **options)


@pytest.fixture
def mixture() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def displacement(rows: int) -> Tensor:
    return torch.arange(6.0 * rows).double().reshape(rows, 6)


@pytest.mark.parametrize(("level", "share"), [(0.3, 0.7), (0.98, 0.02), (0.995, 0.01), (1.0, 0.01)])
def test_direction_at_adds_the_displacement_at_its_level(mixture: JointLatent, level: float, share: float) -> None:
    assert clean_share(level) == pytest.approx(share)
    for rows in (1, 3):
        v = displacement(rows)
        result = direction_at(mixture, v, level=level, method="by hand", settings={"steps": 9})
        assert relative_error(result.z * clean_share(level), v) < 1e-15
        assert (len(result), len(result.condition), len(result.source_captions)) == (rows, rows, rows)
        assert (result.level, result.method, result.settings) == (level, "by hand", {"level": level, "steps": 9})
        assert result.model_fingerprint == mixture.backbone.fingerprint


def test_directions_without_text_and_with_steps_live_at_their_level(mixture: JointLatent) -> None:
    result = direction_at(mixture, displacement(1), level=0.5, method="by hand", settings={"steps": 4})
    other = direction_at(mixture, displacement(1).flip(1), level=0.5, method="by hand", settings={"steps": 6})
    assert lives_at_level(result)
    assert not lives_at_level(dataclasses.replace(result, settings={})), (
        "without steps, it is a displacement of the clean latent"
    )
    assert compose([result, other], [0.5, -0.5]).settings["steps"] == 6
    assert lives_at_level(-result)
    assert lives_at_level(compose([result, other], [0.5, -0.5]))
    text_direction = find_direction(mixture, mixture.backbone.embed(["c"]), HSDS(steps=2), seed=0)
    assert not lives_at_level(text_direction)
    assert not lives_at_level(dataclasses.replace(text_direction, source_captions=(), target_captions=()))


def test_random_units_are_normalized_and_independent(mixture: JointLatent) -> None:
    result = random_units(mixture, 2, seed=2)
    assert torch.allclose(result.norm(dim=1), torch.ones(2, dtype=result.dtype))
    assert torch.equal(result[1:], random_units(mixture, 1, seed=2, first=1))
    assert all(abs(float(result[0] @ other)) < 0.9 for other in (result[1], random_units(mixture, 1, seed=3)[0]))
    samples = random_units(mixture, 300, seed=0)
    covariance = samples.T @ samples / len(samples) * 6  # the identity for isotropic directions
    assert float((covariance - torch.eye(6)).abs().max()) < 0.35  # at most 4 standard deviations of 1.1 / sqrt(300)


def test_levels_outside_the_range_are_rejected(mixture: JointLatent) -> None:
    for level in (0.0, -0.5, 1.5):
        with pytest.raises(ConfigError):
            direction_at(mixture, displacement(1), level=level, method="by hand", settings={})

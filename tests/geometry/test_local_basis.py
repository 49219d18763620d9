"""Local bases against LAPACK on the whole Jacobian of a small network."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw
from latentedit.directions.composition import compose
from latentedit.directions.direction import clean_share, lives_at_level
from latentedit.directions.hsds import HSDS
from latentedit.directions.identification import find_direction
from latentedit.geometry.local_basis import LocalBasis, direction_at, local_basis, random_units
from latentedit.geometry.subspaces import principal_angles
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.miniature import miniature_sd3
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import mixture_latent, two_modes
from tests.directions.networks import NetworkBackbone, network_latent

CAPTION = "abcd"


@pytest.fixture
def latent() -> JointLatent:
    return network_latent(NetworkBackbone(hidden=40), 1)


@pytest.fixture
def basis(latent: JointLatent) -> LocalBasis:
    return local_basis(latent, rank=2, level=0.6, steps=4)


def degrees_between(a: LocalBasis, b: Tensor) -> float:
    return math.degrees(float(principal_angles(a.v.flatten(1), b.flatten(1)).max()))


def test_the_basis_is_that_of_the_whole_jacobian(latent: JointLatent, basis: LocalBasis) -> None:
    """At the point where `invert` ends."""
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
    assert degrees_between(basis, vh[:2]) <= 0.25
    assert (len(basis), basis.site) == (2, latent.backbone.default_site) == (2, "mid")
    image = basis.v.flatten(1) @ dense.T
    assert torch.allclose(image, basis.singular_values[:, None] * basis.u.flatten(1), atol=1e-9)
    assert bool((basis.residuals < 0.01).all())


def test_the_rank_is_cut_by_the_energy(latent: JointLatent) -> None:
    """Of all six directions nothing is left to be estimated; of two, the rest is, by 8 probes."""
    every = local_basis(latent, rank=6, level=0.6, steps=4)
    squares = every.singular_values.square()
    shares = squares.cumsum(0) / squares.sum()
    assert torch.allclose(every.energy(), shares, atol=1e-6)
    for energy in (0.3, 0.6, 0.95):
        cut = local_basis(latent, rank=6, energy=energy, level=0.6, steps=4)
        assert len(cut.v) == len(cut.u) == len(cut.residuals) == int((shares < energy).sum()) + 1
    rest = 1 - float(shares[1])  # its estimate errs by at most a few times sqrt(2 / 8)
    two = local_basis(latent, rank=2, level=0.6, steps=4)
    assert float(1 / two.energy()[1]) == pytest.approx(1 / float(shares[1]), abs=2 * rest / float(shares[1]))
    short = local_basis(latent, rank=1, energy=0.999, level=0.6, steps=4)
    assert "of the energy; a higher rank" in short.notes[-1]
    with pytest.raises(ConfigError):
        local_basis(latent, energy=1.0)


def test_cost_is_counted_and_notes_are_passed_on(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way up of as many steps as there are levels, a look at the feature, and two evaluations a product."""

    def refuse(*_: object) -> None:
        raise NotImplementedError("no tangent rule")

    report = list[str]()
    with latent.backbone.count() as cost:
        found = local_basis(latent, rank=1, level=0.6, steps=4, progress=lambda what, *_: report.append(what))
    steps = latent.path(4, 0.6).steps
    assert found.evaluations == cost.evaluations == steps + 1 + 2 * found.products
    assert report.count("integrate") == steps
    assert report.count("basis") == found.iterations
    monkeypatch.setattr(forward_ad, "make_dual", refuse)
    again = local_basis(latent, rank=1, level=0.6, steps=4)
    assert again.singular_values.tolist() == pytest.approx(found.singular_values.tolist(), rel=1e-4)
    assert again.notes[0].endswith("(no tangent rule); used two reverse passes")
    assert again.direction(0).notes == again.notes
    assert "not converged" in dataclasses.replace(found, converged=False).notes[0]


def test_a_direction_moves_the_latent_at_its_level_by_its_step(latent: JointLatent, basis: LocalBasis) -> None:
    direction = basis.direction(1, step=2.5)
    assert torch.allclose((1 - 0.6) * direction.z, 2.5 * basis.v[1:2])
    assert not bool(direction.condition.tokens.any() or direction.condition.pooled.any())
    assert (direction.level, direction.method, direction.source_captions) == (0.6, "pullback", (CAPTION,))
    assert direction.feature is not None
    assert torch.equal(direction.feature, basis.u[1])
    assert direction.settings["singular_value"] == pytest.approx(float(basis.singular_values[1]))
    report = {"site": "mid", "level": 0.6, "index": 1, "rank": 2, "seed": 0, "prompt": CAPTION, "steps": 4, "step": 2.5}
    assert direction.settings.items() >= report.items()
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    for index in (-1, 2):
        with pytest.raises(ConfigError):
            basis.direction(index)


def test_text_level_and_seed_of_a_basis(latent: JointLatent, basis: LocalBasis) -> None:
    """The text is not that of the way up, which is the image's own."""
    top = local_basis(latent, rank=1, level=1.0, steps=2)
    assert torch.allclose(clean_share(1.0) * top.direction(0).z, top.v)
    empty = local_basis(latent, rank=2, level=0.6, steps=4, prompt="")
    assert torch.equal(empty.trace.top, basis.trace.top)
    assert (empty.prompt, basis.prompt) == ("", CAPTION)
    assert torch.equal(empty.condition.tokens, latent.backbone.embed([""]).tokens)
    assert not torch.allclose(empty.singular_values, basis.singular_values, rtol=1e-4)
    other = local_basis(latent, rank=2, level=0.6, steps=4, seed=1)
    assert not torch.equal(other.v, basis.v)
    assert degrees_between(other, basis.v) <= 0.5


def test_the_top_of_a_mixtures_denoiser_points_from_mode_to_mode() -> None:
    """Half way between two narrow modes, what the clean estimate depends on most is which mode it is."""
    backbone = two_modes()
    one = mixture_latent(backbone, 1, condition=backbone.embed([""]))
    still = dataclasses.replace(one, z=torch.zeros_like(one.z))
    found = local_basis(still, site="clean", rank=1, level=0.7, prompt="")
    assert abs(float(found.v[0, 0])) > 0.99
    assert torch.allclose(found.u, found.v, atol=1e-3)


@pytest.mark.slow
def test_bad_requests_are_refused(latent: JointLatent, tmp_path: Path) -> None:
    model = load(miniature_sd3(tmp_path / "sd3", t5=False, channels=4), device="cpu")
    text = model.embed(["a"])
    z = draw((1, 4, 8, 8), seed=0, purpose="tests")
    image = JointLatent(backbone=model, z=z, condition=text, captions=("a",))
    cases: list[tuple[JointLatent, dict[str, Any], str]] = [
        *((latent, {"level": level}, "level") for level in (0.0, -1.0, 1.5, math.nan)),
        (latent, {"rank": -1}, "rank"),
        (latent, {"rank": 1.5}, "rank"),
        (image, {"site": "block.0.image", "pooling": "space", "rank": 17, "steps": 2}, "16"),
        (mixture_latent(two_modes(), 2), {}, "2"),
    ]
    for requested, wanted, words in cases:
        with pytest.raises((ConfigError, ShapeError), match=words):
            local_basis(requested, **wanted)


@pytest.fixture
def mixed() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def displacement(rows: int) -> Tensor:
    return torch.arange(6.0 * rows).double().reshape(rows, 6)


@pytest.mark.parametrize(("level", "share"), [(0.3, 0.7), (0.98, 0.02), (0.995, 0.01), (1.0, 0.01)])
def test_what_is_added_at_the_level_is_the_displacement(mixed: JointLatent, level: float, share: float) -> None:
    assert clean_share(level) == pytest.approx(share)
    for rows in (1, 3):
        v = displacement(rows)
        found = direction_at(mixed, v, level=level, method="by hand", settings={"steps": 9})
        assert relative_error(found.z * clean_share(level), v) < 1e-15
        assert (len(found), len(found.condition), len(found.source_captions)) == (rows, rows, rows)
        assert (found.level, found.method, found.settings) == (level, "by hand", {"level": level, "steps": 9})
        assert found.model_fingerprint == mixed.backbone.fingerprint


def test_what_moves_no_text_and_names_steps_lives_at_its_level(mixed: JointLatent) -> None:
    found = direction_at(mixed, displacement(1), level=0.5, method="by hand", settings={"steps": 4})
    other = direction_at(mixed, displacement(1).flip(1), level=0.5, method="by hand", settings={"steps": 6})
    assert lives_at_level(found)
    assert not lives_at_level(dataclasses.replace(found, settings={})), "a displacement of the clean latent"
    assert compose([found, other], [0.5, -0.5]).settings["steps"] == 6
    assert lives_at_level(-found)
    assert lives_at_level(compose([found, other], [0.5, -0.5]))
    worded = find_direction(mixed, mixed.backbone.embed(["c"]), HSDS(steps=2), seed=0)
    assert not lives_at_level(worded)
    assert not lives_at_level(dataclasses.replace(worded, source_captions=(), target_captions=()))


def test_random_directions_are_units_of_their_own(mixed: JointLatent) -> None:
    found = random_units(mixed, 2, seed=2)
    assert torch.allclose(found.norm(dim=1), torch.ones(2, dtype=found.dtype))
    assert torch.equal(found[1:], random_units(mixed, 1, seed=2, first=1))
    assert all(abs(float(found[0] @ other)) < 0.9 for other in (found[1], random_units(mixed, 1, seed=3)[0]))
    many = random_units(mixed, 300, seed=0)
    spread = many.T @ many / len(many) * 6  # the identity, for directions that prefer none
    assert float((spread - torch.eye(6)).abs().max()) < 0.35  # 4 standard deviations of 1.1 / sqrt(300) at most


def test_levels_outside_the_range_are_refused(mixed: JointLatent) -> None:
    for level in (0.0, -0.5, 1.5):
        with pytest.raises(ConfigError):
            direction_at(mixed, displacement(1), level=level, method="by hand", settings={})

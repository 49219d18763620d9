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
from latentedit.core.geometry.angles import principal_angles
from latentedit.core.rng import draw
from latentedit.directions.at_level import LEAST_SHARE
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.registry import load
from latentedit.testing.miniatures.flow import miniature_sd3
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


def test_cost_is_counted_and_notes_are_passed_on(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way up of as many steps as there are levels, a look at the feature, and two evaluations a product."""

    def refuse(*_: object) -> None:
        raise NotImplementedError("no tangent rule")

    told = list[str]()
    with latent.backbone.count() as cost:
        found = local_basis(latent, rank=1, level=0.6, steps=4, progress=lambda what, *_: told.append(what))
    steps = latent.path(4, 0.6).steps
    assert found.evaluations == cost.evaluations == steps + 1 + 2 * found.products
    assert told.count("integrate") == steps
    assert told.count("basis") == found.iterations
    monkeypatch.setattr(forward_ad, "make_dual", refuse)
    again = local_basis(latent, rank=1, level=0.6, steps=4)
    assert again.singular_values.tolist() == pytest.approx(found.singular_values.tolist(), rel=1e-4)
    assert again.notes[0].endswith("(no tangent rule); used two reverse passes")
    assert again.direction(0).notes == again.notes
    assert "not settled" in dataclasses.replace(found, converged=False).notes[0]


def test_a_direction_moves_the_latent_at_its_level_by_its_step(latent: JointLatent, basis: LocalBasis) -> None:
    direction = basis.direction(1, step=2.5)
    assert torch.allclose((1 - 0.6) * direction.z, 2.5 * basis.v[1:2])
    assert not bool(direction.condition.tokens.any() or direction.condition.pooled.any())
    assert (direction.level, direction.method, direction.source_captions) == (0.6, "pullback", (CAPTION,))
    assert direction.feature is not None
    assert torch.equal(direction.feature, basis.u[1])
    assert direction.settings["singular_value"] == pytest.approx(float(basis.singular_values[1]))
    told = {"site": "mid", "level": 0.6, "index": 1, "rank": 2, "seed": 0, "prompt": CAPTION, "steps": 4, "step": 2.5}
    assert direction.settings.items() >= told.items()
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    for index in (-1, 2):
        with pytest.raises(ConfigError, match="the last one is 1"):
            basis.direction(index)


def test_text_level_start_and_seed_of_a_basis(latent: JointLatent, basis: LocalBasis) -> None:
    """The text is not that of the way up, which is the picture's own."""
    top = local_basis(latent, rank=1, level=1.0, steps=2)
    assert torch.allclose(LEAST_SHARE * top.direction(0).z, top.v)
    empty = local_basis(latent, rank=2, level=0.6, steps=4, prompt="")
    assert torch.equal(empty.trace.top, basis.trace.top)
    assert (empty.prompt, basis.prompt) == ("", CAPTION)
    assert torch.equal(empty.condition.tokens, latent.backbone.embed([""]).tokens)
    assert not torch.allclose(empty.singular_values, basis.singular_values, rtol=1e-4)
    warm = local_basis(latent, rank=2, level=0.6, steps=4, warm=basis)
    assert warm.iterations < basis.iterations
    assert degrees_between(warm, basis.v) <= 0.5
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


def test_what_is_left_without_another_basis_is_orthogonal_to_it(latent: JointLatent, basis: LocalBasis) -> None:
    outer = local_basis(latent, site="clean", rank=3, level=0.6, steps=4)
    left = basis.without(outer)
    assert left.direction(0).feature is None, "u is what the vector made before"
    with pytest.raises(ConfigError, match="projected"):
        left.check_whole()
    flat, own, others = (one.v.flatten(1) for one in (left, basis, outer))
    assert torch.allclose(flat @ others.T, torch.zeros(2, 3, dtype=torch.float64), atol=1e-12)
    projected = own - own @ others.T @ others
    assert torch.allclose(torch.nn.functional.normalize(projected, dim=1), flat, atol=1e-9)
    with pytest.raises(ConfigError, match="lies within"):
        outer.without(outer)
    with pytest.raises(ConfigError, match="different pictures or levels"):
        basis.without(dataclasses.replace(outer, level=0.5))


@pytest.mark.slow
def test_bad_requests_are_refused_and_masks_are_reduced(latent: JointLatent, tmp_path: Path) -> None:
    model = load(miniature_sd3(tmp_path / "sd3", t5=False, channels=4), device="cpu")
    text = model.embed(["a"])
    z = draw((1, 4, 8, 8), seed=0, purpose="tests")
    picture = JointLatent(backbone=model, z=z, condition=text, captions=("a",))
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:8, 4:12] = True
    found = local_basis(picture, site="clean", rank=1, level=0.6, steps=2, mask=mask)
    assert found.u.shape == (1, 4, 2 * 4)
    assert torch.equal(local_basis(picture, site="clean", rank=1, level=0.6, steps=2, mask=mask[::2, ::2]).u, found.u)
    cases: list[tuple[JointLatent, dict[str, Any], str]] = [
        *((latent, {"level": level}, r"^level must be") for level in (0.0, -1.0, 1.5, math.nan)),
        (latent, {"rank": 0}, "rank"),
        (picture, {"site": "block.0.image", "pooling": "space", "rank": 17, "steps": 2}, "from 1 to 16"),
        (mixture_latent(two_modes(), 2), {}, "one picture"),
    ]
    for asked, wanted, words in cases:
        with pytest.raises((ConfigError, ShapeError), match=words):
            local_basis(asked, **wanted)

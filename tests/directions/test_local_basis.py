import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import ConfigError, ModelError, ShapeError
from latentedit.core.geometry.angles import principal_angles
from latentedit.core.rng import draw
from latentedit.directions.at_level import LEAST_SHARE
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit.models.registry import load
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.testing.miniature import miniature_sd3
from tests.directions.mixtures import mixture_latent, two_modes

CAPTION = "face with beard"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature_sd3(tmp_path_factory.mktemp("basis") / "sd3", t5=False, channels=4)


@pytest.fixture(scope="module")
def latent(folder: Path) -> JointLatent:
    return latent_of(load(folder, device="cpu"))


def latent_of(backbone: StableDiffusion3Backbone) -> JointLatent:
    z = draw((1, 4, 8, 8), seed=0, purpose="tests")
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([CAPTION]), captions=(CAPTION,))


@pytest.fixture(scope="module")
def basis(latent: JointLatent) -> LocalBasis:
    return local_basis(latent, site="block.0.image", rank=3, level=0.6, steps=4)


@pytest.mark.nightly
def test_the_basis_is_that_of_the_whole_jacobian(latent: JointLatent, basis: LocalBasis) -> None:
    """At the point where `invert` ends, against LAPACK on all 256 columns."""
    trace = invert(latent, latent.path(4, 0.6))
    assert basis.level == trace.levels[-1] == 0.6
    assert torch.equal(basis.trace.top, trace.top)
    feature = FeatureMap(
        backbone=latent.backbone, site="block.0.image", level=0.6, condition=latent.backbone.embed([CAPTION])
    )
    jacobian = FeatureJacobian(feature, trace.top, rows=64)
    dense = jacobian.matmat(torch.eye(256).reshape(256, 4, 8, 8)).flatten(1).T.double()
    _, s, vh = torch.linalg.svd(dense, full_matrices=False)
    assert basis.converged
    assert basis.notes == ()
    assert basis.singular_values.tolist() == pytest.approx(s[:3].tolist(), rel=1e-4)
    assert math.degrees(float(principal_angles(basis.v.flatten(1), vh[:3]).max())) <= 0.25
    assert len(basis) == 3
    assert basis.u.shape == (3, *jacobian.out_shape)
    image = (basis.v.flatten(1).double() @ dense.T).reshape(basis.u.shape).float()
    assert torch.allclose(image, basis.singular_values[:, None, None] * basis.u, atol=1e-4 * float(s[0]))
    assert bool((basis.residuals < 0.01).all())


@pytest.mark.nightly
def test_cost_is_counted_and_notes_are_passed_on(latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way up of as many steps as there are levels, a look at the feature, and two evaluations a product."""

    def refuse(*_: object) -> None:
        raise NotImplementedError("no tangent rule")

    told = list[str]()
    with latent.backbone.count() as cost:
        found = local_basis(latent, rank=1, level=0.6, steps=4, progress=lambda what, *_: told.append(what))
        steps = latent.path(4, 0.6).steps
    assert found.evaluations == cost.evaluations == steps + 1 + 2 * found.products
    assert found.site == latent.backbone.default_site == "block.1.image"
    assert told.count("integrate") == steps
    assert told.count("basis") == found.iterations
    monkeypatch.setattr(forward_ad, "make_dual", refuse)
    again = local_basis(latent, rank=1, level=0.6, steps=4)
    assert again.singular_values.tolist() == pytest.approx(found.singular_values.tolist(), rel=1e-4)
    assert again.notes[0].endswith("(no tangent rule); used two reverse passes")
    assert again.direction(0).notes == again.notes


def test_a_direction_moves_the_latent_at_its_level_by_its_step(latent: JointLatent, basis: LocalBasis) -> None:
    direction = basis.direction(1, step=2.5)
    assert torch.allclose((1 - 0.6) * direction.z, 2.5 * basis.v[1:2])
    assert not bool(direction.condition.tokens.any() or direction.condition.pooled.any())
    assert direction.level == 0.6
    assert direction.method == "pullback"
    assert direction.source_captions == (CAPTION,)
    assert direction.feature is not None
    assert torch.equal(direction.feature, basis.u[1])
    assert direction.settings["singular_value"] == pytest.approx(float(basis.singular_values[1]))
    told = {"site": "block.0.image", "level": 0.6, "index": 1, "rank": 3, "seed": 0, "prompt": CAPTION, "steps": 4}
    assert direction.settings.items() >= told.items()
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    with pytest.raises(ConfigError, match="the last one is 2"):
        basis.direction(3)


@pytest.mark.nightly
def test_the_text_and_the_level_of_a_basis(latent: JointLatent, basis: LocalBasis) -> None:
    """Not of the way up, which is the picture's own."""
    top = local_basis(latent, rank=1, level=1.0, steps=2)
    assert torch.allclose(LEAST_SHARE * top.direction(0).z, top.v)
    empty = local_basis(latent, site="block.0.image", rank=3, level=0.6, steps=4, prompt="")
    assert torch.equal(empty.trace.top, basis.trace.top)
    assert (empty.prompt, basis.prompt) == ("", CAPTION)
    assert torch.equal(empty.condition.tokens, latent.backbone.embed([""]).tokens)
    assert not torch.allclose(empty.singular_values, basis.singular_values, rtol=1e-4)


@pytest.mark.slow
def test_a_warm_start_saves_products_and_changes_no_space(latent: JointLatent, basis: LocalBasis) -> None:
    again = local_basis(latent, site="block.0.image", rank=3, level=0.6, steps=4, warm=basis)
    assert again.converged
    assert again.products < basis.products
    assert math.degrees(float(principal_angles(again.v.flatten(1), basis.v.flatten(1)).max())) <= 0.5


def test_the_top_of_a_mixtures_denoiser_points_from_mode_to_mode() -> None:
    """Half way between two narrow modes, what the clean estimate depends on most is which mode it is."""
    backbone = two_modes()
    one = mixture_latent(backbone, 1, condition=backbone.embed([""]))
    still = dataclasses.replace(one, z=torch.zeros_like(one.z))
    found = local_basis(still, site="clean", rank=1, level=0.7, prompt="")
    assert abs(float(found.v[0, 0])) > 0.99
    assert torch.allclose(found.u, found.v, atol=1e-3)


@pytest.mark.nightly
def test_masks_and_their_null_space(latent: JointLatent) -> None:
    """What is left after the projection is orthogonal to the other basis and changes the outside less."""
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:8, 4:12] = True

    def within(inside: Tensor, rank: int) -> LocalBasis:
        return local_basis(latent, site="clean", rank=rank, level=0.6, steps=4, mask=inside)

    inner = within(mask, 2)
    assert inner.u.shape == (2, 4, 2 * 4)
    outer = within(~mask, 4)
    left = inner.without(outer)
    assert inner.direction(0).feature is not None
    assert left.direction(0).feature is None, "u is what the vector made before"
    flat = left.v.flatten(1)
    assert torch.allclose(flat @ outer.v.flatten(1).T, torch.zeros(2, 4), atol=1e-5)
    assert torch.linalg.vector_norm(flat, dim=1).tolist() == pytest.approx([1, 1])
    projected = inner.v.flatten(1) - inner.v.flatten(1) @ outer.v.flatten(1).T @ outer.v.flatten(1)
    assert torch.allclose(torch.nn.functional.normalize(projected, dim=1), flat, atol=1e-4)
    with pytest.raises(ConfigError, match="lies within"):
        outer.without(outer)
    with pytest.raises(ConfigError, match="different pictures or levels"):
        inner.without(dataclasses.replace(outer, level=0.5))


def test_bad_requests_are_refused(latent: JointLatent) -> None:
    pair, whole, odd = mixture_latent(two_modes(), 2), torch.ones(8, 8).bool(), torch.ones(9, 9).bool()
    for picture, wanted, words in (
        *((latent, {"level": level}, r"^level must be") for level in (0.0, -1.0, 1.5, math.nan)),
        (latent, {"rank": 0}, "rank"),
        (latent, {"site": "block.0.imge"}, r"did you mean 'block\.0\.image'"),
        (latent, {"site": "block.0.image", "pooling": "space", "rank": 17, "steps": 2}, "from 1 to 16"),
        (pair, {}, "one picture"),
        (latent, {"site": "clean", "mask": odd}, "whole multiples"),
        (latent, {"mask": whole}, "whole picture"),
    ):
        with pytest.raises((ConfigError, ShapeError), match=words):
            local_basis(picture, **wanted)


@pytest.mark.slow
def test_weights_that_are_not_numbers_are_told(folder: Path) -> None:
    broken = load(folder, device="cpu")
    assert isinstance(broken, StableDiffusion3Backbone)
    with torch.no_grad():
        next(iter(broken._network.parameters())).fill_(torch.nan)
    with pytest.raises(ModelError, match="Check its weights"):
        local_basis(latent_of(broken), rank=1, steps=2)

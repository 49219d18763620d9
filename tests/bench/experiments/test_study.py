"""Bases of pictures: computed once, of the trained and of an untrained network."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.core.geometry.angles import principal_angles
from latentedit.directions.local_basis import local_basis
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_ddpm
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.untrained import untrained_twin
from tests.bench.experiments.gaussians import gaussian, small_study, study_of


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load(miniature_ddpm(tmp_path_factory.mktemp("models") / "pixels"), device="cpu")


def _pictures(backbone: Backbone, count: int = 2) -> list[Image.Image]:
    side = backbone.capabilities.sizes[1]
    return [Image.new("RGB", (side, side), (40 * index, 90, 200 - 30 * index)) for index in range(count)]


def test_pictures_are_looked_at_under_no_text_at_the_models_levels(backbone: Backbone) -> None:
    study = Study.of(backbone, _pictures(backbone), levels=(0.3, 1.0, 0.6), rank=2)
    assert len(study) == 2
    assert study.levels == (backbone.grid(28).levels[0], 0.6, 0.3)
    assert [latent.captions for latent in study.latents] == [("",), ("",)]
    assert study.site == backbone.default_site
    assert len(set(study.settings["pictures"])) == 2


@pytest.mark.parametrize(
    ("count", "change", "expected"),
    [
        *((2, {"levels": levels}, "the levels are") for levels in ((), (0.5, 0.0), (1.5,))),
        (2, {"site": "mids"}, "did you mean 'mid'"),
        (3, {}, "of several sizes"),
    ],
)
def test_what_cannot_be_studied_is_refused(
    backbone: Backbone, count: int, change: dict[str, Any], expected: str
) -> None:
    side, multiple = backbone.capabilities.sizes[1], backbone.capabilities.size_multiple
    pictures = [*_pictures(backbone), Image.new("RGB", (2 * side, side + multiple))]
    with pytest.raises(ConfigError, match=expected):
        Study.of(backbone, pictures[:count], **change)


@pytest.mark.slow
def test_a_basis_is_computed_once_and_another_one_has_another_file(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By searches that need not arrive."""
    monkeypatch.setattr("latentedit_bench.experiments.study._PRODUCTS", 4)
    study = Study.of(backbone, _pictures(backbone), levels=(0.5,), rank=2, site="clean", steps=3, folder=tmp_path)
    first = study.basis(0, 0.5)
    files = list(tmp_path.iterdir())
    with backbone.count() as cost:
        again = study.basis(0, 0.5)
    assert cost.evaluations == 0
    assert list(tmp_path.iterdir()) == files
    for name in ("u", "v", "singular_values", "residuals"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    assert torch.equal(first.trace.top, again.trace.top)
    assert first.level == first.trace.levels[-1]
    same = ("level", "site", "prompt", "seed", "iterations", "products", "evaluations", "converged")
    assert [getattr(first, name) for name in same] == [getattr(again, name) for name in same]
    study.basis(1, 0.5)
    study.basis(0, 0.4)
    dataclasses.replace(study, rank=1).basis(0, 0.5)
    dataclasses.replace(study, seed=1).basis(0, 0.5)
    study.basis(0, 0.5, prompt="a word")
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.nightly
def test_a_basis_is_that_of_the_library(backbone: Backbone) -> None:
    """Another search, at the same latent: two spaces within 1 and 0.25 degrees of the truth."""
    study = Study.of(backbone, _pictures(backbone, 1), levels=(0.5,), rank=2, site="clean", steps=3)
    found = study.basis(0, 0.5)
    other = local_basis(study.latents[0], site="clean", rank=2, level=0.5, prompt="", steps=3)
    assert torch.equal(found.trace.top, other.trace.top)
    assert float(principal_angles(found.v, other.v).max()) < math.radians(1.25)
    walkable = study.walkable(found)
    assert walkable.trace.levels == other.trace.levels
    assert torch.equal(walkable.trace.top, found.trace.top)


def test_every_picture_has_a_search_of_its_own() -> None:
    """Where nothing distinguishes directions, two pictures' bases have nothing in common but by chance."""
    study = study_of(flat(), 2, levels=(0.9, 0.6), rank=1)
    one, other = (study.basis(picture, 0.6).v.flatten() for picture in range(2))
    assert abs(float(one @ other)) < 0.99


def test_an_untrained_network_is_looked_at_where_the_trained_one_went() -> None:
    study, twin = small_study(2), flat()
    with study.backbone.count() as way, twin.count() as looks:
        found = study.untrained(twin).basis(1, 0.6)
    assert torch.equal(found.trace.top, study.basis(1, 0.6).trace.top)
    assert way.evaluations == len(study.latents[1].path(study.steps, 0.6).levels) - 1
    assert looks.evaluations == found.evaluations - way.evaluations > 0
    assert found.latent.backbone is twin
    assert found.singular_values.tolist() == pytest.approx([0.4 / (0.16 + 0.36)] * 2), "of unit variance everywhere"


def flat() -> Backbone:
    """One Gaussian of unit variance in every direction."""
    return gaussian(torch.ones(6), torch.eye(6), (6,))


def weights(model: object) -> dict[str, torch.Tensor]:
    return model._network.state_dict()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["pixels-discs", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("portraits", "portraits-unet"))]
)
def test_a_twin_is_the_same_network_with_other_weights(name: str) -> None:
    """The same seed gives the same weights, another one others; texts, codec and schedule are the model's own."""
    model, *twins = load(name, device="cpu"), *(untrained_twin(name, seed=seed, device="cpu") for seed in (20, 20, 21))
    twin, trained, (first, same, other) = twins[0], weights(model), map(weights, twins)
    assert {key: value.shape for key, value in trained.items()} == {key: value.shape for key, value in first.items()}
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    drawn = [key for key, value in first.items() if value.ndim > 1 and "pos_embed" not in key]
    assert drawn
    assert not any(torch.equal(first[key], trained[key]) or torch.equal(first[key], other[key]) for key in drawn)
    assert twin.grid(28).levels == model.grid(28).levels
    assert (twin.sites, twin.default_site) == (model.sites, model.default_site)
    assert torch.equal(twin.embed(["a person"]).tokens, model.embed(["a person"]).tokens)
    z = model.encode(torch.zeros(1, 3, *[64 if name.startswith("pixels") else 128] * 2))
    s = torch.tensor([0.5])
    assert not torch.allclose(twin.velocity(z, s, twin.embed([""])), model.velocity(z, s, model.embed([""])))
    assert (twin.name, twin.fingerprint != model.fingerprint) == (f"{name}, untrained", True)

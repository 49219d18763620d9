import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_ddpm
from latentedit_bench.experiments.study import Study
from tests.bench.experiments.gaussians import small_study


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


def test_a_basis_is_computed_once_and_comes_back_from_its_file(backbone: Backbone, tmp_path: Path) -> None:
    study = Study.of(backbone, _pictures(backbone, 1), levels=(0.5,), rank=2, site="clean", steps=3, folder=tmp_path)
    first = study.basis(0, 0.5)
    files = list(tmp_path.iterdir())
    with backbone.count() as cost:
        again = study.basis(0, 0.5)
    assert cost.evaluations == len(study.latents[0].path(3, 0.5).levels) - 1, "the inversion only"
    assert list(tmp_path.iterdir()) == files
    for name in ("u", "v", "singular_values", "residuals"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    assert torch.equal(first.trace.top, again.trace.top)
    same = ("level", "site", "prompt", "seed", "iterations", "products", "evaluations", "converged")
    assert [getattr(first, name) for name in same] == [getattr(again, name) for name in same]


def test_another_place_or_seed_is_another_basis(backbone: Backbone, tmp_path: Path) -> None:
    study = Study.of(backbone, _pictures(backbone), levels=(0.5,), rank=1, site="clean", steps=3, folder=tmp_path)
    study.basis(0, 0.5)
    study.basis(1, 0.5)
    study.basis(0, 0.4)
    dataclasses.replace(study, rank=2).basis(0, 0.5)
    study.basis(0, 0.5, seed=1)
    study.basis(0, 0.5, prompt="a word")
    assert len(list(tmp_path.iterdir())) == 6


def test_bare_latents_can_be_studied_and_told_apart() -> None:
    study = small_study(2)
    assert len(set(study.settings["pictures"])) == 2
    assert study.settings["pictures"] == small_study(2).settings["pictures"]
    assert study.basis(0, 0.6).v.shape == (2, 6)

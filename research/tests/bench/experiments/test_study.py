"""Bases of trained and untrained networks; curves along their tangent spaces, and lengths of other curves."""

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from latentedit import Backbone, load, local_basis
from latentedit.encoding import invert
from latentedit.geometry import principal_angles, slerp
from latentedit.models import FeatureMap
from latentedit_bench.experiments.curvedness import curvedness
from latentedit_bench.experiments.experiment import Context, Row
from latentedit_bench.experiments.images import BASES, Images, untrained_twin
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import fitted_rank
from research.tests.bench.experiments.gaussians import gaussian, small_study, study_of
from tests.miniatures.noise import miniature_ddpm
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load(miniature_ddpm(tmp_path_factory.mktemp("models") / "pixels"), device="cpu")


def images_of(backbone: Backbone, count: int = 2) -> list[Image.Image]:
    side = backbone.capabilities.sizes[1]
    return [Image.new("RGB", (side, side), (40 * index, 90, 200 - 30 * index)) for index in range(count)]


def test_images_are_inverted_without_text_at_the_models_levels(backbone: Backbone) -> None:
    study = Study.of(backbone, images_of(backbone), levels=(0.3, 1.0, 0.6), rank=2)
    assert len(study) == 2
    assert study.levels == (backbone.grid(28).levels[0], 0.6, 0.3)
    assert [latent.captions for latent in study.latents] == [("",), ("",)]
    assert study.site == backbone.default_site


@pytest.mark.slow
def test_equal_images_have_searches_of_their_own(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentedit_bench.experiments.study._PRODUCTS", 2)
    images = [images_of(backbone)[0]] * 2
    study = Study.of(backbone, images, levels=(0.5,), rank=2, site="clean", steps=3, folder=tmp_path)
    for image in range(2):
        basis = study.basis(image, 0.5)
        alone = dataclasses.replace(study, folder=None).basis(image, 0.5)
        assert (len([*tmp_path.iterdir()]), basis.seed) == (image + 1, image)
        assert torch.equal(basis.v, alone.v)


@pytest.mark.slow
def test_a_basis_is_computed_once_and_another_one_has_another_file(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches need not converge here."""
    monkeypatch.setattr("latentedit_bench.experiments.study._PRODUCTS", 2)
    study = Study.of(backbone, images_of(backbone), levels=(0.5,), rank=2, site="clean", steps=3, folder=tmp_path)
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
    study = Study.of(backbone, images_of(backbone, 1), levels=(0.5,), rank=2, site="clean", steps=3)
    found = study.basis(0, 0.5)
    other = local_basis(study.latents[0], site="clean", rank=2, level=0.5, prompt="", steps=3)
    assert torch.equal(found.trace.top, other.trace.top)
    assert float(principal_angles(found.v, other.v).max()) < math.radians(1.25)
    walkable = study.walkable(found)
    assert walkable.trace.levels == other.trace.levels
    assert torch.equal(walkable.trace.top, found.trace.top)


def test_every_image_has_a_search_of_its_own() -> None:
    """Where nothing distinguishes directions, two images' bases have nothing in common but by chance."""
    study = study_of(flat(), 2, levels=(0.9, 0.6), rank=1)
    one, other = (study.basis(image, 0.6).v.flatten() for image in range(2))
    assert abs(float(one @ other)) < 0.99


def test_an_untrained_network_is_analyzed_at_the_latents_of_the_trained_one() -> None:
    study, twin = small_study(2), flat()
    with study.backbone.count() as way, twin.count() as looks:
        found = study.untrained(twin).basis(1, 0.6)
    assert torch.equal(found.trace.top, study.basis(1, 0.6).trace.top)
    assert way.evaluations == len(study.latents[1].path(study.steps, 0.6).levels) - 1
    assert looks.evaluations == found.evaluations - way.evaluations > 0
    assert found.latent.backbone is twin
    assert found.singular_values.tolist() == pytest.approx([0.4 / (0.16 + 0.36)] * 2), "of unit variance everywhere"


def test_the_papers_go_up_to_the_top_and_back_down() -> None:
    """Euler steps through the same levels are written out."""
    study = small_study(1)
    latent, found = study.latents[0], dataclasses.replace(study, inversion="top").basis(0, 0.6).trace
    trace = invert(latent, latent.path(study.steps, 1.0))
    z, down = trace.top, [*(level for level in reversed(trace.levels) if level > 0.6), 0.6]
    for s, after in itertools.pairwise(down):
        z = z + (after - s) * latent.backbone.velocity(z, torch.tensor([s]).double(), latent.condition)
    assert torch.allclose(found.top, z, atol=1e-12)
    assert relative_error(found.top, study.basis(0, 0.6).trace.top) > 1e-3


def flat() -> Backbone:
    """One Gaussian of unit variance in every direction."""
    return gaussian(torch.ones(6), torch.eye(6), (6,))


def weights(model: object) -> dict[str, torch.Tensor]:
    return model._network.state_dict()


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


def test_a_network_and_its_twin_are_measured_at_what_the_function_names(tmp_path: Path) -> None:
    source = Images(models=("pixels-discs",), images=2, levels=(0.9, 0.5), rank=1, steps=3)
    at = Context(folder=tmp_path / "it", command="", device="cpu")

    def look(study: Study, level: float) -> list[Row]:
        assert (study.rank, study.steps, study.pooling, study.folder) == (1, 3, "none", tmp_path / BASES)
        return [{"images": len(study), "model's": study.backbone.name}]

    assert source.units(lambda image: image, at) == [("pixels-discs", 0), ("pixels-discs", 1)]
    units = source.units(look, at)
    assert units == [("pixels-discs", 0.9), ("pixels-discs", 0.5)]
    about = {"model": "pixels-discs", "level": 0.9, "images": 2}
    names = {"trained": "pixels-discs", "untrained": "pixels-discs, untrained"}
    assert list(source.measure(look, units[0], at)) == [
        {**about, "network": network, "model's": name} for network, name in names.items()
    ]
    assert len(list(dataclasses.replace(source, twins=False).measure(look, units[0], at))) == 1


def looked(study: Study, image: int = 0) -> dict[tuple[str, str], Row]:
    rows = curvedness.function(study, 0.5, image, segments=3, tangents=2, descents=5)
    return {(row["ends"], row["method"]): row for row in rows}


def test_ends_have_a_noise_of_their_own() -> None:
    """Noises of many numbers are nearly at a right angle: the cosine has the deviation 1 / sqrt(400)."""
    study = study_of(gaussian(torch.ones(1), torch.eye(400)[:1], (400,)), 2, levels=(0.95,), rank=1)
    ends = [study.noised(image, 0.95) for image in range(2)]
    noises = [(end - 0.05 * study.latents[index].z[0]) / 0.95 for index, end in enumerate(ends)]
    assert float(torch.cosine_similarity(*noises, dim=0).abs()) < 4 / 20
    assert [float(noise.square().mean()) for noise in noises] == pytest.approx([1, 1], abs=5 * (2 / 400) ** 0.5)


@pytest.mark.slow
def test_nothing_turns_in_a_flat_space_and_untrained_networks_have_lines_and_arcs() -> None:
    """The map of one Gaussian is linear: tangent spaces are one, and nothing beats a line."""
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    study = study_of(backbone, 3, levels=(0.5,), rank=3)
    rows = looked(study)
    shot = [("shot", method) for method in ("shooting", "lerp", "slerp")]
    assert list(rows) == [*(("pair", method) for method in ("lerp", "slerp", "geodesic")), *shot]
    for key, row in rows.items():
        # bases are within 1 degree of the truth, so two are within 2 of one another, in both of two angles
        assert (row["semantic"] is None) is (key[1] == "geodesic")
        assert (row["semantic"] or 0) <= 3 * 2**0.5 * 2 * 0.0175
        assert row["feature"] >= (1 - 1e-9 if key[1] != "geodesic" else 1 - 1e-3)
    assert [rows[ends, "lerp"]["feature"] for ends in ("pair", "shot")] == [1, 1]
    assert rows["pair", "geodesic"]["feature"] == pytest.approx(1, abs=1e-3)
    assert list(looked(study.untrained(backbone))) == [("pair", "lerp"), ("pair", "slerp")]
    assert looked(study, 1) == looked(study, 2) == {}, "pairs share no image, and the last one has no other"


@pytest.mark.slow
def test_the_fitted_rank_makes_half_of_the_energy_and_a_twin_has_that_of_its_network() -> None:
    """One variance of nine makes most of it; of eight equal ones, four make half."""
    one = gaussian(torch.tensor([9.0]), torch.eye(8)[:1], (8,))
    study = dataclasses.replace(study_of(one, 2, levels=(0.6,), rank=4), ranks="energy")
    equal = gaussian(torch.ones(8), torch.eye(8), (8,))
    assert [fitted_rank(some, 0.6) for some in (study, study.untrained(equal))] == [1, 1]
    assert fitted_rank(dataclasses.replace(study, backbone=equal), 0.6) == 4
    by_rule, by_hand = (list(curvedness.function(study, 0.6, 0, segments=2, tangents=rank)) for rank in (None, 1))
    assert by_rule == by_hand


@pytest.mark.slow
def test_lengths_in_a_curved_space_are_those_of_the_whole_jacobian() -> None:
    """Lengths of the arc between two images, from the Jacobians at its four points."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=2)
    rows = looked(study)
    feature = FeatureMap(backbone=study.backbone, site="clean", level=0.5, condition=study.backbone.embed([""]))
    ends = [study.noised(image, 0.5) for image in range(2)]
    points = slerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64))
    spaces, values = list[torch.Tensor](), feature(points).detach()
    for point in points:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, torch.Tensor)
        spaces.append(torch.linalg.svd(jacobian)[0].T[:2])
    turns = sum(float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces))
    assert turns > 0.05
    assert rows["pair", "slerp"]["semantic"] == pytest.approx(turns, abs=3 * 2**0.5 * 2 * 0.0175)
    line = feature(torch.lerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64)[:, None])).detach()
    length, unit = (sum(float((b - a).norm()) for a, b in itertools.pairwise(curve)) for curve in (values, line))
    assert rows["pair", "slerp"]["feature"] == pytest.approx(length / unit, rel=1e-9)
    assert rows["pair", "geodesic"]["feature"] <= min(1, length / unit)

"""Lengths of curves in flat and in curved spaces, against autograd and LAPACK."""

import itertools

import pytest
import torch

from latentedit.core.geometry.angles import principal_angles
from latentedit.core.geometry.interpolation import slerp
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.curvedness import curvedness
from latentedit_bench.experiments.experiment import Row
from latentedit_bench.experiments.study import Study
from tests.bench.experiments.gaussians import gaussian, study_of


def looked(study: Study, picture: int = 0) -> dict[tuple[str, str], Row]:
    rows = curvedness.look(study, 0.5, picture, segments=3, tangents=2, descents=15)
    return {(row["ends"], row["method"]): row for row in rows}


def test_ends_have_a_noise_of_their_own() -> None:
    """Of many numbers, near noise: nearly at a right angle, 1 / sqrt(400) of the cosine."""
    study = study_of(gaussian(torch.ones(1), torch.eye(400)[:1], (400,)), 2, levels=(0.95,), rank=1)
    ends = [study.noised(picture, 0.95) for picture in range(2)]
    noises = [(end - 0.05 * study.latents[index].z[0]) / 0.95 for index, end in enumerate(ends)]
    assert float(torch.cosine_similarity(*noises, dim=0).abs()) < 4 / 20
    assert [float(noise.square().mean()) for noise in noises] == pytest.approx([1, 1], abs=5 * (2 / 400) ** 0.5)


@pytest.mark.slow
def test_nothing_turns_in_a_flat_space_and_an_untrained_network_has_lines_and_arcs() -> None:
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
    assert looked(study, 1) == looked(study, 2) == {}, "pairs share no picture, and the last one has no other"


def test_lengths_in_a_curved_space_are_those_of_the_whole_jacobian() -> None:
    """Of the arc between two pictures, at its four points."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=2)
    rows = looked(study)
    feature = FeatureMap(backbone=study.backbone, site="clean", level=0.5, condition=study.backbone.embed([""]))
    ends = [study.noised(picture, 0.5) for picture in range(2)]
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

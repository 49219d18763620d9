"""Lengths of segments along curves, under metrics that are known."""

import math

import pytest
import torch

from latentedit.geometry import lerp, slerp, speeds
from latentedit_bench.experiments.segment_lengths import log_ends, profile, thirds
from research.tests.bench.experiments.gaussians import gaussian, study_of
from tests.geometry.examples import random_normal, random_orthogonal

WEIGHTS = torch.linspace(0, 1, 13, dtype=torch.float64)


def test_segments_of_lerp_are_equal_under_a_linear_map_and_those_of_slerp_on_a_sphere() -> None:
    a, b = random_normal(5), random_normal(5, seed=1)
    straight = speeds(lerp(a, b, WEIGHTS) @ random_normal(5, 4, seed=2))
    assert straight.tolist() == pytest.approx([float(straight[0])] * 12, rel=1e-10)
    assert log_ends(straight) == pytest.approx(0, abs=1e-10)
    plane = random_orthogonal(5)[:2]
    arc = slerp(plane[0], math.cos(1.2) * plane[0] + math.sin(1.2) * plane[1], WEIGHTS)
    assert speeds(arc).tolist() == pytest.approx([2 * math.sin(0.05)] * 12, rel=1e-10)
    chord = lerp(arc[0], arc[-1], WEIGHTS)
    angles = speeds(chord / chord.norm(dim=1, keepdim=True))
    assert log_ends(angles) < -0.1, "on the sphere a chord is fast in its middle"


def test_outer_segments_are_a_third_and_middle_ones_another() -> None:
    lengths = torch.tensor([8.0, 6, 1, 1, 3, 5, 3, 5, 1, 1, 2, 4])
    assert thirds(lengths) == (5.0, 4.0)
    assert log_ends(lengths) == pytest.approx(math.log(5 / 4))


def test_rows_of_a_linear_feature() -> None:
    """The clean estimate of one Gaussian is linear: lerp is its own geodesic, and its segments are equal."""
    study = study_of(gaussian(torch.tensor([4.0, 1.0, 0.3]), torch.eye(6)[:3], (6,)), 4, levels=(0.9,), rank=1)
    rows = list(profile.function(study, 0.9, 2, segments=6, turns=3, turned=2, descents=15))
    assert list(profile.function(study, 0.9, 1)) == []
    methods = ["lerp", "slerp", "geodesic"]
    ends, total = ({row["method"]: row[name] for row in rows if name in row} for name in ("ends", "total"))
    assert list(ends) == list(total) == methods
    assert ends["lerp"] == pytest.approx(0, abs=1e-9)
    assert total["slerp"] > total["geodesic"] == pytest.approx(1, abs=1e-2)
    lengths = {
        method: {row["position along the curve"]: row["length"] for row in rows if _is(row, method, "length")}
        for method in methods
    }
    assert list(lengths["lerp"]) == pytest.approx([(k + 0.5) / 6 for k in range(6)], abs=1e-6)
    assert list(lengths["lerp"].values()) == pytest.approx([1] * 6, rel=1e-9)
    for method in methods:
        assert sum(lengths[method].values()) / 6 == pytest.approx(total[method])
    excess = {(row["method"], row["part"]): row["excess"] for row in rows if "excess" in row}
    assert excess["geodesic", "outer"] == excess["geodesic", "middle"] == 0
    assert excess["lerp", "middle"] == pytest.approx(2 / sum(list(lengths["geodesic"].values())[2:4]) - 1)
    semantic = {row["method"]: row["semantic"] for row in rows if "semantic" in row}
    assert list(semantic) == methods
    assert max(semantic.values()) < 0.11, "one tangent space, found three times to one degree at each end"
    later = profile.function(study, 0.9, 2, segments=6, turned=1, descents=1)
    assert not [row for row in later if "semantic" in row]
    twin = study.untrained(gaussian(torch.tensor([1.0]), torch.eye(6)[3:4], (6,)))
    assert {row["method"] for row in profile.function(twin, 0.9, 0, segments=6)} == {"lerp", "slerp"}


def _is(row: dict[str, object], method: str, column: str) -> bool:
    return row["method"] == method and column in row

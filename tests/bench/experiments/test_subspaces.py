"""Distances between tangent spaces against SciPy, the rank that the spectrum supports, and what is compared."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles

from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.pictures import at_fitted_rank
from latentedit_bench.experiments.samples import samples
from latentedit_bench.experiments.subspaces import RANKS, compared, gaps
from latentedit_bench.experiments.trajectory import trajectory
from tests.bench.experiments.gaussians import gaussian, study_of


def test_distances_are_those_of_scipy_for_all_pairs_and_ranks() -> None:
    """In features and in latents."""
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(3)]
    rows = list(samples.look(study, 0.5))
    assert [(row["space"], row["rank"], row["first"], row["second"]) for row in rows] == [
        (space, rank, *pair) for space in "hx" for rank in (1, 2) for pair in itertools.combinations(range(3), 2)
    ]
    for row in rows:
        sets = [bases[row["first"]], bases[row["second"]]]
        columns = [(one.u if row["space"] == "h" else one.v)[: row["rank"]].numpy().T for one in sets]
        # sqrt(eps) is what an arc cosine near 1 can lose.
        expected = np.linalg.norm(subspace_angles(*columns)) / (math.pi / 2 * math.sqrt(row["rank"]))
        assert row["distance"] == pytest.approx(expected, abs=1e-7)
    assert max(row["distance"] for row in rows) > 0.05


def test_the_null_level_is_that_of_random_subspaces() -> None:
    """Of the plane in eight dimensions, against SciPy on drawn matrices; 400 draws tell the mean to 1 %."""
    study = study_of(example_mixture(dimension=8), 2, levels=(0.5,), rank=2)
    (_, (_, _, found)) = compared([study.basis(picture, 0.5) for picture in range(2)], "h", seed=0)
    generator = np.random.default_rng(0)
    lengths = [np.linalg.norm(subspace_angles(*generator.normal(size=(2, 8, 2)))) for _ in range(400)]
    assert found["null"] == pytest.approx(np.mean(lengths) / (math.pi / 2 * math.sqrt(2)), rel=0.03)


def test_levels_of_one_picture_are_compared_by_how_far_they_are_apart() -> None:
    study = study_of(example_mixture(dimension=6, components=3), 2, levels=(0.9, 0.5, 0.2), rank=1)
    rows = list(trajectory.look(study, 1))
    assert [row["apart"] for row in rows] == pytest.approx([0.4, 0.7, 0.3] * 2)
    assert {row["space"] for row in rows} == {"h", "x"}
    ends = [study.basis(1, level).u.flatten() for level in (0.9, 0.2)]
    expected = math.acos(min(1.0, abs(float(ends[0] @ ends[1])))) / (math.pi / 2)
    assert rows[1]["distance"] == pytest.approx(expected, abs=1e-6)


def test_gaps_are_those_of_the_spectrum() -> None:
    """Two large variances among eight: singular values (1 - s) c / ((1 - s)^2 c + s^2), by which the gaps are known."""
    backbone = gaussian(torch.tensor([4.0, 3.9, 0.3, 0.28, 0.26, 0.25, 0.24]), torch.eye(12)[:7], (12,))
    study = study_of(backbone, 2, levels=(0.5,), rank=7)
    found = gaps([study.basis(picture, 0.5) for picture in range(2)])
    assert tuple(found) == RANKS
    values = torch.tensor([0.5 * c / (0.25 * c + 0.25) for c in (4.0, 3.9, 0.3, 0.28, 0.26)]).log()
    expected = [float(values[rank - 1] - values[rank]) for rank in (1, 2, 4)]
    assert [found[rank] for rank in (1, 2, 4)] == pytest.approx(expected, abs=2e-3)
    assert math.isnan(found[7]), "the next value is not known"


def test_the_rank_is_fitted_to_the_trained_network_of_each_model() -> None:
    """By the mean gap; where no gap is known, the highest rank there is."""
    rows = [
        {"model": model, "network": network, "rank": rank, "gap": gap}
        for model, networks in {
            "two": {"trained": (0.1, 0.5, 0.2), "untrained": (9.0, 0.0, 0.0)},
            "four": {"trained": (0.1, 0.2, 0.5), "untrained": (9.0, 0.0, 0.0)},
            "none": {"trained": (math.nan,), "untrained": (math.nan,)},
        }.items()
        for network, known in networks.items()
        for rank, gap in zip((1, 2, 4), known, strict=False)
    ]
    found = at_fitted_rank(pd.DataFrame(rows))
    assert found[["model", "rank"]].drop_duplicates().to_numpy().tolist() == [["two", 2], ["four", 4], ["none", 1]]
    assert found["network"].tolist() == ["trained", "untrained"] * 3

"""Spectra, frequencies, shared directions, distances and carried directions of models that are known."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles

from latentedit import LocalBasis
from latentedit.numerics import stream
from latentedit_bench.experiments.alignment import alignment
from latentedit_bench.experiments.distances import samples, trajectory
from latentedit_bench.experiments.images import at_fitted_rank
from latentedit_bench.experiments.papers import samples_pooled
from latentedit_bench.experiments.spectrum import frequency, homogeneity, spectrum
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import RANKS, captured, compared, fits
from latentedit_bench.experiments.transport import transport
from latentedit_bench.metrics.vectors import cosine
from research.tests.bench.conftest import Register
from research.tests.bench.experiments.gaussians import gaussian, study_of
from research.tests.bench.experiments.leaning import leaning_basis, wide_model
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray
from tests.testing.gaussian_mixture import example_mixture

VARIANCES = (4.0, 1.0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.5])
def test_the_stable_rank_is_that_of_the_gaussian(level: float) -> None:
    """Singular values of the Jacobian of x_hat are ``(1 - s) c / ((1 - s)^2 c + s^2)``, with ten variances c."""
    study = study_of(gaussian(torch.tensor(VARIANCES), torch.eye(10)[:3], (10,)), 1, levels=(0.9, 0.5), rank=3)
    rows = list(spectrum.function(study, level, 0, probes=300))
    s = [(1 - level) * c / ((1 - level) ** 2 * c + level**2) for c in (*VARIANCES, *[0.01] * 7)]
    assert [row["index"] for row in rows] == [1, 2, 3]
    # Ritz values are right to the square of the angle, 1 degree: 3e-4.
    assert [row["share"] for row in rows] == pytest.approx([value / s[0] for value in s[:3]], rel=1e-3)
    # |J g|^2 has the variance 2 sum s^4, at most 2 squares^2; five standard deviations of the mean of 300: 0.41.
    stable = sum(value**2 for value in s) / s[0] ** 2
    assert 10 ** rows[0]["log_stable_rank"] == pytest.approx(stable, rel=0.42)


def test_the_control_is_the_stable_rank_of_a_random_matrix() -> None:
    """Against the mean of drawn matrices; by Tracy and Widom the largest square is some 4 % smaller at this size."""
    study = study_of(gaussian(torch.tensor(VARIANCES), torch.eye(32)[:3], (32,)), 1, levels=(0.5,), rank=1)
    (row,) = spectrum.function(study, 0.5, 0, probes=1)
    squares = torch.linalg.svdvals(torch.randn(200, 32, 32, generator=stream(0, "tests"))).square()
    assert 10 ** row["random"] == pytest.approx(float((squares.sum(1) / squares[:, 0]).mean()), rel=0.12)


def test_known_waves_are_found_with_their_frequency() -> None:
    """0.25 and 0.75 of Nyquist; bases are found to 1 degree, so power to 3e-4, of frequencies <= 1.5."""
    place = torch.arange(8, dtype=torch.float64)
    v = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    v[0, 0], v[1, 1] = torch.cos(2 * math.pi * place / 8), torch.cos(2 * math.pi * 3 * place / 8)[:, None]
    v /= v.flatten(1).norm(dim=1)[:, None, None, None]
    study = study_of(gaussian(torch.tensor([4.0, 1.0]), v, (2, 8, 8)), 1, levels=(0.9,), rank=2)
    rows = list(frequency.function(study, 0.9, 0))
    assert [(row["rank"], row["centroid"]) for row in rows] == [
        (1, pytest.approx(0.25, abs=1e-3)),  # the first wave
        (2, pytest.approx(0.5, abs=1e-3)),  # the mean of both
    ]
    every = [math.hypot(y, x) / 4 for y in (0, 1, 2, 3, 4, 3, 2, 1) for x in (0, 1, 2, 3, 4, 3, 2, 1)]
    assert [row["white"] for row in rows] == pytest.approx([sum(every) / 64] * 2)
    assert rows[0]["latent_centroid"] == pytest.approx(sum(every) / 64, rel=0.2), "nearly noise"


def test_the_mean_leaves_the_image_out() -> None:
    """Against the means of the others in the whole space: rows are computed in the span of all vectors."""
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    rows = list(homogeneity.function(study, 0.5))
    assert [(row["rank"], row["image"]) for row in rows] == [(rank, image) for rank in (1, 2) for image in range(3)]
    sets = [study.basis(image, 0.5).u for image in range(3)]
    for image in range(3):
        u = torch.linalg.svd(torch.cat([one for index, one in enumerate(sets) if index != image]))[2][:2]
        expected = float((u @ sets[image].T).square().sum(1).mean())
        assert rows[3 + image]["captured"] == pytest.approx(expected, abs=1e-6)
    assert sum(row["random"] for row in rows) < sum(row["captured"] for row in rows)


def test_one_gaussian_shares_all_directions_and_orthogonal_spaces_have_no_mean() -> None:
    """Bases are found to 1 degree, whose cosine is 1 - 2e-4."""
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    rows = list(homogeneity.function(study_of(backbone, 3, levels=(0.5,), rank=2), 0.5))
    assert min(row["captured"] for row in rows) > 1 - 2e-3
    eye = torch.eye(6, dtype=torch.float64)
    assert captured([eye[:2], eye[2:4], eye[4:]], 0) is None


@pytest.mark.slow
def test_distances_are_those_of_scipy_for_all_pairs_and_ranks() -> None:
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    bases = [study.basis(image, 0.5) for image in range(3)]
    rows = list(samples.function(study, 0.5))
    assert [(row["rank"], row["first"], row["second"]) for row in rows] == [
        (rank, *pair) for rank in (1, 2) for pair in itertools.combinations(range(3), 2)
    ]
    for row in rows:
        sets = [bases[row["first"]], bases[row["second"]]]
        columns = [one.u[: row["rank"]].numpy().T for one in sets]
        # sqrt(eps) is what an arc cosine near 1 can lose.
        expected = np.linalg.norm(subspace_angles(*columns)) / (math.pi / 2 * math.sqrt(row["rank"]))
        assert row["distance"] == pytest.approx(expected, abs=1e-7)
    assert max(row["distance"] for row in rows) > 0.05


def test_the_null_level_is_that_of_random_subspaces() -> None:
    """Planes in eight dimensions are compared with SciPy's on drawn matrices; 400 draws tell the mean to 1 %."""
    study = study_of(example_mixture(dimension=8), 2, levels=(0.5,), rank=2)
    (_, (_, _, found)) = compared(study, [study.basis(image, 0.5) for image in range(2)])
    generator = np.random.default_rng(0)
    lengths = [np.linalg.norm(subspace_angles(*generator.normal(size=(2, 8, 2)))) for _ in range(400)]
    assert found["null"] == pytest.approx(np.mean(lengths) / (math.pi / 2 * math.sqrt(2)), rel=0.03)


def test_levels_of_one_image_are_compared_by_how_far_they_are_apart() -> None:
    study = study_of(example_mixture(dimension=6, components=3), 2, levels=(0.9, 0.5, 0.2), rank=1)
    rows = list(trajectory.function(study, 1))
    assert [row["level difference"] for row in rows] == pytest.approx([0.4, 0.7, 0.3])
    ends = [study.basis(1, level).u.flatten() for level in (0.9, 0.2)]
    expected = math.acos(min(1.0, abs(float(ends[0] @ ends[1])))) / (math.pi / 2)
    assert rows[1]["distance"] == pytest.approx(expected, abs=1e-6)


def test_gaps_are_those_of_the_spectrum() -> None:
    """Two large variances among eight: singular values (1 - s) c / ((1 - s)^2 c + s^2), by which the gaps are known."""
    backbone = gaussian(torch.tensor([4.0, 3.9, 0.3, 0.28, 0.26, 0.25, 0.24]), torch.eye(12)[:7], (12,))
    study = study_of(backbone, 2, levels=(0.5,), rank=7)
    found = fits(study, [study.basis(image, 0.5) for image in range(2)])
    assert tuple(found) == RANKS
    values = torch.tensor([0.5 * c / (0.25 * c + 0.25) for c in (4.0, 3.9, 0.3, 0.28, 0.26)]).log()
    expected = [float(values[rank - 1] - values[rank]) for rank in (1, 2, 4)]
    assert [found[rank] for rank in (1, 2, 4)] == pytest.approx(expected, abs=2e-3)
    assert math.isnan(found[7]), "the next value is not known"


def test_ranks_are_fitted_by_half_of_the_energy() -> None:
    """Singular values of one Gaussian; all others, of variance 0.01, are estimated together and make 2 % of the sum."""
    study = study_of(gaussian(torch.tensor([4.0, 3.9, 0.3]), torch.eye(12)[:3], (12,)), 1, levels=(0.5,), rank=2)
    study = dataclasses.replace(study, ranks="energy")
    squares = torch.tensor([0.5 * c / (0.25 * c + 0.25) for c in (4.0, 3.9, 0.3, *[0.01] * 9)]).square()
    shares = squares.cumsum(0) / squares.sum()
    found = fits(study, [study.basis(0, 0.5)])
    assert list(found) == [1, 2]
    assert list(found.values()) == pytest.approx([-abs(float(one) - 0.5) for one in shares[:2]], abs=0.05)
    assert "feature" not in samples.plan, "plans from before there was a choice are still the same ones"
    assert [samples_pooled.plan[name] for name in ("feature", "ranks")] == ["pooled", "energy"]


def test_the_rank_is_fitted_to_the_trained_network_of_each_model() -> None:
    """The mean gap decides; where no gap is known, the rank is the highest there is."""
    rows = [
        {"model": model, "network": network, "rank": rank, "fit": fit}
        for model, networks in {
            "two": {"trained": (0.1, 0.5, 0.2), "untrained": (9.0, 0.0, 0.0)},
            "four": {"trained": (0.1, 0.2, 0.5), "untrained": (9.0, 0.0, 0.0)},
            "none": {"trained": (math.nan,), "untrained": (math.nan,)},
        }.items()
        for network, known in networks.items()
        for rank, fit in zip((1, 2, 4), known, strict=False)
    ]
    found = at_fitted_rank(pd.DataFrame(rows))
    assert found[["model", "rank"]].drop_duplicates().to_numpy().tolist() == [["two", 2], ["four", 4], ["none", 1]]
    assert found["network"].tolist() == ["trained", "untrained"] * 3


class KnownStudy(Study):
    """The basis of halves at one image; at the other one the first vector leans by 0.3 rad."""

    __slots__ = ()

    def basis(self, image: int, level: float, *, prompt: str | None = None) -> LocalBasis:
        assert isinstance(self.backbone, ColorBackbone)
        return leaning_basis(self.backbone, 0.3 * image)


def known_study(captioner: str = "") -> Study:
    study = Study.of(wide_model(captioner), [gray(), gray()], levels=(0.5,), rank=2, site="clean", steps=10)
    return KnownStudy(**{field.name: getattr(study, field.name) for field in dataclasses.fields(study)})


@pytest.mark.parametrize("captioner", ["sure", ""])
def test_where_all_is_alike_the_edit_is_the_same(register: Register, captioner: str) -> None:
    """A linear model has nothing between the images; the target's own basis does not matter."""
    register("captioners", sure="tests.editing.discoveries:SureReader")
    rows = {row["kind"]: row for row in transport.function(known_study(captioner), 0.5, 0)}
    assert list(rows) == ["carried", "random", "the source's own"]
    assert {row["target"] for row in rows.values()} == {1}
    for kind in ("carried", "the source's own"):
        assert [rows[kind][name] for name in ("pixels", "agreement")] == pytest.approx([1, 1], abs=1e-4)
    assert abs(rows["random"]["pixels"]) < 0.5


def test_what_cannot_be_seen_at_the_source_does_not_count() -> None:
    """A change of some thousandths of the range, from the last image to the first one of the ring."""
    rows = list(transport.function(known_study(), 0.5, 1, effect=0.004))
    assert [(row["target"], row["pixels"]) for row in rows] == [(0, None)] * 3


def test_pairs_have_the_distance_of_their_tangent_spaces() -> None:
    """The second vector of each basis is the same, so the spaces lean by 0.3; the images are equal."""
    rows = list(alignment.function(known_study(), 0.5, 1, following=1))
    ranks = {row["rank"]: row for row in rows if row["kind"] == "carried"}
    assert {row["source"] for row in rows} == {0}
    assert [row["kind"] for row in rows] == ["carried", "random"] * len(ranks)
    assert ranks[1]["distance"] == pytest.approx(0.3 / (math.pi / 2), abs=1e-4)
    assert ranks[1]["pixels"] == pytest.approx(1, abs=1e-4)
    assert ranks[1]["latents"] == 0


def test_changes_are_compared_by_their_cosine() -> None:
    first, second = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[-3.0, 0.0], [0.0, 4.0]])
    assert cosine(first, second) == pytest.approx(-0.6)
    assert cosine(first, 0 * second) is None

"""Spectra, frequencies and shared directions of Gaussians and waves that are known."""

import math

import pytest
import torch

from latentedit.core.rng import stream
from latentedit.directions.global_directions import mean_directions
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.frequency import frequency
from latentedit_bench.experiments.homogeneity import _captured, homogeneity
from latentedit_bench.experiments.spectrum import spectrum
from tests.bench.experiments.gaussians import gaussian, study_of

VARIANCES = (4.0, 1.0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.9, 0.5])
def test_the_stable_rank_is_that_of_the_gaussian(level: float) -> None:
    """Singular values of the Jacobian of x_hat are ``(1 - s) c / ((1 - s)^2 c + s^2)``, with ten variances c."""
    study = study_of(gaussian(torch.tensor(VARIANCES), torch.eye(10)[:3], (10,)), 1, levels=(0.9, 0.5), rank=3)
    rows = list(spectrum.look(study, level, 0, probes=300))
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
    (row,) = spectrum.look(study, 0.5, 0, probes=1)
    squares = torch.linalg.svdvals(torch.randn(200, 32, 32, generator=stream(0, "tests"))).square()
    assert 10 ** row["random"] == pytest.approx(float((squares.sum(1) / squares[:, 0]).mean()), rel=0.12)


def test_known_waves_are_found_with_their_frequency() -> None:
    """0.25 and 0.75 of Nyquist; bases are found to 1 degree, so power to 3e-4, of frequencies <= 1.5."""
    place = torch.arange(8, dtype=torch.float64)
    v = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    v[0, 0], v[1, 1] = torch.cos(2 * math.pi * place / 8), torch.cos(2 * math.pi * 3 * place / 8)[:, None]
    v /= v.flatten(1).norm(dim=1)[:, None, None, None]
    study = study_of(gaussian(torch.tensor([4.0, 1.0]), v, (2, 8, 8)), 1, levels=(0.9,), rank=2)
    rows = list(frequency.look(study, 0.9, 0))
    assert [(row["rank"], row["centroid"]) for row in rows] == [
        (1, pytest.approx(0.25, abs=1e-3)),  # the first wave
        (2, pytest.approx(0.5, abs=1e-3)),  # the mean of both
    ]
    every = [math.hypot(y, x) / 4 for y in (0, 1, 2, 3, 4, 3, 2, 1) for x in (0, 1, 2, 3, 4, 3, 2, 1)]
    assert [row["white"] for row in rows] == pytest.approx([sum(every) / 64] * 2)
    assert rows[0]["latent_centroid"] == pytest.approx(sum(every) / 64, rel=0.2), "nearly noise"


def test_the_mean_leaves_the_picture_out() -> None:
    """Against the means of the others in the whole space: rows are computed in the span of all vectors."""
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    rows = list(homogeneity.look(study, 0.5))
    assert [(row["rank"], row["picture"]) for row in rows] == [
        (rank, picture) for rank in (1, 2) for picture in range(3)
    ]
    sets = [study.basis(picture, 0.5).u for picture in range(3)]
    for picture in range(3):
        u = mean_directions([one for index, one in enumerate(sets) if index != picture], mean="chordal").u
        captured = float((u @ sets[picture].T).square().sum(1).mean())
        assert rows[3 + picture]["captured"] == pytest.approx(captured, abs=1e-6)
    assert sum(row["random"] for row in rows) < sum(row["captured"] for row in rows)


def test_one_gaussian_shares_all_directions_and_orthogonal_spaces_have_no_mean() -> None:
    """Bases are found to 1 degree, whose cosine is 1 - 2e-4."""
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    rows = list(homogeneity.look(study_of(backbone, 3, levels=(0.5,), rank=2), 0.5))
    assert min(row["captured"] for row in rows) > 1 - 2e-3
    eye = torch.eye(6, dtype=torch.float64)
    assert _captured([eye[:2], eye[2:4], eye[4:]], 0) is None

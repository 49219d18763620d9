"""Principal components of features against a known covariance."""

import pytest
import torch

from latentedit.geometry.pca import feature_pca
from tests.geometry.examples import random_normal, random_orthogonal


def samples_of(deviations: list[float], axes: torch.Tensor, count: int) -> torch.Tensor:
    """Features with exactly these standard deviations along the axes (rows), far from 0."""
    scores = random_normal(count, len(deviations), seed=5)
    ones = torch.full((count, 1), count**-0.5, dtype=torch.float64)
    scores = torch.linalg.qr(torch.cat([ones, scores], 1)).Q[:, 1 : len(deviations) + 1]  # centered and orthonormal
    return 50 + (count - 1) ** 0.5 * scores * torch.tensor(deviations, dtype=torch.float64) @ axes


@pytest.mark.parametrize("count", [12, 200])  # fewer and more samples than the feature has numbers
def test_components_are_the_axes_of_a_known_covariance(count: int) -> None:
    axes = random_orthogonal(24, seed=2)[:3]
    features = samples_of([0.5, 3.0, 2.0], axes, count).reshape(count, 2, 3, 4)
    u, deviations = feature_pca(features.float() if count > 100 else features, 3)
    accuracy = 1e-4 if count > 100 else 1e-10  # float32 keeps 50 to 4e-6
    assert deviations.tolist() == pytest.approx([3.0, 2.0, 0.5], rel=accuracy)
    assert u.shape == (3, 2, 3, 4)
    assert u.dtype == torch.float64
    rows = u.flatten(1)
    assert torch.allclose((rows @ axes[[1, 2, 0]].T).abs(), torch.eye(3, dtype=torch.float64), atol=accuracy)
    assert bool((rows.gather(1, rows.abs().argmax(1, keepdim=True)) > 0).all())
    assert torch.equal(feature_pca(features, 1)[0][0], feature_pca(features, 3)[0][0])


def test_three_samples_have_two_directions_about_their_mean() -> None:
    assert len(feature_pca(random_normal(3, 8), 2)[0]) == 2

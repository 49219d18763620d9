"""Measures of a walk over strengths, by hand."""

import math

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit_bench.metrics.continuity import (
    concept_range,
    smoothness_deficit,
    step_deviation,
    strength_correlation,
)


def walks(*places: list[complex]) -> Tensor:
    """Distances between points of the plane."""
    return torch.stack([torch.tensor([[abs(a - b) for b in walk] for a in walk]) for walk in places])


def test_the_largest_detour_of_three_in_a_row() -> None:
    """A line with uneven steps; a right angle of sides 3 and 4; a turn back by half; a jump at the end."""
    found = smoothness_deficit(walks([0, 1, 5, 6], [0, 1, 4, 4 + 4j], [0, 1, 2, 1.5], [0, 0, 0, 2]))
    assert found[:3].tolist() == pytest.approx([0, (3 + 4 - 5) / 5, (1 + 0.5 - 0.5) / 0.5])
    assert found[3].isnan()  # three equal pictures have no direction
    assert smoothness_deficit(walks([0, 2, 0])).tolist() == [math.inf]


def test_the_deviation_of_steps() -> None:
    """Even steps, also to and fro; shares .5, .25, .25; the whole change in one step of three."""
    found = step_deviation(walks([0, 1, 2, 3], [0, 1, 0, 1], [0, 2, 3, 4], [0, 0, 5, 5]))
    uneven = math.sqrt(((0.5 - 1 / 3) ** 2 + 2 * (0.25 - 1 / 3) ** 2) / 3)
    assert found.tolist() == pytest.approx([0, 0, uneven, math.sqrt(2) / 3], abs=1e-7)
    assert step_deviation(walks([1, 1, 1])).isnan().all()


def test_the_correlation_with_the_strength() -> None:
    """Linear; a square at 0, .5, 1, where r is ``.5 / sqrt(.5 * 13/24)``; there and back, where it is 0."""
    strengths = torch.tensor([0.0, 0.5, 1.0])
    found = strength_correlation(walks([0, 2, 4], [0, 0.25, 1], [0, 1, 0]), strengths)
    assert found.tolist() == pytest.approx([1, 0.5 / math.sqrt(0.5 * 13 / 24), 0], abs=1e-6)
    with pytest.raises(ConfigError, match="all strengths"):
        strength_correlation(walks([0, 1]), torch.ones(2))
    with pytest.raises(ShapeError, match="as many strengths"):
        strength_correlation(walks([0, 1]), strengths)


def test_the_range_of_a_concept() -> None:
    """Half of what one text gains and the other loses from the first picture to the last; the middle does not count."""
    found = concept_range(
        torch.tensor([[0.1, 0.9, 0.5], [0.5, 0.5, 0.2]]), torch.tensor([[0.8, 0.0, 0.2], [0, 0, 0.1]])
    )
    assert found.tolist() == pytest.approx([(0.4 + 0.6) / 2, (-0.3 - 0.1) / 2])
    with pytest.raises(ShapeError, match="both be"):
        concept_range(torch.zeros(2, 3), torch.zeros(2, 2))


@pytest.mark.parametrize("distances", [torch.zeros(2, 3, 4), torch.zeros(3, 3), torch.zeros(1, 2, 2)])
def test_walks_of_too_few_pictures_are_refused(distances: Tensor) -> None:
    for measure in (smoothness_deficit, step_deviation):
        with pytest.raises(ShapeError, match=r"\[b, k, k\]"):
            measure(distances)

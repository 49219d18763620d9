import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.rng import draw, stream
from latentedit.testing.tolerances import relative_error
from latentedit_bench.experiments.text_geometry import (
    OrthogonalityResult,
    effective_dimension,
    orthogonality_test,
)

DIMENSIONS = 4096
PAIRS = 300
ATTRIBUTES = 140
PROMPTS = 12


def gaussian(rows: int, *, power: float = 0.7, index: int = 0) -> Tensor:
    """Independent rows of 4096 numbers whose covariance has the eigenvalues ``k^-power``."""
    spectrum = torch.arange(1, DIMENSIONS + 1, dtype=torch.float32).pow(-power)
    return draw((rows, DIMENSIONS), seed=1, purpose="text geometry", index=index) * spectrum.sqrt()


def planted(attributes: int, *, noise: float, index: int = 1) -> dict[str, Tensor]:
    """An axis of its own for each attribute, from the middle of the spectrum, and noise of that relative length."""
    rows = gaussian(attributes * PROMPTS, index=index).view(attributes, PROMPTS, DIMENSIONS)
    rows = noise * rows / torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    for number in range(attributes):
        rows[number, :, 2000 + number] += 1
    return {f"attribute {number}": rows[number] for number in range(attributes)}


def orthogonality(differences: dict[str, Tensor], null: Tensor, **options: int) -> OrthogonalityResult:
    return orthogonality_test(differences, null, generator=stream(0, "tests"), **options)


@pytest.mark.parametrize(("power", "dimension"), [(0.0, 4096), (0.7, 470), (1.2, 16)])
def test_the_effective_dimension_is_the_truth(power: float, dimension: int) -> None:
    """Within four standard errors: ``8 tr C^4 / (n (tr C^2)^2) + 4 / n^2`` is the relative variance of tr C^2."""
    values = torch.arange(1, DIMENSIONS + 1, dtype=torch.float64).pow(-power)
    truth = float(values.sum() ** 2 / values.square().sum())
    assert truth == pytest.approx(dimension, rel=0.03)
    error = math.sqrt(8 * float(values.pow(4).sum() / values.square().sum() ** 2) / PAIRS + 4 / PAIRS**2)
    assert effective_dimension(gaussian(PAIRS, power=power)) == pytest.approx(truth, rel=4 * error)


def test_the_effective_dimension_is_an_average_over_four_different_rows() -> None:
    """Its numerator and denominator written out, for rows with a mean; what is added to all rows does not matter."""
    rows = draw((6, 3), seed=0, purpose="rows").double() * torch.tensor([3.0, 1.0, 0.5]) + 2.0
    above = below = 0.0
    for i, j, k, m in itertools.permutations(range(6), 4):
        one, other = rows[i] - rows[j], rows[k] - rows[m]
        above += float(one @ one * (other @ other))
        below += float(one @ other) ** 2
    assert effective_dimension(rows) == pytest.approx(above / below, rel=1e-10)
    assert effective_dimension(5.0 * rows + 100.0) == pytest.approx(above / below, rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("power", "largest", "null_largest"), [(0.0, 0.061, 0.067), (0.7, 0.207, 0.199), (1.2, 0.78, None)]
)
def test_random_differences_do_what_the_null_says(power: float, largest: float, null_largest: float | None) -> None:
    """The table of an earlier simulation of random directions, 140 of them; one row of it a case.

    The largest of some 10^4 cosines is closer than 25 %. What comes from the effective dimension has half its relative
    error, at most 7 %.
    """
    rows, null = gaussian(2 * ATTRIBUTES, power=power, index=1), gaussian(PAIRS, power=power)
    angles = orthogonality({str(i): rows[2 * i : 2 * i + 2] for i in range(ATTRIBUTES)}, null, permutations=9)
    assert angles.largest == pytest.approx(largest, rel=0.25)
    if null_largest is not None:
        assert angles.null_largest == pytest.approx(null_largest, rel=0.15)


@pytest.mark.nightly
def test_permutation_shares_are_uniform_for_random_differences() -> None:
    """Their mean over 40 independent cases is 1/2 within four standard errors of a uniform number, 0.29 / sqrt(40)."""
    shares = list[float]()
    for index in range(40):
        rows, null = gaussian(8, index=2 + 2 * index)[:, :256], gaussian(30, index=3 + 2 * index)[:, :256]
        found = orthogonality({"a": rows[:4], "b": rows[4:]}, null, permutations=99)
        shares.append(found.grouping_share)
    assert sum(shares) / 40 == pytest.approx(0.5, abs=4 * 0.29 / math.sqrt(40))


@pytest.mark.slow
def test_separate_directions_are_inside_the_null() -> None:
    found = orthogonality(planted(6, noise=0.5), gaussian(PAIRS))
    assert found.largest <= found.null_largest
    assert bool((found.consistency > 0.75).all())
    # some of the 6 * 12 differences, grouped at random, have the same directions in every group
    assert found.grouping_share == pytest.approx(1 / 1000)
    assert torch.equal(found.cosines.diagonal(), torch.ones(6, dtype=torch.float64))


@pytest.mark.slow
def test_directions_that_overlap_are_outside_the_null() -> None:
    """Attribute 0 takes half of attribute 1 with it: cosine ``0.5 / sqrt(1.25)`` between the axes."""
    rows = planted(6, noise=0.5)
    rows["attribute 0"][:, 2001] += 0.5
    found = orthogonality(rows, gaussian(PAIRS))
    # the mean over 12 prompts leaves 1/12 of the noise's square, 2 % and 1.7 % of the axes'
    assert float(found.cosines[0, 1]) == pytest.approx(0.5 / math.sqrt(1.25), abs=0.03)
    assert found.largest == abs(float(found.cosines[0, 1]))
    assert found.largest > 2 * found.null_largest


def test_the_cosines_are_those_of_the_mean_directions() -> None:
    """Written out with vectors, the shared direction projected out."""
    rows = planted(3, noise=2.0)
    null = gaussian(20) + 0.3

    def unit(x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)

    shared = unit(unit(null.double()).mean(dim=0))

    def rest(x: Tensor) -> Tensor:
        wide = unit(x.double())
        return unit(wide - (wide @ shared)[:, None] * shared)

    directions = unit(torch.stack([rest(x).mean(dim=0) for x in rows.values()]))
    found = orthogonality(rows, null, permutations=1)
    assert relative_error(found.cosines, directions @ directions.T) < 1e-10
    one = rest(rows["attribute 0"])
    cosines = (one @ one.T)[~torch.eye(PROMPTS, dtype=torch.bool)]
    assert float(found.consistency[0]) == pytest.approx(float(cosines.mean()), rel=1e-10)


@pytest.mark.nightly
def test_what_every_change_shares_is_taken_out() -> None:
    """A common part as long as an attribute's own: cosines of a half, unless the random differences show it."""
    common = torch.zeros(DIMENSIONS)
    common[3000] = 1.0
    rows = {name: value + common for name, value in planted(6, noise=0.5).items()}
    null = gaussian(PAIRS)
    null = null / torch.linalg.vector_norm(null, dim=1, keepdim=True)
    seen = orthogonality(rows, null + common)
    assert seen.largest <= seen.null_largest
    hidden = orthogonality(rows, null)
    assert hidden.largest == pytest.approx(0.5, abs=0.05)


def test_the_generator_alone_decides_the_permutations() -> None:
    rows, null = gaussian(PROMPTS, index=1), gaussian(30)
    pair, options = {"a": rows[:6], "b": rows[6:]}, {"permutations": 99}
    found = [orthogonality_test(pair, null, generator=stream(seed, "tests"), **options) for seed in (0, 0, 1, 2, 3)]
    shares = [one.grouping_share for one in found]
    assert shares[0] == shares[1]
    assert len(set(shares)) > 1


def test_what_cannot_be_tested_is_refused() -> None:
    rows, null = gaussian(4, index=1)[:, :8], gaussian(8)[:, :8]
    zero, endless = rows.clone(), rows.clone()
    zero[1], endless[2, 3] = 0.0, math.nan
    for wrong, nulls, words in (
        (zero, null, "hair has a difference that is zero or not finite"),
        (endless, null, "hair has a difference that is zero or not finite"),
        (rows[:1], null, "hair has 1 rows. Give at least 2"),
        (rows, null[:3], "random_differences has 3 rows. Give at least 4"),
        (rows[:1].repeat(2, 1), rows[:1].repeat(4, 1), "along the direction that all share"),
    ):
        with pytest.raises(ConfigError, match=words):
            orthogonality({"hair": wrong, "hat": rows.flip(0)}, nulls)
    with pytest.raises(ConfigError, match="all equal"):
        effective_dimension(rows[:1].repeat(5, 1))
    with pytest.raises(ConfigError, match="too few to compare"):
        orthogonality({"hair": rows}, null)
    with pytest.raises(ConfigError, match="permutations must be"):
        orthogonality({"hair": rows, "hat": rows}, null, permutations=0)
    with pytest.raises((ShapeError, TypeError)):
        orthogonality({"hair": rows[:, :5], "hat": rows}, null)


@pytest.mark.slow
def test_text_shaped_and_half_precision_differences_are_taken() -> None:
    """Tokens and width are flattened; inner products are summed in float64 from what is stored."""
    rows, null = gaussian(2 * PROMPTS, index=1), gaussian(20)
    pair = {"a": rows[:PROMPTS], "b": rows[PROMPTS:]}
    flat = orthogonality(pair, null)
    shaped = orthogonality({key: one.view(PROMPTS, 64, 64) for key, one in pair.items()}, null.view(20, 64, 64))
    assert torch.equal(shaped.cosines, flat.cosines)
    half = orthogonality({key: one.bfloat16() for key, one in pair.items()}, null.bfloat16())
    # bfloat16 has 8 bits; cosines average over thousands of numbers
    assert half.largest == pytest.approx(flat.largest, abs=2e-2)

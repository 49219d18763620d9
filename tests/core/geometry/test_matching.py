import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.geometry.matching import match, matched_mean, unit_rows
from tests.core.geometry.drawn import gaussian, rotation

seeds = st.integers(0, 1000)


def rows(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return rotation(size, seed)[:count]


def shuffled(basis: torch.Tensor, seed: int, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The basis in another order and with other signs, with where each of its vectors went and with what sign."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(len(basis), generator=generator)
    signs = 2.0 * torch.randint(2, (len(basis),), generator=generator).double() - 1
    other = torch.empty_like(basis)
    other[place] = signs.reshape(-1, *[1] * (basis.ndim - 1)) * basis
    return other + noise * torch.randn(basis.shape, generator=generator, dtype=torch.float64), place, signs


@given(st.integers(1, 6), seeds)
def test_order_and_signs_are_found_under_noise(count: int, seed: int) -> None:
    """Noise of length about 0.3 turns no orthonormal vector past another: the right cosines stay near 0.95."""
    basis = rows(count, 12, seed).reshape(count, 3, 4)
    other, place, signs = shuffled(basis, seed, noise=0.08)
    found = match(5 * basis, 0.1 * other)
    assert torch.equal(found.order, place)
    assert torch.equal(found.signs, signs)
    assert torch.allclose(found.applied(other), signs.reshape(-1, 1, 1) * other[place])
    cosines = torch.nn.functional.cosine_similarity(found.applied(other).flatten(1), basis.flatten(1))
    assert torch.allclose(found.cosines, cosines, atol=1e-12)


@given(seeds)
def test_no_other_assignment_is_better(seed: int) -> None:
    """Against all ways to choose 3 of 5 vectors in order; far from orthogonal, where the greedy choice can be wrong."""
    reference, basis = gaussian(3, 4, seed=seed), gaussian(5, 4, seed=seed + 5000)
    cosines = torch.nn.functional.cosine_similarity(reference[:, None], basis[None], dim=2).abs()
    best = max(sum(float(cosines[k, j]) for k, j in enumerate(way)) for way in itertools.permutations(range(5), 3))
    found = match(reference, basis)
    assert float(found.cosines.sum()) == pytest.approx(best, abs=1e-12)
    assert len(set(found.order.tolist())) == 3


def test_a_matching_keeps_dtype_and_takes_other_shapes() -> None:
    """The u of a basis in the order of its v."""
    basis = rows(3, 5)
    other, place, signs = shuffled(basis, 4)
    features = torch.arange(3, dtype=torch.float32).reshape(3, 1, 1) + 1
    applied = match(basis, other).applied(features)
    assert applied.dtype == torch.float32
    assert applied.shape == (3, 1, 1)
    assert applied.flatten().tolist() == ((place + 1) * signs).tolist()


def test_what_does_not_match_is_refused() -> None:
    basis = rows(3, 5)
    for other in (rows(2, 5), rows(3, 6)):
        with pytest.raises((ShapeError, TypeError)):
            match(basis, other)
    with pytest.raises(ShapeError, match="speaks of 3 vectors"):
        match(basis, basis).applied(basis[:2])
    for bad in (torch.zeros(3, 5), torch.full((3, 5), torch.nan), torch.zeros(0, 5)):
        with pytest.raises(ConfigError, match="zero or not finite"):
            unit_rows(bad)
    with pytest.raises(ConfigError, match="zero or not finite"):
        match(basis, torch.cat([basis[:2], torch.zeros(1, 5, dtype=torch.float64)]))
    for sets, rounds in (([], 10), ([basis], 0)):
        with pytest.raises(ConfigError, match="a set of vectors and a round"):
            matched_mean(sets, rounds=rounds)
    with pytest.raises((ShapeError, TypeError)):
        matched_mean([basis, rows(3, 6)])


def test_sets_that_agree_are_homogeneous_and_one_set_is_its_own_mean() -> None:
    basis = rows(3, 6)
    found = matched_mean([basis, shuffled(basis, 1)[0], shuffled(basis, 2)[0]])
    assert torch.allclose(found.vectors, basis, atol=1e-14)
    assert found.homogeneity.shape == (3, 3)
    assert torch.allclose(found.homogeneity, torch.ones(3, 3, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(matched_mean([2 * basis]).vectors, basis, atol=1e-14)


def test_rounds_improve_what_a_bad_first_set_has_matched() -> None:
    """Sets with so much noise that the first is a poor reference; seeds of which most need more than one round."""
    needed = 0
    for seed in range(4):
        basis = rows(6, 12, seed)
        samples = [shuffled(basis, 50 * seed + index, noise=0.3)[0] for index in range(12)]
        once, often = matched_mean(samples, rounds=1), matched_mean(samples, rounds=50)
        assert often.converged
        assert float(often.homogeneity.sum()) >= float(once.homogeneity.sum()) - 1e-12
        assert once.converged == torch.equal(once.vectors, often.vectors)
        needed += not once.converged
    assert needed

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.condition import Condition
from latentedit.core.errors import ShapeError

numbers = st.floats(-3, 3)


def condition(seed: int, batch: int = 2) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    return Condition(
        tokens=torch.randn(batch, 3, 4, generator=generator, dtype=torch.float64),
        pooled=torch.randn(batch, 5, generator=generator, dtype=torch.float64),
    )


def equal(a: Condition, b: Condition, atol: float = 0.0) -> bool:
    return torch.allclose(a.tokens, b.tokens, atol=atol, rtol=0) and torch.allclose(
        a.pooled, b.pooled, atol=atol, rtol=0
    )


@given(st.integers(0, 100), numbers)
def test_conditions_are_a_vector_space(seed: int, factor: float) -> None:
    a, b, c = (condition(seed + i) for i in range(3))
    assert equal(a + b, b + a)
    assert equal((a + b) + c, a + (b + c), atol=1e-13)
    assert equal(factor * (a + b), factor * a + factor * b, atol=1e-13)
    assert equal(a - b, a + b * -1.0)


@given(st.integers(0, 100), numbers)
def test_lerp_meets_its_ends_exactly(seed: int, weight: float) -> None:
    a, b = condition(seed), condition(seed + 1)
    assert equal(a.lerp(b, 0.0), a)
    assert equal(a.lerp(b, 1.0), b)
    assert equal(a.lerp(b, weight), a * (1 - weight) + b * weight, atol=1e-12)


def test_each_element_can_have_its_own_factor() -> None:
    a = condition(0)
    scaled = a * torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert equal(scaled[:1], a[:1])
    assert equal(scaled[1:], a[1:] * 2.0)


def test_batches() -> None:
    a, b = condition(0), condition(1)
    assert len(Condition.cat([a, b])) == 4
    assert equal(Condition.cat([a, b])[2:], b)
    assert equal(a.repeat(2)[2:], a)
    assert equal(a[:1].expand(3)[2:], a[:1])
    assert a.expand(2) is a
    with pytest.raises(ShapeError, match="one text or one a picture"):
        a.expand(3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected two conditions of one shape"):
        _ = condition(0) + condition(0, batch=1)
    with pytest.raises((ShapeError, TypeError)):  # jaxtyping, which is on in tests, sees it first
        Condition(tokens=torch.zeros(2, 3, 4), pooled=torch.zeros(1, 5))

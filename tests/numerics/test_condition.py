import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ShapeError
from latentedit.numerics.condition import Condition

factors = st.floats(-3, 3)


def random_condition(seed: int, batch: int = 2) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    return Condition(
        tokens=torch.randn(batch, 3, 4, generator=generator, dtype=torch.float64),
        pooled=torch.randn(batch, 5, generator=generator, dtype=torch.float64),
    )


def conditions_equal(a: Condition, b: Condition, atol: float = 0.0) -> bool:
    return torch.allclose(a.tokens, b.tokens, atol=atol, rtol=0) and torch.allclose(
        a.pooled, b.pooled, atol=atol, rtol=0
    )


@given(st.integers(0, 100), factors)
def test_conditions_are_a_vector_space(seed: int, factor: float) -> None:
    a, b, c = (random_condition(seed + i) for i in range(3))
    assert conditions_equal(a + b, b + a)
    assert conditions_equal((a + b) + c, a + (b + c), atol=1e-13)
    assert conditions_equal(factor * (a + b), factor * a + factor * b, atol=1e-13)
    assert conditions_equal(a - b, a + b * -1.0)


@given(st.integers(0, 100), factors)
def test_lerp_is_exact_at_its_ends(seed: int, weight: float) -> None:
    a, b = random_condition(seed), random_condition(seed + 1)
    assert conditions_equal(a.lerp(b, 0.0), a)
    assert conditions_equal(a.lerp(b, 1.0), b)
    assert conditions_equal(a.lerp(b, weight), a * (1 - weight) + b * weight, atol=1e-12)


def test_factors_may_differ_by_element_and_shapes_must_match() -> None:
    a = random_condition(0)
    scaled = a * torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert conditions_equal(scaled[:1], a[:1])
    assert conditions_equal(scaled[1:], a[1:] * 2.0)
    with pytest.raises(ShapeError):
        _ = random_condition(0) + random_condition(0, batch=1)
    mask, reference = torch.ones(2, 2, dtype=torch.bool), (torch.zeros(1, 4, 1, 1),)
    for change in ({"pooled": torch.zeros(1, 5)}, {"mask": mask}, {"reference": reference}):
        with pytest.raises((ShapeError, TypeError)):  # jaxtyping, active in tests, raises first
            dataclasses.replace(random_condition(0), **change)
    for change in ({"guidance": 1.0}, {"reference": (torch.zeros(2, 4, 1, 1),)}):
        with pytest.raises(ShapeError):
            Condition.cat([random_condition(0), dataclasses.replace(random_condition(1), **change)])


def test_conditions_concatenate_repeat_and_expand() -> None:
    a, b = random_condition(0), random_condition(1)
    assert len(Condition.cat([a, b])) == 4
    assert conditions_equal(Condition.cat([a, b])[2:], b)
    assert conditions_equal(a.repeat(2)[2:], a)
    assert conditions_equal(a[:1].expand(3)[2:], a[:1])
    assert a.expand(2) is a
    with pytest.raises(ShapeError):
        a.expand(3)


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        ("reference", (torch.ones(2, 4, 1, 1),), (torch.zeros(2, 4, 1, 1),)),
        ("reference", (torch.ones(2, 4, 1, 1),), (torch.ones(2, 4, 1, 1), torch.ones(2, 4, 1, 1))),
        ("guidance", 3.5, 1.0),
    ],
)
def test_law_4_references_and_guidance_are_kept(field: str, value: Any, other: Any) -> None:
    plain, with_field = random_condition(0), dataclasses.replace(random_condition(1), **{field: value})
    for result in (
        with_field + plain,
        plain - with_field,
        2.0 * with_field,
        with_field.lerp(plain, 0.3),
        with_field + with_field,
        with_field.to(torch.float32),
    ):
        kept = getattr(result, field)
        assert kept is value or all(map(torch.equal, kept, value))
    assert all(getattr(plain + plain, name) is None for name in ("mask", "reference", "guidance"))
    with pytest.raises(ShapeError):
        _ = with_field - dataclasses.replace(plain, **{field: other})


def test_law_4_sums_have_the_longer_mask() -> None:
    long, short = torch.tensor([[True, True, False]] * 2), torch.tensor([[True, False, False]] * 2)
    a, b = dataclasses.replace(random_condition(0), mask=long), dataclasses.replace(random_condition(1), mask=short)
    for result in (a + b, b - a, a.lerp(b, 0.3)):
        assert result.mask is not None
        assert torch.equal(result.mask, long)
    for weight, mask in ((0, long), (1, short), (1.0, short)):
        assert a.lerp(b, weight).mask is mask


def test_masks_and_references_are_batched_with_the_tokens() -> None:
    rows = torch.arange(2.0).reshape(2, 1, 1, 1)
    complete = dataclasses.replace(
        random_condition(0),
        mask=torch.tensor([[True, True, False], [True, False, False]]),
        reference=(rows,),
        guidance=2.0,
    )
    for result, index in ((complete[1:], [1]), (complete.repeat(2), [0, 1, 0, 1]), (complete[:1].expand(3), [0, 0, 0])):
        assert result.mask is not None
        assert result.reference is not None
        assert torch.equal(result.mask, complete.mask[index])  # type: ignore[index]
        assert torch.equal(result.reference[0], rows[index])
        assert result.guidance == 2.0
    joined = Condition.cat([complete, dataclasses.replace(random_condition(1), reference=(rows,), guidance=2.0)])
    assert joined.mask is not None
    assert joined.mask.sum(1).tolist() == [2, 1, 3, 3], "no mask means all tokens"
    assert joined.reference is not None
    assert torch.equal(joined.reference[0], torch.cat([rows, rows]))
    assert complete.to(torch.float32).mask is complete.mask

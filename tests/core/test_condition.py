import dataclasses
from typing import Any

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


def test_shapes_and_factors() -> None:
    a = condition(0)
    scaled = a * torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert equal(scaled[:1], a[:1])
    assert equal(scaled[1:], a[1:] * 2.0)
    with pytest.raises(ShapeError):
        _ = condition(0) + condition(0, batch=1)
    mask, reference = torch.ones(2, 2, dtype=torch.bool), (torch.zeros(1, 4, 1, 1),)
    for change in ({"pooled": torch.zeros(1, 5)}, {"mask": mask}, {"reference": reference}):
        with pytest.raises((ShapeError, TypeError)):  # jaxtyping, which is on in tests, sees it first
            dataclasses.replace(condition(0), **change)
    for change in ({"guidance": 1.0}, {"reference": (torch.zeros(2, 4, 1, 1),)}):
        with pytest.raises(ShapeError):
            Condition.cat([condition(0), dataclasses.replace(condition(1), **change)])


def test_batches() -> None:
    a, b = condition(0), condition(1)
    assert len(Condition.cat([a, b])) == 4
    assert equal(Condition.cat([a, b])[2:], b)
    assert equal(a.repeat(2)[2:], a)
    assert equal(a[:1].expand(3)[2:], a[:1])
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
def test_law_4_what_is_no_vector_travels_unchanged(field: str, value: Any, other: Any) -> None:
    plain, marked = condition(0), dataclasses.replace(condition(1), **{field: value})
    for made in (
        marked + plain,
        plain - marked,
        2.0 * marked,
        marked.lerp(plain, 0.3),
        marked + marked,
        marked.to(torch.float32),
    ):
        found = getattr(made, field)
        assert found is value or all(map(torch.equal, found, value))
    assert all(getattr(plain + plain, name) is None for name in ("mask", "reference", "guidance"))
    with pytest.raises(ShapeError):
        _ = marked - dataclasses.replace(plain, **{field: other})


def test_law_4_a_sum_has_the_tokens_of_both_texts() -> None:
    long, short = torch.tensor([[True, True, False]] * 2), torch.tensor([[True, False, False]] * 2)
    a, b = dataclasses.replace(condition(0), mask=long), dataclasses.replace(condition(1), mask=short)
    for made in (a + b, b - a, a.lerp(b, 0.3)):
        assert made.mask is not None
        assert torch.equal(made.mask, long)
    for weight, mask in ((0, long), (1, short), (1.0, short)):
        kept = a.lerp(b, weight).mask
        assert kept is mask


def test_mask_and_reference_have_a_row_for_each_text() -> None:
    rows = torch.arange(2.0).reshape(2, 1, 1, 1)
    report = dataclasses.replace(
        condition(0), mask=torch.tensor([[True, True, False], [True, False, False]]), reference=(rows,), guidance=2.0
    )
    for made, index in ((report[1:], [1]), (report.repeat(2), [0, 1, 0, 1]), (report[:1].expand(3), [0, 0, 0])):
        assert made.mask is not None
        assert made.reference is not None
        assert torch.equal(made.mask, report.mask[index])  # type: ignore[index]
        assert torch.equal(made.reference[0], rows[index])
        assert made.guidance == 2.0
    both = Condition.cat([report, dataclasses.replace(condition(1), reference=(rows,), guidance=2.0)])
    assert both.mask is not None
    assert both.mask.sum(1).tolist() == [2, 1, 3, 3], "no mask is all tokens"
    assert both.reference is not None
    assert torch.equal(both.reference[0], torch.cat([rows, rows]))
    assert report.to(torch.float32).mask is report.mask

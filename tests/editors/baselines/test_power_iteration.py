import pytest
import torch
from torch import Tensor

from latentedit.core.rng import stream
from latentedit.editors.baselines.power_iteration import leading_span, of_length, orthonormal, projected


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream(4, "tests"), dtype=torch.float64)


def projector(rows: Tensor) -> Tensor:
    """``Q Q^T`` of each picture, by the pseudo-inverse."""
    columns = rows.flatten(2).mT
    return columns @ torch.linalg.pinv(columns)


@pytest.fixture
def maps() -> Tensor:
    """Two maps of 8 numbers to 5."""
    return drawn(2, 5, 8)


def span(maps: Tensor, start: Tensor, iterations: int) -> Tensor:
    def normal(rows: Tensor) -> Tensor:
        return torch.einsum("bon,bom,brm->brn", maps, maps, rows.flatten(2)).reshape(rows.shape)

    return leading_span(normal, start, iterations=iterations)


@pytest.mark.parametrize("iterations", [1, 3])
def test_it_is_the_span_of_the_powers(maps: Tensor, iterations: int) -> None:
    """Whatever the iteration does in between; conditioning costs some digits of the plain powers."""
    start = drawn(2, 2, 2, 4)
    found = span(maps, start, iterations)
    powers = torch.linalg.matrix_power(maps.mT @ maps, iterations)
    assert found.shape == start.shape
    assert torch.allclose(projector(found), projector(start.flatten(2) @ powers), atol=1e-9)
    gram = found.flatten(2) @ found.flatten(2).mT
    assert torch.allclose(gram, torch.eye(2, dtype=gram.dtype).expand_as(gram), atol=1e-12)


def test_it_tends_to_the_leading_singular_vectors(maps: Tensor) -> None:
    """The gaps of these two maps leave less than 1e-6 after 100 iterations, and a hundred times more after one."""
    top = torch.linalg.svd(maps)[2][:, :2]
    start = drawn(2, 2, 8)
    assert torch.allclose(projector(span(maps, start, 100)), projector(top), atol=1e-6)
    assert not torch.allclose(projector(span(maps, start, 1)), projector(top), atol=1e-2)


def test_what_is_mapped_to_nothing_is_no_direction() -> None:
    nothing = leading_span(torch.zeros_like, drawn(2, 3, 8), iterations=2)
    assert torch.equal(nothing, torch.zeros_like(nothing))
    one = drawn(1, 1, 8)
    rows = orthonormal(torch.cat([one, 2 * one, drawn(1, 2, 8)], 1))
    assert [bool((row != 0).any()) for row in rows[0]] == [True, False, True, True]


def test_a_projection_keeps_what_lies_in_the_span() -> None:
    rows, v = orthonormal(drawn(2, 3, 2, 4)), drawn(2, 2, 4)
    part = projected(rows, v)
    assert torch.allclose(part.flatten(1)[:, :, None], projector(rows) @ v.flatten(1)[:, :, None], atol=1e-12)
    assert torch.allclose(projected(rows, part), part, atol=1e-12)


def test_lengths_are_what_they_are_said_to_be_and_nothing_stays_nothing() -> None:
    v = torch.stack([drawn(2, 4), torch.zeros(2, 4, dtype=torch.float64)])
    found = of_length(v, torch.tensor([3.0, 3.0], dtype=torch.float64))
    assert float(found[0].norm()) == pytest.approx(3.0)
    assert torch.equal(found[1], v[1])
    assert torch.allclose(found[0] * v[0].norm(), 3 * v[0])


def test_progress_ends_at_the_last_iteration(maps: Tensor) -> None:
    seen: list[tuple[str, int, int]] = []
    leading_span(lambda rows: rows, drawn(1, 1, 8), iterations=2, progress=lambda *told: seen.append(told))
    assert seen == [("basis", 1, 2), ("basis", 2, 2)]

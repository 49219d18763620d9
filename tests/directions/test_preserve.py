"""Projections against dense Lagrange systems and a general-purpose optimiser."""

import pytest
import torch
from torch import Tensor

from latentedit.directions.preserve import project
from latentedit.testing.tolerances import relative_error
from tests.core.linalg.dense import symmetric, vectors
from tests.directions.mixtures import dense_solve

METRIC = symmetric(torch.linspace(0.2, 1.3, 6, dtype=torch.float64).expand(2, 6))
EXACT = 1e-12
SHAPE = (2, 3, 2)
"""Two pictures, latents of 3 x 2 numbers."""


def kept(count: int, *, seed: int = 3) -> Tensor:
    return vectors(count, *SHAPE, seed=seed)


def raised(columns: Tensor) -> Tensor:
    return torch.stack([dense_solve(METRIC, column) for column in columns])


def readings(d: Tensor, columns: Tensor) -> Tensor:
    """``G^T d``, ``[k, b]``, relative to both lengths."""
    products = (columns * d).flatten(2).sum(2)
    return products / columns.flatten(2).norm(dim=2) / d.flatten(1).norm(dim=1)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_null_space_changes_nothing_that_is_kept(count: int) -> None:
    g, columns = vectors(*SHAPE), kept(count)
    d = project(g, columns, columns)
    assert float(readings(d, columns).abs().max()) < EXACT
    assert float(readings(g, columns).abs().max()) > 0.1
    assert relative_error(project(d, columns, columns), d) < EXACT
    for row in range(2):
        basis = columns[:, row].flatten(1).T
        residual = g[row].flatten() - basis @ torch.linalg.lstsq(basis, g[row].flatten()).solution
        assert relative_error(d[row].flatten(), residual) < EXACT


@pytest.mark.parametrize("count", [1, 3])
def test_the_metric_version_solves_the_lagrange_system(count: int) -> None:
    """``[M G; G^T 0] [d; m] = [g; 0]`` from ``d = M^-1 g``."""
    g, columns = vectors(*SHAPE), kept(count)
    d = project(dense_solve(METRIC, g), columns, raised(columns))
    for row in range(2):
        side = columns[:, row].flatten(1).T
        system = torch.cat(
            [torch.cat([METRIC[row], side], 1), torch.cat([side.T, torch.zeros(count, count, dtype=side.dtype)], 1)]
        )
        solution = torch.linalg.solve(system, torch.cat([g[row].flatten(), torch.zeros(count, dtype=side.dtype)]))
        assert relative_error(d[row].flatten(), solution[:6]) < 1e-11  # the system's condition number is near 10
    assert relative_error(project(dense_solve(METRIC, g), columns, columns), d) > 1e-2


def test_rough_solutions_and_what_cannot_be_done() -> None:
    """``G^T d = 0`` needs only that ``G^T W`` can be inverted."""
    g, columns = vectors(*SHAPE), kept(3)
    rough = raised(columns) + 0.1 * kept(3, seed=8)
    assert float(readings(project(g, columns, rough), columns).abs().max()) < EXACT
    g = vectors(*SHAPE)
    assert float(project(g, g[None], g[None]).norm()) < EXACT


def test_columns_that_say_nothing_new_change_nothing() -> None:
    """Repeated, opposite, dependent and empty columns, of very different lengths."""
    g, columns = vectors(*SHAPE), kept(2)
    more = torch.cat([columns, -1e4 * columns[:1], columns.sum(0, keepdim=True), torch.zeros_like(columns[:1])])
    assert relative_error(project(g, more, more), project(g, columns, columns)) < 1e-8  # the rank tolerance
    expected = project(g, columns, raised(columns))
    assert relative_error(project(g, more, raised(more)), expected) < 1e-8
    empty = torch.zeros_like(columns)
    assert torch.equal(project(g, empty, empty), g)
    assert relative_error(project(g, 1e-6 * columns, 1e3 * columns), project(g, columns, columns)) < EXACT
    assert project(g.float(), columns.float(), columns.float()).dtype == torch.float32

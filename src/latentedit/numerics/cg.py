"""Truncated conjugate gradients for a batch of symmetric systems, some of which may be indefinite."""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from latentedit.core.setting import Count, check_value
from latentedit.numerics.operator import LinearOperator


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Result of conjugate gradients for each element."""

    value: Float[Tensor, "b *latent"]  # x, in the dtype of the right-hand side
    residual: Float[Tensor, " b"]  # ``|b - A x| / |b|`` as the recurrence has it; 0 where b is 0
    iterations: Int[Tensor, " b"]
    negative_curvature: Bool[Tensor, " b"]  # stopped at a direction with ``p^T A p <= 0``


def conjugate_gradient(
    operator: LinearOperator, rhs: Float[Tensor, "b *latent"], *, iterations: int, tolerance: float = 1e-6
) -> Solution:
    """Solve ``A x = b`` for each element by at most so many steps of conjugate gradients from ``x = 0``.

    An element stops when its residual falls to the tolerance, or at a direction with ``p^T A p <= 0``: it then keeps
    its iterate, or b itself if that happens at the first step (b, not a step along it, so that the solution stays the
    unfiltered vector). The other elements go on. Every x_k is ``q(A) b`` with a polynomial q, so few steps are a
    smooth filter of A's spectrum, not a bad solution.

    Args:
        operator: A, meant to be symmetric; it need not be definite.
        rhs: b. An element that is zero gives zero; one that is not finite, or meets products that are not, comes out
            as nan with a residual of nan.
        iterations: most steps, at least 1.
        tolerance: relative residual at which an element stops; below the machine epsilon it means that epsilon.

    Raises:
        ConfigError: no iterations, or a tolerance that is not a number from 0 up.

    Cost:
        ``iterations`` products with A of the whole batch, however soon its elements stop. Vectors are kept in at least
        float32; nothing waits for the device.

    Source:
        Hestenes & Stiefel 1952; the rule for negative curvature is that of truncated Newton methods, Dembo & Steihaug
        1983, without a trust region.
    """
    check_value(Count, iterations=iterations)
    check_value(Annotated[float, Field(ge=0)], tolerance=tolerance)
    wide = torch.promote_types(rhs.dtype, torch.float32)
    b = rhs.to(wide).flatten(1)
    length = torch.linalg.vector_norm(b, dim=1, keepdim=True)

    def product(direction: Tensor) -> Tensor:
        return operator.matvec(direction.to(operator.dtype).reshape(rhs.shape)).to(wide).flatten(1)

    unit = _solve(product, b / length.clamp_min(torch.finfo(wide).tiny), iterations, tolerance)
    return dataclasses.replace(unit, value=(length * unit.value).to(rhs.dtype).reshape(rhs.shape))


def _solve(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float) -> Solution:
    """The iteration for right-hand sides ``[b, n]`` of norm 1 or 0; numbers of an element are ``[b, 1]``."""
    enough = max(tolerance, torch.finfo(b.dtype).eps) ** 2
    residual, direction, value = b, b, torch.zeros_like(b)
    square = _dot(residual, residual)
    steps = torch.zeros_like(square, dtype=torch.int64)
    negative = torch.zeros_like(square, dtype=torch.bool)
    active = ~(square <= enough)
    for _ in range(iterations):
        # Elements that have stopped go on being multiplied: to leave them out would wait for the device.
        image = product(direction)
        curved = _dot(direction, image)
        stopped = active & (curved <= 0)
        negative, active = negative | stopped, active & ~stopped
        # An element that stops at its first step takes b itself, not a step along it: its size is 1.
        moving = active | (stopped & (steps == 0))
        size = torch.where(active, square / curved, 1.0)
        value = torch.where(moving, value + size * direction, value)
        residual = torch.where(moving, residual - size * image, residual)
        steps = steps + active
        before, square = square, _dot(residual, residual)
        active = active & ~(square <= enough)
        direction = torch.where(active, residual + square / before * direction, direction)
    return Solution(
        value=value, residual=square.sqrt()[:, 0], iterations=steps[:, 0], negative_curvature=negative[:, 0]
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """``<a, b>`` of each element, ``[b, 1]``."""
    return (a * b).sum(dim=1, keepdim=True)

"""Filters of a residual: four ways to weight it by the curvature of the source text.

With ``A = s^2 H = I - (1 - s) D`` under the source text and its eigenvalues h <= 1, a residual r becomes

    gamma                  r + gamma (I - A) r             weight 1 + gamma (1 - h)
    newton                 (A + mu I)^-1 r                 weight 1 / (h + mu)
    levenberg-marquardt    (A^2 + mu^2 I)^-1 A r           weight h / (h^2 + mu^2)
    neumann                sum_{k <= K} (I - A)^k r        weight (1 - (1 - h)^(K+1)) / h

A falls to 0 and below where the source text leaves things free: Newton magnifies those directions, gamma = -1 (which
is A r, the filter that the gradient of a score residual has) shrinks them, and Levenberg-Marquardt does either on the
two sides of mu. The systems are solved by truncated conjugate gradients, with r and A averaged over the shared noises
first; the gamma family is linear and takes each noise's own A. A is taken to be symmetric, which that of a trained
network is only roughly. All of it is our derivation.
"""

import dataclasses
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.flow import per_element
from latentedit.core.linalg.conjugate_gradient import Solution, conjugate_gradient
from latentedit.core.linalg.operator import Affine, LinearOperator, Mean, Product

Filter = Literal["gamma", "newton", "levenberg-marquardt", "neumann"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """A step's displacement."""

    value: Float[Tensor, "b *latent"]
    fell_back: Bool[Tensor, " b"]  # pictures that kept r: their first direction has ``p^T (A + mu I) p <= 0``


def products(kind: Filter, *, gamma: float, iterations: int) -> int:
    """Products with A that `apply_filter` takes, a noise and picture."""
    if kind == "gamma":
        return int(gamma != 0)
    return 1 + 2 * iterations if kind == "levenberg-marquardt" else iterations


def apply_filter(
    kind: Filter,
    residual: Float[Tensor, "m b *latent"],
    hessian: LinearOperator,
    *,
    gamma: float,
    damping: float,
    iterations: int,
) -> Filtered:
    """One filter by name, of residuals and A with rows ordered noise by noise; it takes `products` products."""
    if kind == "gamma":
        if gamma == 0:
            return _linear(residual.mean(0))
        curved = hessian.matvec(residual.flatten(0, 1)).unflatten(0, residual.shape[:2])
        return gamma_family(residual, curved, gamma)
    mean, average = residual.mean(0), Mean(hessian, len(residual))
    if kind == "neumann":
        return neumann(mean, average, terms=iterations)
    method = newton if kind == "newton" else levenberg_marquardt
    return method(mean, average, damping=damping, iterations=iterations)


def gamma_family(
    residual: Float[Tensor, "m b *latent"], curved: Float[Tensor, "m b *latent"], gamma: float
) -> Filtered:
    """``mean(r + gamma (r - A r))`` with each noise's own r and A: gamma -1 is A r, 1 the first step to Newton's."""
    return _linear((residual + gamma * (residual - curved)).mean(0))


def newton(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Filtered:
    """``(A + mu I)^-1 r``, with weights of at most 1 / mu where A is not negative."""
    return _solved(solve(Affine(hessian, 1.0, damping), residual, iterations=iterations), residual)


def levenberg_marquardt(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Filtered:
    """``(A^2 + mu^2 I)^-1 A r``: Newton where ``h >> mu``, the Hessian ``A r / mu^2`` where ``h << mu``.

    The system is positive definite also where A is not, and its weight ``h / (h^2 + mu^2)`` is at most ``1 / (2 mu)``;
    along directions of negative curvature it points the other way, as A r does.
    """
    system = Affine(Product(hessian, hessian), 1.0, damping**2)
    return _solved(solve(system, hessian.matvec(residual), iterations=iterations), residual)


def neumann(residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, terms: int) -> Filtered:
    """``sum_{k <= K} (I - A)^k r``, which tends to ``A^-1 r`` for ``0 < h < 2``; fewer terms damp it."""
    value = residual
    for _ in range(terms):
        value = residual + value - hessian.matvec(value)
    return _linear(value)


def solve(operator: LinearOperator, rhs: Float[Tensor, "b *latent"], *, iterations: int) -> Solution:
    """Conjugate gradients to the rounding of the dtype, or to the given number of steps."""
    wide = torch.promote_types(rhs.dtype, torch.float32)
    return conjugate_gradient(operator, rhs, iterations=iterations, tolerance=torch.finfo(wide).eps)


def _solved(solution: Solution, residual: Tensor) -> Filtered:
    """The solution, and r itself for pictures that stopped at once."""
    at_once = solution.negative_curvature & (solution.iterations == 0)
    value = torch.where(per_element(at_once, residual), residual, solution.value)
    return Filtered(value=value, fell_back=at_once)


def _linear(value: Tensor) -> Filtered:
    return Filtered(value=value, fell_back=torch.zeros(len(value), dtype=torch.bool, device=value.device))

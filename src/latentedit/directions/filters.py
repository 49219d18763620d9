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
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.flow import per_element
from latentedit.core.linalg.conjugate_gradient import Solution, conjugate_gradient
from latentedit.core.linalg.operator import Affine, LinearOperator, Mean, Product
from latentedit.directions.direction import Curvature

Filter = Literal["gamma", "newton", "levenberg-marquardt", "neumann"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """A step's displacement, and the curvature seen on the way."""

    value: Float[Tensor, "b *latent"]
    rayleigh: Float[Tensor, " b"]  # ``r^T A r / r^T r``; nan where r is zero or no product was taken
    quotients: Float[Tensor, "n b"]  # ``p^T A p / p^T p`` of every product; nan where a picture did not need it
    fell_back: Bool[Tensor, " b"]  # pictures that kept r: their first direction has ``p^T (A + mu I) p <= 0``


class WatchedOperator(LinearOperator):
    """An operator that records the Rayleigh quotient of every vector that it is applied to, nan for zeros."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(shape=operator.shape, dtype=operator.dtype, device=operator.device)
        self._operator = operator
        self._seen: list[Tensor] = []

    @property
    def quotients(self) -> Float[Tensor, "n b"]:
        """``p^T A p / p^T p``, one row a product."""
        return torch.stack(self._seen)

    def _matvec(self, u: Tensor) -> Tensor:
        product = self._operator.matvec(u)
        self._seen.append(_dot(u, product) / _dot(u, u))
        return product

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._operator.rmatvec(u)


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
            return unfiltered(residual)
        curved = hessian.matvec(residual.flatten(0, 1)).unflatten(0, residual.shape[:2])
        return gamma_family(residual, curved, gamma)
    mean, average = residual.mean(0), Mean(hessian, len(residual))
    if kind == "neumann":
        return neumann(mean, average, terms=iterations)
    method = newton if kind == "newton" else levenberg_marquardt
    return method(mean, average, damping=damping, iterations=iterations)


def unfiltered(residual: Float[Tensor, "m b *latent"]) -> Filtered:
    """The mean over noises, without a product."""
    value = residual.mean(0)
    quotients = value.new_zeros(0, len(value))
    return Filtered(value=value, rayleigh=quotients.nanmean(0), quotients=quotients, fell_back=_none(quotients))


def gamma_family(
    residual: Float[Tensor, "m b *latent"], curved: Float[Tensor, "m b *latent"], gamma: float
) -> Filtered:
    """``mean(r + gamma (r - A r))`` with each noise's own r and A: gamma -1 is A r, 0 is r, 1 the first step to
    Newton's.
    """
    value = (residual + gamma * (residual - curved)).mean(0)
    rows = residual.flatten(0, 1)
    quotients = (_dot(rows, curved.flatten(0, 1)) / _dot(rows, rows)).reshape(residual.shape[:2])
    return Filtered(value=value, rayleigh=quotients.nanmean(0), quotients=quotients, fell_back=_none(quotients))


def newton(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Filtered:
    """``(A + mu I)^-1 r``, largest where the source text is loosest; weights are at most 1 / mu where A is not
    negative.
    """
    watched = WatchedOperator(hessian)
    solution = solve(Affine(watched, 1.0, damping), residual, iterations=iterations)
    needed = solution.iterations + solution.negative_curvature
    return _solved(solution, residual, watched, needed)


def levenberg_marquardt(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Filtered:
    """``(A^2 + mu^2 I)^-1 A r``: Newton where ``h >> mu``, the Hessian ``A r / mu^2`` where ``h << mu``.

    The system is positive definite also where A is not, and its weight ``h / (h^2 + mu^2)`` is at most ``1 / (2 mu)``;
    along directions of negative curvature it points the other way, as A r does.
    """
    watched = WatchedOperator(hessian)
    right = watched.matvec(residual)
    solution = solve(Affine(Product(watched, watched), 1.0, damping**2), right, iterations=iterations)
    needed = 1 + 2 * (solution.iterations + solution.negative_curvature)
    return _solved(solution, residual, watched, needed)


def neumann(residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, terms: int) -> Filtered:
    """``sum_{k <= K} (I - A)^k r``, which tends to ``A^-1 r`` for ``0 < h < 2``; fewer terms damp it."""
    watched = WatchedOperator(hessian)
    value = residual
    for _ in range(terms):
        value = residual + value - watched.matvec(value)
    quotients = watched.quotients
    return Filtered(value=value, rayleigh=quotients[0], quotients=quotients, fell_back=_none(quotients))


def solve(operator: LinearOperator, rhs: Float[Tensor, "b *latent"], *, iterations: int) -> Solution:
    """Conjugate gradients to the rounding of the dtype, or to the given number of steps."""
    wide = torch.promote_types(rhs.dtype, torch.float32)
    return conjugate_gradient(operator, rhs, iterations=iterations, tolerance=torch.finfo(wide).eps)


def summarise(steps: Sequence[Filtered], notes: tuple[str, ...] = ()) -> Curvature | None:
    """The curvature seen in a search; None if it took no product."""
    quotients = torch.cat([step.quotients for step in steps])
    if len(quotients) == 0:
        return None
    seen = ~torch.isnan(quotients)
    lowest = torch.where(seen, quotients, torch.inf).amin(0)
    return Curvature(
        rayleigh=torch.stack([step.rayleigh for step in steps]).nanmean(0),
        lowest=torch.where(seen.any(0), lowest, torch.nan),
        negative_share=(quotients <= 0).sum(0) / seen.sum(0).clamp_min(1).to(quotients.dtype),
        fallback_share=torch.stack([step.fell_back for step in steps]).to(quotients.dtype).mean(0),
        notes=notes,
    )


def _solved(solution: Solution, residual: Tensor, watched: WatchedOperator, needed: Tensor) -> Filtered:
    """The solution, r itself for pictures that stopped at once, and the quotients of the steps that each needed."""
    at_once = solution.negative_curvature & (solution.iterations == 0)
    quotients = watched.quotients
    order = torch.arange(len(quotients), device=quotients.device)[:, None]
    return Filtered(
        value=torch.where(per_element(at_once, residual), residual, solution.value),
        rayleigh=quotients[0],
        quotients=torch.where(order < needed, quotients, torch.nan),
        fell_back=at_once,
    )


def _none(quotients: Tensor) -> Bool[Tensor, " b"]:
    return torch.zeros(quotients.shape[1], dtype=torch.bool, device=quotients.device)


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, " b"]:
    wide = torch.promote_types(a.dtype, torch.float32)
    return (a.to(wide) * b.to(wide)).flatten(1).sum(dim=1)

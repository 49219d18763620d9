"""Filters: three ways to weight a residual r by the curvature of the source text, derived here.

``D = dx_hat/dz = I - s J_v`` is the denoiser's Jacobian under the source text. The curvature is the Hessian of
``-log p_s(z | source)`` in units in which noise is 1, ``A = s^2 H = I - (1 - s) D``; its eigenvalues are h <= 1:

    gamma                  r + gamma (I - A) r             weight 1 + gamma (1 - h)
    newton                 (A + mu I)^-1 r                 weight 1 / (h + mu)
    levenberg-marquardt    (A^2 + mu^2 I)^-1 A r           weight h / (h^2 + mu^2)

A falls to 0 and below where the source text leaves things free: Newton magnifies those directions, gamma = -1 shrinks
them, and Levenberg-Marquardt does either on the two sides of mu. The systems are solved by truncated conjugate
gradients, with r and A averaged over the shared noises first; the gamma family is linear and takes each noise's own A.
A is taken to be symmetric, which that of a trained network is only roughly.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.numerics.cg import conjugate_gradient
from latentedit.numerics.flow import per_element
from latentedit.numerics.operator import Affine, LinearOperator, Mean, Product

Filter = Literal["gamma", "newton", "levenberg-marquardt"]


# A step's displacement, and images that kept r: their first direction has ``p^T (A + mu I) p <= 0``.
Solved = tuple[Float[Tensor, "b *latent"], Bool[Tensor, " b"]]


def apply_filter(
    kind: Filter,
    residual: Float[Tensor, "m b *latent"],
    hessian: LinearOperator | None,
    *,
    gamma: float,
    damping: float,
    iterations: int,
) -> Solved:
    """One filter by name, of residuals and A with rows ordered noise by noise; it takes `HSDS.products`.

    A may be None where there are none.
    """
    mean = residual.mean(0)
    none = torch.zeros(len(mean), dtype=torch.bool, device=mean.device)
    if hessian is None or (kind == "gamma" and gamma == 0):
        return mean, none
    if kind == "gamma":
        curved = hessian.matvec(residual.flatten(0, 1)).unflatten(0, residual.shape[:2])
        return gamma_family(residual, curved, gamma), none
    average = Mean(hessian, len(residual))
    method = newton if kind == "newton" else levenberg_marquardt
    return method(mean, average, damping=damping, iterations=iterations)


def gamma_family(
    residual: Float[Tensor, "m b *latent"], curved: Float[Tensor, "m b *latent"], gamma: float
) -> Float[Tensor, "b *latent"]:
    """``mean(r + gamma (r - A r))`` with each noise's own r and A: gamma -1 is A r, 1 the first step to Newton's."""
    return (residual + gamma * (residual - curved)).mean(0)


def newton(residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int) -> Solved:
    """``(A + mu I)^-1 r``, with weights of at most 1 / mu where A is not negative."""
    return _solved(Affine(hessian, 1.0, damping), residual, residual, iterations)


def levenberg_marquardt(
    residual: Float[Tensor, "b *latent"], hessian: LinearOperator, *, damping: float, iterations: int
) -> Solved:
    """``(A^2 + mu^2 I)^-1 A r``: Newton where ``h >> mu``, the Hessian ``A r / mu^2`` where ``h << mu``.

    The system is positive definite also where A is not, and its weight ``h / (h^2 + mu^2)`` is at most ``1 / (2 mu)``;
    along directions of negative curvature it points the other way, as A r does.
    """
    system = Affine(Product(hessian, hessian), 1.0, damping**2)
    return _solved(system, hessian.matvec(residual), residual, iterations)


def _solved(operator: LinearOperator, rhs: Tensor, residual: Tensor, iterations: int) -> Solved:
    """Solution by conjugate gradients, to rounding or that many steps; r for images that stopped at once."""
    wide = torch.promote_types(rhs.dtype, torch.float32)
    solution = conjugate_gradient(operator, rhs, iterations=iterations, tolerance=torch.finfo(wide).eps)
    at_once = solution.negative_curvature & (solution.iterations == 0)
    return torch.where(per_element(at_once, residual), residual, solution.value), at_once

"""Angles between vectors, and the number of dimensions that they take."""

import torch
from jaxtyping import Float
from torch import Tensor


def cosine(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> float | None:
    """Of the angle between two vectors; None where one of them is 0."""
    a, b = first.flatten().double(), second.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return float(a @ b) / lengths if lengths > 0 else None


def mean_cosines(rows: Float[Tensor, "n attributes width"]) -> list[float]:
    """Of each portrait, the mean of |cosine| over pairs of its differences."""
    unit = torch.nn.functional.normalize(rows.double(), dim=2)
    sizes, count = (unit @ unit.mT).abs(), rows.shape[1]
    total = sizes.sum((1, 2)) - sizes.diagonal(dim1=1, dim2=2).sum(1)
    return (total / (count * (count - 1))).tolist()


def effective_dimension(rows: Float[Tensor, "n width"]) -> float:
    """The participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of vectors.

    Both parts are unbiased: the averages of ``|x_i - x_j|^2 |x_k - x_l|^2 / 4`` and
    ``((x_i - x_j) . (x_k - x_l))^2 / 4`` over four different rows (Himeno and Yamada 2014, J. Multivariate Anal. 130).
    """
    count, centred = len(rows), rows.double() - rows.double().mean(0)
    gram = centred @ centred.T
    trace, square = gram.trace() / (count - 1), gram.square().sum() / (count - 1) ** 2
    fourth = count * gram.diagonal().square().sum() / (count - 1)
    trace_squared = 2 * square + (count**2 - 3 * count + 1) * trace**2 - fourth
    square_traced = (count - 1) * (count - 2) * square + trace**2 - fourth
    return float(trace_squared / square_traced)

"""Angles between vectors, their effective dimension, and the mean spatial frequency of images.

A coefficient of the two-dimensional Fourier transform with ``kx`` and ``ky`` cycles an image has the frequency
``2 sqrt((ky / h)^2 + (kx / w)^2)`` in units of Nyquist, half a cycle a pixel; corners of the spectrum reach sqrt(2).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cosine(first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> float | None:
    """The cosine of the angle between two vectors; None if one is 0."""
    a, b = first.flatten().double(), second.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return float(a @ b) / lengths if lengths > 0 else None


def mean_cosines(rows: Float[Tensor, "n attributes width"]) -> list[float]:
    """For each portrait, the mean |cosine| over pairs of its differences."""
    unit = torch.nn.functional.normalize(rows.double(), dim=2)
    sizes, count = (unit @ unit.mT).abs(), rows.shape[1]
    total = sizes.sum((1, 2)) - sizes.diagonal(dim1=1, dim2=2).sum(1)
    return (total / (count * (count - 1))).tolist()


def effective_dimension(rows: Float[Tensor, "n width"]) -> float:
    """The participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of vectors.

    Both parts are unbiased: the averages of ``|x_i - x_j|^2 |x_k - x_l|^2 / 4`` and
    ``((x_i - x_j) . (x_k - x_l))^2 / 4`` over four different rows (Himeno and Yamada 2014, J. Multivariate Anal. 130).
    """
    count, centered = len(rows), rows.double() - rows.double().mean(0)
    gram = centered @ centered.T
    trace, square = gram.trace() / (count - 1), gram.square().sum() / (count - 1) ** 2
    fourth = count * gram.diagonal().square().sum() / (count - 1)
    trace_squared = 2 * square + (count**2 - 3 * count + 1) * trace**2 - fourth
    square_traced = (count - 1) * (count - 2) * square + trace**2 - fourth
    return float(trace_squared / square_traced)


def centroid(v: Float[Tensor, "k c h w"]) -> Float[Tensor, " k"]:
    """Mean frequency of each vector, weighted by power over all channels; after Park et al. 2023, arXiv 2307.12868."""
    power = torch.fft.fft2(v.detach().cpu().double(), norm="ortho").abs().square().sum(1)
    total = power.sum((1, 2))
    return (power * _frequencies(*v.shape[2:])).sum((1, 2)) / total


def white_centroid(height: int, width: int) -> float:
    """The centroid of a flat spectrum; for large images ``(sqrt(2) + log(1 + sqrt(2))) / 3 = 0.7652``."""
    return float(_frequencies(height, width).mean())


def _frequencies(height: int, width: int) -> Float[Tensor, "h w"]:
    rows, columns = (2 * torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    return torch.hypot(rows.unsqueeze(1), columns.unsqueeze(0))

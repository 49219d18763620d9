"""Angles between vectors, and the mean spatial frequency of images.

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

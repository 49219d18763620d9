"""How fine directions are: their power over spatial frequency.

A coefficient of the two-dimensional Fourier transform with ``kx`` and ``ky`` cycles a picture has the frequency
``2 sqrt((ky / h)^2 + (kx / w)^2)`` in units of Nyquist, half a cycle a pixel: the finest stripes along a side. Corners
of the spectrum reach sqrt(2).
"""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadialPower:
    """Power of vectors in rings of equal spatial frequency, in float64 on the CPU.

    Bin j holds the coefficients nearest to j cycles along the shorter side: ``j = round(frequency * min(h, w) / 2)``,
    which is ``round(|k|)`` for a square picture. There are ``min(h, w) // 2`` bins up to Nyquist and one for j = 0, the
    mean of the picture. The last one also holds all that lies beyond, the corners, so that nothing is lost.
    """

    frequency: Float[Tensor, " bins"]  # of each bin, in units of Nyquist
    # sum of the squares of all coefficients in a bin, over all channels; the sum over the bins is ``|v|^2``
    power: Float[Tensor, "k bins"]
    # sum over the bin of power times the exact frequency in units of Nyquist, of which `centroid` is made
    moment: Float[Tensor, "k bins"]


def radial_power(v: Float[Tensor, "k c h w"]) -> RadialPower:
    """The power spectrum of vectors that have the form of pictures, by spatial frequency.

    Source:
        The analysis is that of Park et al. 2023 (arXiv 2307.12868), section 4.2; bins and units are ours.
    """
    count, _, height, width = v.shape
    if count < 1 or min(height, width) < 2:
        raise ConfigError(f"{count} vectors of {height} x {width} have no frequencies. Give sides of 2 or more")
    if not bool(v.isfinite().all()):
        raise ConfigError("a vector holds values that are not finite. Leave it out")
    exact = _frequencies(height, width)
    bins = min(height, width) // 2 + 1
    ring = (exact * (min(height, width) / 2)).round().long().clamp(max=bins - 1).flatten()
    power = torch.zeros(count, bins, dtype=torch.float64)
    moment = torch.zeros_like(power)
    for index, vector in enumerate(v.detach()):
        spectrum = torch.fft.fft2(vector.cpu().double(), norm="ortho").abs().square().sum(0)
        power[index].index_add_(0, ring, spectrum.flatten())
        moment[index].index_add_(0, ring, (spectrum * exact).flatten())
    frequency = torch.arange(bins, dtype=torch.float64) * (2 / min(height, width))
    return RadialPower(frequency=frequency, power=power, moment=moment)


def centroid(power: RadialPower) -> Float[Tensor, " k"]:
    """Mean frequency of each vector, weighted by power, in units of Nyquist: 0 for a constant picture.

    Each coefficient counts with its exact frequency, not with that of its bin. `white_centroid` is the level of white
    noise, which has no scale.
    """
    return power.moment.sum(1) / _total(power)


def white_centroid(height: int, width: int) -> float:
    """The centroid of a flat spectrum: the mean frequency of all coefficients, in units of Nyquist.

    For large pictures it tends to ``(sqrt(2) + log(1 + sqrt(2))) / 3 = 0.7652``.
    """
    if min(height, width) < 2:
        raise ConfigError(f"a picture of {height} x {width} has no frequencies. Give sides of 2 or more")
    return float(_frequencies(height, width).mean())


def _frequencies(height: int, width: int) -> Float[Tensor, "h w"]:
    rows, columns = (2 * torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    return torch.hypot(rows.unsqueeze(1), columns.unsqueeze(0))


def _total(power: RadialPower) -> Float[Tensor, " k"]:
    total = power.power.sum(1)
    if not bool((total > 0).all()):
        raise ConfigError("a vector is zero, and has no frequency. Leave it out")
    return total

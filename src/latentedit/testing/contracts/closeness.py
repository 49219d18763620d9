"""Relative tolerances of the contracts, and the error that they bound."""

from collections.abc import Mapping

import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, nearest

Tolerances = Mapping[str, Mapping[torch.dtype, float]]

# In float64, "derivative" and "batch" are a few hundred roundings, and "difference" is the truncation
# error of central differences. In float32, "difference" is the measured error of a network (1e-4) with
# room for networks that are less smooth (5.6e-3 with ReLU), and "batch" allows for kernels that sum in
# another order for another batch size. On processors without AVX-512, that comes to 1.6e-5 at the last
# blocks of a network.
CONTRACT_TOLERANCES: Tolerances = {
    "derivative": {torch.float64: 1e-10, torch.float32: 1e-4},
    "difference": {torch.float64: 1e-7, torch.float32: 1e-2},
    "batch": {torch.float64: 1e-12, torch.float32: 3e-5},
}
ROUNDINGS_IN_HALF_PRECISION = 32


def tolerance(quantity: str, dtype: torch.dtype, tolerances: Tolerances = CONTRACT_TOLERANCES) -> float:
    """The relative tolerance of a quantity.

    Types narrower than float32 get 32 times their machine epsilon.

    Raises:
        ConfigError: an unknown quantity, or one that is not tested in this dtype.
    """
    if quantity not in tolerances:
        raise ConfigError(f"there is no quantity {quantity!r}: {nearest(quantity, tolerances)}")
    if dtype in (torch.bfloat16, torch.float16):
        return ROUNDINGS_IN_HALF_PRECISION * torch.finfo(dtype).eps
    if dtype not in tolerances[quantity]:
        tested = ", ".join(map(str, tolerances[quantity]))
        raise ConfigError(f"{quantity!r} is not tested in {dtype}. Use {tested}")
    return tolerances[quantity][dtype]


def relative_error(value: Tensor, expected: Tensor) -> float:
    """``|value - expected| / max(|expected|, tiny)`` with norms over all elements, in float64."""
    wide = expected.to(torch.float64)
    difference = torch.linalg.vector_norm(value.to(torch.float64) - wide)
    tiny = torch.finfo(torch.float64).tiny
    return float(difference / torch.linalg.vector_norm(wide).clamp_min(tiny))

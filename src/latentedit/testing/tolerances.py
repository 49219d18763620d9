"""How close is close: relative tolerances of the maths tests, keyed by quantity and dtype."""

import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, nearest

TOLERANCES: dict[str, dict[torch.dtype, float]] = {
    "coordinates": {torch.float64: 1e-13, torch.float32: 1e-6},
    "ddim": {torch.float64: 1e-12, torch.float32: 1e-5},
    "prediction": {torch.float64: 1e-12, torch.float32: 1e-5},
    "guidance": {torch.float64: 1e-12, torch.float32: 1e-5},
    "velocity": {torch.float64: 1e-12, torch.float32: 1e-5},
    "quadrature": {torch.float64: 1e-8},
    "score": {torch.float64: 1e-10},
    "derivative": {torch.float64: 1e-10, torch.float32: 1e-4},
    "difference": {torch.float64: 1e-7, torch.float32: 1e-2},
    "covariance": {torch.float64: 1e-9},
    "flow_map": {torch.float64: 1e-10},
    "edit": {torch.float64: 1e-9},
    "batch": {torch.float64: 1e-12, torch.float32: 3e-5},
}
"""Why these: float64 columns are a few hundred roundings, except "difference", which is bounded by the truncation of
central differences, and "quadrature". "difference" in float32 is the measured error of a network (1e-4) with room for
networks that are less smooth (5.6e-3 with ReLU); "batch" allows for kernels that sum in another order for another batch
size, which on processors without AVX-512 comes to 1.6e-5 at the last blocks of a network."""


def tolerance(quantity: str, dtype: torch.dtype) -> float:
    """The relative tolerance of a quantity; narrower dtypes than float32 get 32 times their machine epsilon."""
    if quantity not in TOLERANCES:
        raise ConfigError(f"there is no quantity {quantity!r}: {nearest(quantity, TOLERANCES)}")
    if dtype in (torch.bfloat16, torch.float16):
        return 32 * torch.finfo(dtype).eps
    if dtype not in TOLERANCES[quantity]:
        raise ConfigError(f"{quantity!r} is not tested in {dtype}. Use {', '.join(map(str, TOLERANCES[quantity]))}")
    return TOLERANCES[quantity][dtype]


def relative_error(got: Tensor, expected: Tensor) -> float:
    """``|got - expected| / max(|expected|, tiny)`` with norms over all elements, in float64."""
    wide = expected.to(torch.float64)
    difference = torch.linalg.vector_norm(got.to(torch.float64) - wide)
    return float(difference / torch.linalg.vector_norm(wide).clamp_min(torch.finfo(torch.float64).tiny))

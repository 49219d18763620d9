"""Relative tolerances of the tests of mathematics, by quantity and dtype."""

import functools

import torch

from latentedit.testing.contracts import closeness
from latentedit.testing.contracts.closeness import relative_error

# In float64, tolerances are a few hundred roundings, except that of "quadrature".
TOLERANCES: closeness.Tolerances = {
    **closeness.CONTRACT_TOLERANCES,
    "coordinates": {torch.float64: 1e-13, torch.float32: 1e-6},
    "ddim": {torch.float64: 1e-12, torch.float32: 1e-5},
    "prediction": {torch.float64: 1e-12, torch.float32: 1e-5},
    "guidance": {torch.float64: 1e-12, torch.float32: 1e-5},
    "velocity": {torch.float64: 1e-12, torch.float32: 1e-5},
    "quadrature": {torch.float64: 1e-8},
    "score": {torch.float64: 1e-10},
    "covariance": {torch.float64: 1e-9},
    "flow_map": {torch.float64: 1e-10},
    "edit": {torch.float64: 1e-9},
}
tolerance = functools.partial(closeness.tolerance, tolerances=TOLERANCES)

__all__ = ["TOLERANCES", "relative_error", "tolerance"]

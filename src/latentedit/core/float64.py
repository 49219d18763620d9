"""Float64 wherever numbers live: on their device, or on the CPU where that has none, as Apple's."""

import torch
from torch import Tensor

_WITHOUT = frozenset({"mps"})


def float64_device(device: torch.device) -> torch.device:
    """The device itself, or the CPU for one without float64."""
    return torch.device("cpu") if device.type in _WITHOUT else device


def to_float64(x: Tensor) -> Tensor:
    """The numbers of x in float64, on its `float64_device`.

    It is moved before it is cast: ``x.to("cpu", torch.float64)`` casts where x is.
    """
    return x.to(float64_device(x.device)).double()

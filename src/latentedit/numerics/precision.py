"""Double precision on every device: on the CPU where a device has no float64, such as Apple's."""

import torch
from torch import Tensor

_WITHOUT_FLOAT64 = frozenset({"mps"})


def float64_device(device: torch.device) -> torch.device:
    """The device itself, or the CPU for one without float64."""
    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device


def to_float64(x: Tensor) -> Tensor:
    """The numbers of x in float64, on its `float64_device`."""
    # Moved before it is cast: ``x.to("cpu", torch.float64)`` casts on the device of x.
    return x.to(float64_device(x.device)).double()

"""Where networks run and in which dtype: checked by name, then moved and frozen."""

from typing import Any

import torch
from torch import nn

from latentedit.core.errors import ConfigError, DeviceError
from latentedit.models.loading import quiet_libraries

_NETWORK_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def placed(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Moved and frozen; cast only if need be, for T5 keeps some matrices in float32 when it is loaded in float16.

    Its group norms are fed with contiguous tensors only: PyTorch has no forward mode for others.
    """
    with quiet_libraries():
        moved = network.to(device) if network.dtype == dtype else network.to(device=device, dtype=dtype)
    for module in moved.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    return moved.eval().requires_grad_(False)


def known_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The dtype asked for, float32 by default.

    Raises:
        ConfigError: a dtype that networks do not run in.
    """
    chosen = torch.float32 if dtype is None else dtype
    if chosen not in _NETWORK_DTYPES:
        raise ConfigError(f"expected one of {', '.join(map(str, _NETWORK_DTYPES))}; got {chosen}")
    return chosen


def existing_device(device: torch.device | str | None) -> torch.device:
    """The device asked for, or the best there is.

    Raises:
        DeviceError: a device that this machine lacks.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"expected a device of this machine; got {device}. Use device='cpu'") from error
    return chosen

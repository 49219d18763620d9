"""Devices and dtypes in which networks run."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from latentedit.core.errors import ConfigError, DeviceError

# Types of devices that compute; "meta" does not.
_DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")

_NETWORK_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@contextmanager
def plain_default() -> Generator[None]:
    """Make tensors without a device on the CPU, whatever torch.set_default_device says; also a decorator."""
    if torch.get_default_device().type == "cpu":
        yield
    else:
        with torch.device("cpu"):
            yield


def parse_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype in which networks run, or the one of that name."""
    chosen = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    if chosen not in _NETWORK_DTYPES:
        names = ", ".join(dtype_name(dtype) for dtype in _NETWORK_DTYPES)
        raise ConfigError(f"networks do not run in {dtype}. Use auto, or one of {names}")
    return chosen


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as it is given: "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def half_or_float32(device: torch.device | str | None) -> torch.dtype:
    """Bfloat16, or float32 where half precision is the slower one: on a processor without AVX-512.

    PyTorch has fast kernels of half precision for AVX-512 only. With AVX2, in PyTorch 2.13, a linear layer took 8 times
    and a convolution 50 times as long in bfloat16 or float16 as in float32.
    """
    slow = existing_device(device).type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT")
    return torch.float32 if slow else torch.bfloat16


def existing_device(device: torch.device | str | None) -> torch.device:
    """The requested device, or the best one of this machine."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type not in _DEVICE_TYPES:
            raise DeviceError(f"{device} is no device that networks run on. Use one of {', '.join(_DEVICE_TYPES)}")
        # Allocate something: a device can have a valid name and not exist.
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f'this machine has no device {device}. Use `device="cpu"`') from error
    return chosen

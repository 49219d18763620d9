"""Where the networks of a pipeline lie and in which dtype, for pipelines that we load ourselves.

A live pipeline is taken as it is: nothing in it is moved, cast or frozen. Its owner can do what `place` does with the
same methods of diffusers.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn

from latentedit.core.errors import ConfigError, DeviceError, nearest, require
from latentedit.models.libraries import quiet_libraries

Policy = Literal["resident", "model", "groups"]
"""All networks on the device; the one that is asked on it and the others in memory; the same layer by layer."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

_DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that compute; "meta" only pretends to."""

_NETWORK_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_SMALL_BYTES = 2 * 2**30
"""Models whose networks take no more than this in float32 run in float32 on every device unless told otherwise."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Device, dtype and storage of the networks.

    Args:
        device: on which they run.
        dtype: in which they run; the VAE in float32 or better.
        policy: which of them lie on the device.
        storage: dtype in which the denoiser's layers are kept between calls, such as ``torch.float8_e4m3fn``; None is
            ``dtype``.

    Raises:
        ConfigError: an unknown policy or a dtype that networks do not run in.
    """

    device: torch.device
    dtype: torch.dtype
    policy: Policy = "resident"
    storage: torch.dtype | None = None

    def __post_init__(self) -> None:
        known_dtype(self.dtype)
        if self.policy not in POLICIES:
            raise ConfigError(f"no placement policy is called {self.policy!r}. {nearest(self.policy, POLICIES)}")


def place(components: Mapping[str, Any], placement: Placement, *, denoiser: str) -> None:
    """Move, freeze and cast the networks of a pipeline; ``denoiser`` names the one with `Placement.storage`."""
    device, dtype = placement.device, placement.dtype
    networks = {name: part for name, part in components.items() if isinstance(part, nn.Module)}
    for name, network in networks.items():
        wide = torch.promote_types(dtype, torch.float32) if name == "vae" else dtype
        placed(network, device if placement.policy == "resident" else torch.device("cpu"), wide)
    if placement.storage is not None:
        stored: Any = networks[denoiser]
        stored.enable_layerwise_casting(storage_dtype=placement.storage, compute_dtype=dtype)
    if placement.policy == "model":
        offload: Any = require("accelerate", "offload")
        order = [name for name in networks if name not in (denoiser, "vae")] + [denoiser, "vae"]
        before = None
        for name in order:
            _, before = offload.cpu_offload_with_hook(networks[name], device, prev_module_hook=before)
    elif placement.policy == "groups":
        from diffusers.hooks import apply_group_offloading  # noqa: PLC0415 (rarely wanted, and slow to import)

        for network in networks.values():
            apply_group_offloading(
                network, onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )


def placed(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Move and freeze a network; cast it only if need be, as T5 loaded in float16 keeps some matrices in float32."""
    with quiet_libraries():
        moved = network.to(device) if network.dtype == dtype else network.to(device=device, dtype=dtype)
    return moved.eval().requires_grad_(False)


def known_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype in which networks run, or the one of that name."""
    chosen = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    if chosen not in _NETWORK_DTYPES:
        names = ", ".join(dtype_name(known) for known in _NETWORK_DTYPES)
        raise ConfigError(f"networks do not run in {dtype}. Use auto, or one of {names}")
    return chosen


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as it is given: "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def suited_dtype(device: torch.device, *, bytes_float32: int, half: torch.dtype) -> torch.dtype:
    """Resolve ``dtype="auto"``: float32 on the CPU and for small models, else the half precision of the family."""
    return torch.float32 if device.type == "cpu" or bytes_float32 <= _SMALL_BYTES else half


def half_or_float32(device: torch.device | str | None) -> torch.dtype:
    """Bfloat16, or float32 where half precision is the slower one: on a processor without AVX-512.

    PyTorch has fast kernels of half precision for AVX-512 only. With AVX2, in PyTorch 2.13, a linear layer took 8 times
    and a convolution 50 times as long in bfloat16 or float16 as in float32.
    """
    slow = existing_device(device).type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT")
    return torch.float32 if slow else torch.bfloat16


def warn_of_slow_dtype(placement: Placement) -> None:
    """Warn if the processor has no fast kernels for the half precision of a placement."""
    if placement.dtype.itemsize == 2 and half_or_float32(placement.device) == torch.float32:
        warnings.warn(
            f"{dtype_name(placement.dtype)} takes about 30 times as long as float32 on this processor, which lacks "
            "AVX-512. Use dtype float32",
            stacklevel=3,
        )


def existing_device(device: torch.device | str | None) -> torch.device:
    """The requested device, or the best one of this machine."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type not in _DEVICE_TYPES:
            raise DeviceError(f"{device} is no device that networks run on. Use one of {', '.join(_DEVICE_TYPES)}")
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f'this machine has no device {device}. Use `device="cpu"`') from error
    return chosen

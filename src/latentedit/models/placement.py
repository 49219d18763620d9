"""Device and dtype of the networks of a pipeline that is loaded here.

A live pipeline is taken as it is: nothing in it is moved, cast or frozen. Its owner can do what `place` does with the
same methods of diffusers.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import psutil
import torch
from torch import nn

from latentedit.core.errors import ModelError
from latentedit.core.plugins import require
from latentedit.core.setting import check_value
from latentedit.models.weights import Shapes
from latentedit.numerics.device import dtype_name, half_or_float32, parse_dtype

Policy = Literal["resident", "model", "groups"]
"""All networks on the device; only the network in use, the others in memory; the same layer by layer."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

Storage = Literal["fp8"]

STORAGES = {"fp8": torch.float8_e4m3fn}
"""Names of dtypes in which layers can be stored, and not computed."""

# Models of at most this size in float32 run in float32 on every device by default.
_SMALL_BYTES = 2 * 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Device, dtype and storage of the networks; the VAE is in float32 or better.

    ``storage`` is the dtype in which the denoiser's layers are kept between calls, such as ``torch.float8_e4m3fn``;
    None is ``dtype``.
    """

    device: torch.device
    dtype: torch.dtype
    policy: Policy = "resident"
    storage: torch.dtype | None = None

    def __post_init__(self) -> None:
        parse_dtype(self.dtype)
        check_value(Policy, placement=self.policy)


def place(components: Mapping[str, Any], placement: Placement, *, denoiser: str) -> None:
    """Move and freeze the networks of a pipeline; ``denoiser`` names the one with `Placement.storage`."""
    device = placement.device
    networks: dict[str, Any] = {name: part for name, part in components.items() if isinstance(part, nn.Module)}
    for network in networks.values():
        network.eval().requires_grad_(False)
        if placement.policy == "resident":
            network.to(device)
    if placement.storage is not None:
        networks[denoiser].enable_layerwise_casting(storage_dtype=placement.storage, compute_dtype=placement.dtype)
    if placement.policy == "model":
        offload: Any = require("accelerate", "offload")
        # The order of sampling: when a network is called, the previous one leaves the device.
        before = None
        for name in sorted(networks, key=lambda name: (name == "vae", name == denoiser)):
            _, before = offload.cpu_offload_with_hook(networks[name], device, prev_module_hook=before)
    elif placement.policy == "groups":
        from diffusers.hooks import apply_group_offloading  # noqa: PLC0415 (rarely wanted, and slow to import)

        for network in networks.values():
            apply_group_offloading(
                network, onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )


def parse_storage(storage: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype in which layers are stored, or the one of that name."""
    if not isinstance(storage, str):
        return storage
    check_value(Storage, storage=storage)
    return STORAGES[storage]


def suited_dtype(device: torch.device, *, bytes_float32: int, half: torch.dtype) -> torch.dtype:
    """Resolve ``dtype="auto"``: float32 on the CPU and for small models, else the half precision of the family."""
    return torch.float32 if device.type == "cpu" or bytes_float32 <= _SMALL_BYTES else half


def warn_of_slow_dtype(placement: Placement) -> None:
    """Warn if the processor has no fast kernels for the half precision of a placement."""
    if placement.dtype.itemsize == 2 and half_or_float32(placement.device) == torch.float32:
        warnings.warn(
            f"{dtype_name(placement.dtype)} takes about 30 times as long as float32 on this processor, which lacks "
            "AVX-512. Use dtype float32",
            stacklevel=3,
        )


def check_memory(shapes: Iterable[Shapes], placement: Placement, *, name: str) -> None:
    """Raise a `ModelError` if the weights are larger than the free memory, through which they pass on every device.

    A process that runs out of memory on the CPU is killed without a message.
    """
    needed = numbers_of(shapes) * placement.dtype.itemsize
    free = psutil.virtual_memory().available
    if needed > free:
        what = f"the weights of {name} take {gigabytes(needed)} in {dtype_name(placement.dtype)}"
        raise ModelError(f"{what}; {gigabytes(free)} are free. Use dtype bfloat16, or a smaller model")


def numbers_of(shapes: Iterable[Shapes]) -> int:
    """How many numbers the weights have."""
    return sum(math.prod(shape) for part in shapes for shape in part.values())


def gigabytes(count: int) -> str:
    """A number of bytes in GB (10^9) or MB."""
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"

"""A simulated device other than the CPU: code that mixes the two fails as on a GPU.

Its tensors report PyTorch's device "meta" and hold their numbers on the CPU. An operation on tensors of both devices,
or with a CPU generator for numbers there, is an error; so is reading numbers without ``.cpu()``. As on Apple's devices,
there is no float64, and copies are cast there.
"""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from latentedit.models import attention
from latentedit.numerics import device, precision

DEVICE = torch.device("meta")

_attended: Any = torch.ops.aten._scaled_dot_product_attention_math

_ACROSS = (
    torch.ops.aten.copy_.default,
    torch.ops.aten._to_copy.default,
)  # operations that may take tensors of two devices

_INDEXED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)
"""Operations that may take CPU indices into tensors of another device, but not the reverse."""

_ABSENT = (torch.ops.aten.linalg_qr.default, torch.ops.aten._linalg_svd.default, torch.ops.aten._linalg_eigh.default)
"""Operations that Apple's device lacks in some supported version of PyTorch."""


class Away(Tensor):
    """A tensor on the simulated device."""

    held: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "Away":
        make: Any = Tensor._make_wrapper_subclass
        made = make(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        """Numbers, which every device gives."""
        return self.held.tolist()

    def numpy(self, **_options: Any) -> Any:
        """Rejected, as on any device other than the CPU."""
        raise TypeError("numbers of another device are read without .cpu()")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """One operation of PyTorch."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away, report = [isinstance(one, Away) for one in tensors], kwargs.get("device")
    if func in _INDEXED:
        mixed = any(away) and not away[0]
    else:
        mixed = any(away) and any(one.ndim and not there for one, there in zip(tensors, away, strict=True))
    if mixed and func not in _ACROSS:
        raise RuntimeError(f"{func} got tensors of two devices")
    if any(away) and func in _ABSENT:
        raise NotImplementedError(f"{func} is not there on the device")
    there = any(away) if report is None else torch.device(report) == DEVICE
    if there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func} got a generator of the CPU for another device")
    here = dict(kwargs) if report is None else {**kwargs, "device": torch.device("cpu")}
    inner, options = tree_map_only(Away, lambda one: one.held, (args, here))
    found = func(*inner, **options)
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return args[index] if index < len(args) else kwargs[argument.name]
    cast = there or (any(away) and func is torch.ops.aten._to_copy.default)
    if cast and any(leaf.dtype == torch.float64 for leaf in tree_leaves(found) if isinstance(leaf, Tensor)):
        raise TypeError(f"{func} makes float64 on a device that has none")
    return tree_map_only(Tensor, Away, found) if there else found


class _Dispatch(TorchDispatchMode):
    """Creates tensors on the device, and copies them there and back."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Function(TorchFunctionMode):
    """Calls that PyTorch handles before dispatch: numbers from Python, and lists as indices."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and torch.device(options.get("device") or "cpu") == DEVICE:
            return func(*args, **{**options, "device": "cpu"}).to(DEVICE)
        if func is Tensor.new_tensor and isinstance(args[0], Away):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **options}).to(DEVICE)
        if func is Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1])]
        return func(*args, **options)


@contextlib.contextmanager
def pretended() -> Generator[None]:
    """Inside, networks run on the device."""
    with pytest.MonkeyPatch.context() as patch, _Dispatch(), _Function():
        patch.setattr(device, "_DEVICE_TYPES", (*device._DEVICE_TYPES, DEVICE.type))
        patch.setattr(precision, "_WITHOUT_FLOAT64", frozenset({DEVICE.type}))
        patch.setattr(attention, "_math", lambda *args, **options: _attended(*args, **options)[0])  # no autocast there
        yield

"""Sizes in a model's configuration, bounded before anything of them is allocated.

The bounds are those of the weights: no model has more layers than its files have tensors, or many more numbers.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from latentedit.core.errors import ModelError
from latentedit.models.libraries import unallocated

MOST_ENTRIES = 1000
"""Of a list in a network's configuration, such as the channels of each block."""

# The largest values of fields by patterns of their names: a constructor takes long over them, or does not build them.
_LARGEST = {
    "layers|blocks|depth": 1000,
    "^num_train_timesteps$": 100_000,  # steps of a scheduler; released models have 1,000
    "^pos_embed_max_size$|axes": 10_000,  # rows of tables of positions, some computed at the first evaluation
    "padding$": 100,  # pixels
}

_MOST_NUMBERS = 10_000_000  # allowed although a network's files have fewer: tables that are computed
_MOST_TENSORS = 100  # allowed although a network's files have fewer
_PACKED = 4  # numbers of a network for each of its files: quantized ones hold two in a byte
_ALLOCATES = frozenset((torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn))
_FILLS = frozenset((torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_))
Shapes = Mapping[str, tuple[int, ...]]


def check_fields(file: Path, configuration: Mapping[str, Any]) -> None:
    """Refuse values in the configuration of a scheduler or a network that no model has."""
    for name, value in _entries(configuration):
        if isinstance(value, list) and len(value) > MOST_ENTRIES:
            raise _too_large(file, f"the length of {name}", len(value), MOST_ENTRIES)
        for field, most in _LARGEST.items():
            if isinstance(value, int) and value > most and re.search(field, name):
                raise _too_large(file, name, value, most)


def check_built(file: Path, configuration: Mapping[str, Any], kind: Any, shapes: Shapes) -> None:
    """Refuse a network with many more numbers or tensors than its weights, if these are known; allocates nothing."""
    if not shapes:
        return
    counting = _Counting(
        file,
        most=max(_PACKED * sum(map(math.prod, shapes.values())), _MOST_NUMBERS),
        most_tensors=_PACKED * len(shapes) + _MOST_TENSORS,
    )
    try:
        with counting:
            network = unallocated(kind, configuration, file.parent)
        counting.numbers = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    except Exception as error:  # noqa: BLE001 (configurations fail in as many ways as there are models)
        if "overflow" in str(error):
            counting.numbers = sys.maxsize
        # otherwise the library's own error says more; or it computes tables of which it reads numbers
    counting.check()


class _Counting(TorchFunctionMode):
    """Counts what a constructor allocates on the meta device, stops it beyond a bound, and leaves out initial values.

    These would take most of the time.
    """

    def __init__(self, file: Path, *, most: int, most_tensors: int) -> None:
        super().__init__()
        self.numbers = self.tensors = 0
        self.file, self.most, self.most_tensors = file, most, most_tensors

    def check(self) -> None:
        """Refuse counts beyond the bounds."""
        if self.numbers > self.most:
            raise _too_large(self.file, "the number of parameters", self.numbers, self.most)
        if self.tensors > self.most_tensors:
            raise _too_large(self.file, "the number of tensors", self.tensors, self.most_tensors)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or (func in _FILLS and args[0].is_meta):
            return args[0] if args else kwargs["tensor"]
        made = func(*args, **(kwargs or {}))
        if func in _ALLOCATES:
            self.numbers, self.tensors = self.numbers + made.numel(), self.tensors + 1
        elif isinstance(made, torch.Tensor):  # a table, which a network may hold without registering it
            self.numbers = max(self.numbers, made.numel())
        self.check()
        return made


def _entries(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """All values in nested objects and lists, with the name of the field that they are in."""
    yield name, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entries(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, name)


def _too_large(file: Path, name: str, value: int, most: int) -> ModelError:
    return ModelError(f"{file}: {name} is {value:,}, more than allowed ({most:,}). Download the folder again")

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

from latentedit.core.errors import ModelError
from latentedit.models.libraries import quiet_libraries

MOST_TRAIN_STEPS = 100_000
"""Of a scheduler; released models have 1,000. A table has a few numbers for each."""

MOST_ENTRIES = 1000
"""Of a list in a network's configuration, such as the channels of each block."""

_MOST_NUMBERS = 10_000_000  # of a network whose files have fewer: tables that are computed
_PACKED = 4  # numbers of a network for each of its files: quantized ones hold two in a byte
_FEW = 100  # layers or sides that are never too many
_LAYERS = re.compile(r"layers|blocks|depth")
_TABLE = "pos_embed_max_size"  # side of a computed table, which is also stored
_Shapes = Mapping[str, tuple[int, ...]]


def check_scheduler(file: Path, configuration: Mapping[str, Any]) -> None:
    """Refuse tables of a scheduler that no model needs."""
    steps = configuration.get("num_train_timesteps")
    if isinstance(steps, int) and steps > MOST_TRAIN_STEPS:
        raise _too_large(file, "num_train_timesteps", steps, MOST_TRAIN_STEPS)


def check_network(file: Path, configuration: Mapping[str, Any], shapes: _Shapes) -> None:
    """Refuse counts in a network's configuration that its weights, of these shapes, cannot have."""
    layers = max(len(shapes), _FEW) if shapes else MOST_ENTRIES  # GGUF names no shapes
    side = max((max(shape, default=1) for shape in shapes.values()), default=MOST_ENTRIES)
    for name, value in _entries(configuration):
        if isinstance(value, list) and len(value) > MOST_ENTRIES:
            raise _too_large(file, f"the length of {name}", len(value), MOST_ENTRIES)
        if isinstance(value, int) and _LAYERS.search(name) and value > layers:
            raise _too_large(file, name, value, layers)
        if isinstance(value, int) and name == _TABLE and value > max(side, _FEW):
            raise _too_large(file, name, value, max(side, _FEW))


def check_built(file: Path, configuration: Mapping[str, Any], kind: Any, shapes: _Shapes) -> None:
    """Refuse a network that would have many more numbers than its weights, if these are known; allocates nothing."""
    if not shapes:
        return
    most = max(_PACKED * sum(map(math.prod, shapes.values())), _MOST_NUMBERS)
    try:
        with quiet_libraries(), torch.device("meta"):
            if hasattr(kind, "config_class"):  # a class of transformers
                network = kind(kind.config_class.from_dict(dict(configuration)))
            else:
                network = kind.from_config(dict(configuration))
    except Exception as error:  # configurations fail in as many ways as there are models
        if "overflow" in str(error):
            raise _too_large(file, "the number of parameters", sys.maxsize, most) from error
        return  # the library's own error says more; or it computes tables of which it reads numbers
    numbers = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    if numbers > most:
        raise _too_large(file, "the number of parameters", numbers, most)


def _entries(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """All values in nested objects and lists, with the name of the field that they are in."""
    yield name, value
    if isinstance(value, Mapping):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _entries(inner, str(key))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        for inner in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _entries(inner, name)


def _too_large(file: Path, name: str, value: int, most: int) -> ModelError:
    return ModelError(f"{file}: {name} is {value:,}, more than the weights allow ({most:,}). Download the folder again")

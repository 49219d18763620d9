"""A graph of ONNX as a differentiable module of torch, for the operators of one network; the file is read without onnx.

A file is a message of protocol buffers: fields, each a key (number of the field and kind of its value) and a value.
`fields` reads one level, and the numbers below are those of ``onnx.proto3``.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentedit.core import ConfigError

_FLOAT, _INT64 = 1, 7  # kinds of tensors
_SIGNED = 1 << 63


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def fields(data: memoryview) -> dict[int, list[Any]]:
    """The values of each field of a message: numbers, or bytes that may be messages themselves."""
    found: dict[int, list[Any]] = {}
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        if key & 7 == 0:
            value, place = varint(data, place)
        else:
            length = {1: 8, 5: 4}.get(key & 7)
            if length is None:
                length, place = varint(data, place)
            value, place = data[place : place + length], place + length
        found.setdefault(key >> 3, []).append(value)
    return found


def text(value: memoryview) -> str:
    """A field of characters."""
    return bytes(value).decode()


def signed(value: int) -> int:
    """A number of 64 bits with its sign."""
    return value - 2 * _SIGNED if value >= _SIGNED else value


def packed(values: Sequence[Any]) -> list[int]:
    """Repeated whole numbers, each in a field or all in one."""
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(signed(value))
            continue
        place = 0
        while place < len(value):
            number, place = varint(value, place)
            numbers.append(signed(number))
    return numbers


def tensor_of(message: memoryview) -> tuple[str, Tensor]:
    """A stored tensor with its name."""
    parts = fields(message)
    kind = parts[2][0]
    if kind not in (_FLOAT, _INT64):
        raise ConfigError(f"tensors of kind {kind} are not known here; only float32 (1) and int64 (7) are")
    shape = packed(parts.get(1, []))
    if 9 in parts:
        raw = bytearray(parts[9][0])
        values = torch.frombuffer(raw, dtype=torch.float32 if kind == _FLOAT else torch.int64)
    elif kind == _FLOAT:
        values = torch.frombuffer(bytearray(b"".join(bytes(one) for one in parts[4])), dtype=torch.float32)
    else:
        values = torch.tensor(packed(parts.get(7, [])), dtype=torch.int64)
    return text(parts[8][0]) if 8 in parts else "", values.reshape(shape)


def attribute_of(message: memoryview) -> tuple[str, Any]:
    """An attribute of a node: a number, a text, a tensor or a list of numbers."""
    parts = fields(message)
    name = text(parts[1][0])
    if 2 in parts:
        return name, struct.unpack("<f", parts[2][0])[0]
    if 4 in parts:
        return name, text(parts[4][0])
    if 5 in parts:
        return name, tensor_of(parts[5][0])[1]
    if 8 in parts:
        return name, packed(parts[8])
    return name, signed(parts[3][0]) if 3 in parts else None


class OnnxGraph(nn.Module):
    """The network of a file; ``taps`` are modules through which the named tensors go, so that these can be sites."""

    def __init__(self, file: Path, *, taps: Mapping[str, str]) -> None:
        super().__init__()
        graph = fields(memoryview(fields(memoryview(file.read_bytes()))[7][0]))
        self._nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        for message in graph[1]:
            parts = fields(message)
            inputs, outputs = ([text(one) for one in parts.get(number, [])] for number in (1, 2))
            kind, attributes = text(parts[4][0]), dict(attribute_of(one) for one in parts.get(5, []))
            if kind not in OPERATORS:
                raise ConfigError(f"the operator {kind} is not known here")
            self._nodes.append((kind, inputs, outputs, attributes))
        self._constants = dict(tensor_of(one) for one in graph.get(5, []))
        self.input_names, self.output_names = (
            [text(fields(one)[1][0]) for one in graph[number]] for number in (11, 12)
        )
        self.taps = nn.ModuleDict({name: nn.Identity() for name in taps})
        self._tapped = {tensor: name for name, tensor in taps.items()}
        self._last = {name: index for index, (_, inputs, _, _) in enumerate(self._nodes) for name in inputs}

    def forward(self, *inputs: Tensor) -> Tensor:
        """The first output, from the inputs in the order of `input_names`."""
        values: dict[str, Tensor] = {**self._constants, **dict(zip(self.input_names, inputs, strict=True))}
        for index, (kind, names, outputs, attributes) in enumerate(self._nodes):
            found = OPERATORS[kind]([values[name] if name else None for name in names], attributes)
            for name, value in zip(outputs, found, strict=True):
                values[name] = self.taps[self._tapped[name]](value) if name in self._tapped else value
            for name in set(names):
                if self._last[name] == index and name not in self.output_names:
                    values.pop(name, None)
        return values[self.output_names[0]]


Inputs = list[Any]
Attributes = dict[str, Any]


def _reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    value, shape = inputs[0], inputs[1].tolist()
    if not attributes.get("allowzero"):
        shape = [value.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return value.reshape(shape)


def _shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.tensor(list(inputs[0].shape)[attributes.get("start", 0) : attributes.get("end")])


def _conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    value = functional.pad(inputs[0], (left, right, top, bottom)) if any((top, left, bottom, right)) else inputs[0]
    how = {name: attributes.get(of, default) for name, of, default in _CONV}
    return functional.conv2d(value, inputs[1], inputs[2] if len(inputs) > 2 else None, **how)


_CONV = (("stride", "strides", [1, 1]), ("dilation", "dilations", [1, 1]), ("groups", "group", 1))


def _instance_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    value, weight, bias = inputs
    axes = tuple(range(2, value.ndim))
    variance, mean = torch.var_mean(value, axes, correction=0, keepdim=True)
    shape = (1, -1, *[1] * len(axes))
    scale = (variance + attributes["epsilon"]).rsqrt()
    return (value - mean) * scale * weight.reshape(shape) + bias.reshape(shape)


def _gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    a, b = (one.T if attributes.get(name) else one for one, name in zip(inputs, ("transA", "transB"), strict=False))
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _split(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, ...]:
    axis, value = attributes.get("axis", 0), inputs[0]
    if len(inputs) > 1:
        return value.split(inputs[1].tolist(), axis)
    return value.split(math.ceil(value.shape[axis] / attributes["num_outputs"]), axis)


def _unsqueeze(inputs: Inputs, _attributes: Attributes) -> Tensor:
    value = inputs[0]
    rank = value.ndim + len(inputs[1])
    for axis in sorted(one % rank for one in inputs[1].tolist()):
        value = value.unsqueeze(axis)
    return value


def _squeeze(inputs: Inputs, _attributes: Attributes) -> Tensor:
    axes = tuple(inputs[1].tolist()) if len(inputs) > 1 else tuple(i for i, n in enumerate(inputs[0].shape) if n == 1)
    return inputs[0].squeeze(axes)


def _pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    return functional.avg_pool2d(inputs[0], attributes["kernel_shape"], attributes["strides"])


def _resize(inputs: Inputs, _attributes: Attributes) -> Tensor:
    """Nearest neighbors at whole scales, where rounding down is repetition."""
    value, (*scales,) = inputs[0], (inputs[2] if len(inputs) > 2 and inputs[2] is not None else torch.ones(0)).tolist()
    sizes = inputs[3].tolist() if not scales else [n * int(k) for n, k in zip(value.shape, scales, strict=True)]
    for axis in (2, 3):
        value = value.repeat_interleave(sizes[axis] // value.shape[axis], axis)
    return value


def _plain(function: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], tuple[Tensor, ...]]:
    """An operator of its inputs alone."""
    return lambda inputs, _attributes: (function(*inputs),)


def _one(function: Callable[[Inputs, Attributes], Tensor]) -> Callable[[Inputs, Attributes], tuple[Tensor, ...]]:
    """An operator with one output."""
    return lambda inputs, attributes: (function(inputs, attributes),)


OPERATORS: Mapping[str, Callable[[Inputs, Attributes], Sequence[Tensor]]] = {
    **{name: _plain(getattr(torch, name.lower())) for name in ("Mul", "Add", "Sub", "Div", "Pow", "Sigmoid")},
    **{name: _plain(getattr(torch, name.lower())) for name in ("Reciprocal", "Sqrt", "Log", "Cos", "Sin")},
    "AveragePool": _one(_pool),
    "Clip": _one(lambda inputs, _: torch.clamp(*inputs)),
    "Concat": _one(lambda inputs, attributes: torch.cat(inputs, attributes["axis"])),
    "Conv": _one(_conv),
    "Einsum": _one(lambda inputs, attributes: torch.einsum(attributes["equation"], *inputs)),
    "Gemm": _one(_gemm),
    "InstanceNormalization": _one(_instance_norm),
    "Reshape": _one(_reshape),
    "Resize": _one(_resize),
    "Shape": _one(_shape),
    "Softmax": _one(lambda inputs, attributes: inputs[0].softmax(attributes.get("axis", -1))),
    "Split": _split,
    "Squeeze": _one(_squeeze),
    "Unsqueeze": _one(_unsqueeze),
}
"""The operators of ONNX by name: inputs and attributes to outputs."""

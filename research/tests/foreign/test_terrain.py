"""Reading graphs of ONNX, operator by operator, and the conversion of a denoiser in the coordinates of EDM."""

import struct
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit.core import ConfigError
from latentedit.numerics import draw
from research.foreign.onnx_graph import OPERATORS, OnnxGraph, fields, packed, tensor_of
from research.foreign.terrain import LEVEL, SIDE, SIGMA, difficulty, terrain_backbone


def number(value: int) -> bytes:
    """A number of variable length."""
    value, coded = value % (1 << 64), bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    return bytes([*coded, value])


def field(index: int, value: int | float | bytes | str) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return number(index << 3) + number(value)
    if isinstance(value, float):
        return number(index << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(value)) + value


def tensor(name: str, values: Tensor) -> bytes:
    shape = b"".join(field(1, size) for size in values.shape)
    kind = 1 if values.dtype == torch.float32 else 7
    return shape + field(2, kind) + field(8, name) + field(9, values.contiguous().numpy().tobytes())


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: int | float | str | list[int]) -> bytes:
    message = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    for name, value in attributes.items():
        if isinstance(value, list):
            own = field(8, b"".join(number(one) for one in value))
        else:
            own = field({int: 3, float: 2, str: 4}[type(value)], value)
        message += field(5, field(1, name) + own)
    return message + field(4, kind)


def graph(path: Path, nodes: list[bytes], constants: dict[str, Tensor], inputs: list[str], output: str) -> Path:
    parts = [field(1, one) for one in nodes] + [field(5, tensor(name, value)) for name, value in constants.items()]
    parts += [field(11, field(1, name)) for name in inputs] + [field(12, field(1, output))]
    path.write_bytes(field(1, 9) + field(7, b"".join(parts)))
    return path


def test_a_message_is_read_field_by_field() -> None:
    found = fields(memoryview(field(1, 300) + field(2, "ab") + field(1, -1) + field(3, 1.5)))
    assert packed(found[1]) == [300, -1]
    assert bytes(found[2][0]) == b"ab"
    assert struct.unpack("<f", found[3][0]) == (1.5,)
    values = torch.arange(6.0).reshape(2, 3)
    name, read = tensor_of(memoryview(tensor("t", values)))
    assert name == "t"
    assert torch.equal(read, values)


def test_a_graph_computes_what_its_nodes_say_and_shows_its_middle(tmp_path: Path) -> None:
    weight, bias = draw((4, 1, 3, 3), seed=0, purpose="w"), draw((4,), seed=0, purpose="b")
    nodes = [
        node("Conv", ["x", "weight", "bias"], ["a"], pads=[1, 1, 1, 1], strides=[1, 1], group=1),
        node("Split", ["a"], ["b", "c"], axis=1, num_outputs=2),
        node("Sigmoid", ["b"], ["d"]),
        node("Mul", ["c", "d"], ["y"]),
    ]
    file = graph(tmp_path / "g.onnx", nodes, {"weight": weight, "bias": bias}, ["x"], "y")
    network, x = OnnxGraph(file, taps={"mid": "a"}), draw((2, 1, 5, 5), seed=1, purpose="x")
    kept: list[Tensor] = []
    network.taps["mid"].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    a = functional.conv2d(x, weight, bias, padding=1)
    assert torch.allclose(network(x), a[:, 2:] * a[:, :2].sigmoid(), atol=1e-6)
    assert torch.allclose(kept[0], a, atol=1e-6)


def test_operators_are_those_of_torch() -> None:
    x = draw((2, 4, 6, 6), seed=2, purpose="x")
    weight, bias = draw((4,), seed=2, purpose="w"), draw((4,), seed=2, purpose="b")
    (normed,) = OPERATORS["InstanceNormalization"]([x, weight, bias], {"epsilon": 1e-5})
    assert torch.allclose(normed, functional.instance_norm(x, weight=weight, bias=bias, eps=1e-5), atol=1e-5)
    (large,) = OPERATORS["Resize"]([x, None, torch.tensor([1.0, 1.0, 2.0, 2.0])], {})
    assert torch.equal(large, functional.interpolate(x, scale_factor=2, mode="nearest"))
    (line,) = OPERATORS["Gemm"]([x[0, 0], x[0, 1], x[0, 2]], {"transB": 1, "alpha": 2.0, "beta": 0.5})
    assert torch.allclose(line, 2 * x[0, 0] @ x[0, 1].T + 0.5 * x[0, 2], atol=1e-5)
    (shaped,) = OPERATORS["Reshape"]([x, torch.tensor([0, 2, -1])], {})
    assert shaped.shape == (2, 2, 72)
    (part,) = OPERATORS["Shape"]([x], {"start": 1, "end": 3})
    assert part.tolist() == [4, 6]
    (more,) = OPERATORS["Unsqueeze"]([x, torch.tensor([0, -1])], {})
    assert more.shape == (1, 2, 4, 6, 6, 1)


def test_unknown_operators_are_refused(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", [node("Erf", ["x"], ["y"])], {}, ["x"], "y")
    with pytest.raises(ConfigError, match="Erf"):
        OnnxGraph(file, taps={})


class Gaussian:
    """The posterior mean of heights that are independent and normal, in the coordinates of EDM."""

    mean, deviation = -0.3, 0.4
    taps: ClassVar[dict[str, torch.nn.Module]] = {}

    def __call__(self, noisy: Tensor, sigma: Tensor, _difficulty: Tensor) -> Tensor:
        variance = self.deviation**2
        share = variance / (variance + sigma.reshape(-1, 1, 1, 1) ** 2)
        return self.mean + share * (noisy - self.mean)


def test_velocity_of_a_gaussian_is_the_closed_form() -> None:
    model = terrain_backbone(Gaussian())  # type: ignore[arg-type]
    z = draw((2, 1, SIDE, SIDE), seed=3, purpose="z")
    found = model.velocity(z, torch.full((2,), LEVEL), model.embed(["10", "90"]))
    variance = (1 - LEVEL) ** 2 * Gaussian.deviation**2 + LEVEL**2
    offset = (z - (1 - LEVEL) * Gaussian.mean) / variance
    expected = (LEVEL - (1 - LEVEL) * Gaussian.deviation**2) * offset - Gaussian.mean
    assert torch.allclose(found, expected, atol=1e-4)
    assert pytest.approx(SIGMA) == LEVEL / (1 - LEVEL)


def test_difficulties_are_whole_numbers() -> None:
    assert [difficulty(text) for text in ("1", "100", "")] == [0, 1, 0.5]
    with pytest.raises(ConfigError, match="from 1 to 100"):
        difficulty("hard")

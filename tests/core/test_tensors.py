"""Tensor files round-trip bit for bit; damaged or hostile ones are rejected before memory is allocated."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from latentedit.core.errors import FileFormatError
from latentedit.numerics import tensor_files as tensor_file
from latentedit.numerics.tensor_files import MAX_BYTES, MAX_HEADER_BYTES, pack_tensors, read_tensor_file, unpack_tensors

NAMES = ("z", "tokens", "pooled", "preview")
TWO_TENSORS: dict[str, Any] = {
    "z": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "preview": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]},
}


def build_file(header: object, data: bytes = bytes(11)) -> bytes:
    """A safetensors file with any header, valid or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def single_tensor_file(dtype: str, shape: list[Any], size_bytes: int, data: bytes = b"") -> bytes:
    return build_file({"z": {"dtype": dtype, "shape": shape, "data_offsets": [0, size_bytes]}}, data)


def bits(tensor: Tensor) -> tuple[torch.dtype, list[int], bytes]:
    flat = tensor.contiguous().reshape(-1)
    return tensor.dtype, list(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def all_bits(values: dict[str, Tensor]) -> dict[str, object]:
    return {name: bits(value) for name, value in values.items()}


def test_tensors_round_trip_bit_for_bit_in_a_fixed_order() -> None:
    tensors = {
        "z": torch.tensor([[-0.0, 1e-45], [3e38, 1 / 3]]),
        "tokens": torch.arange(6).reshape(2, 3, 1).half()[:0],
        "pooled": torch.tensor(1 / 3, dtype=torch.bfloat16),
        "preview": torch.arange(256).to(torch.uint8),
    }
    metadata = {name: f"{name}é\n" for name in "hgfedcba"}
    data = pack_tensors(tensors, metadata)
    unpacked, texts = unpack_tensors(data, "me", allowed=NAMES)
    assert all_bits(unpacked) == all_bits(tensors)
    assert texts == metadata
    assert pack_tensors(dict(reversed(tensors.items())), dict(reversed(metadata.items()))) == data
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0, "the data is not aligned"
    assert list(json.loads(data[8 : 8 + length])["__metadata__"]) == list("abcdefgh")


def test_files_are_compatible_with_safetensors(tmp_path: Path) -> None:
    values = {"z": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)), "tokens": torch.ones(1, 2).half()}
    (tmp_path / "ours").write_bytes(pack_tensors(values, {"a": "é", "b": "\n"}))
    with safetensors.safe_open(tmp_path / "ours", "pt") as file:
        assert file.metadata() == {"a": "é", "b": "\n"}
        names = file.keys()
        assert all_bits({name: file.get_tensor(name) for name in names}) == all_bits(values)
    safetensors.torch.save_file(values, tmp_path / "theirs", {"a": "b"})
    unpacked, metadata = read_tensor_file(str(tmp_path / "theirs"), allowed=NAMES)
    assert all_bits(unpacked) == all_bits(values)
    assert metadata == {"a": "b"}


def test_views_can_be_packed_and_results_are_writable() -> None:
    values = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    shared = {"z": values, "preview": values, "tokens": values.T, "pooled": values[:1].expand(4, 3)}
    data = pack_tensors(shared, {})
    unpacked, _ = unpack_tensors(data, "me", allowed=NAMES)
    assert unpacked["z"].tolist() == unpacked["preview"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert unpacked["tokens"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert unpacked["pooled"].tolist() == [[0, 1, 2]] * 4
    unpacked["z"].add_(1)
    assert unpacked["preview"][0, 0] == unpack_tensors(data, "me", allowed=NAMES)[0]["z"][0, 0] == 0


def test_unreadable_values_are_not_packed() -> None:
    for values in (torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf]).half(), torch.ones(1, 1).double()):
        with pytest.raises(FileFormatError):
            pack_tensors({"z": values}, {})
    for text in ("x" * MAX_HEADER_BYTES, "\ud800"):
        with pytest.raises(FileFormatError):
            pack_tensors({"z": torch.ones(1)}, {"a": text})


HOSTILE = [
    (bytes(7), "me"),
    (struct.pack("<Q", 3) + b"{}", "me"),
    (b"\xff" * 8 + b"{}", "me"),
    (build_file(b"{" + b" " * (MAX_HEADER_BYTES - 1) + b"}", b""), "1000001"),
    (build_file(b"{'z': 1}"), "line 1, column 2"),
    (build_file({"evil\n\x1b[2J": TWO_TENSORS["z"]}), r"'evil\\n\\x1b"),
    (build_file({"x" * 9000: TWO_TENSORS["z"]}), "'xxx"),
    (build_file({"__metadata__": 1} | TWO_TENSORS), "metadata"),
    (build_file({"__metadata__": {"a": 1}} | TWO_TENSORS), "metadata"),
    (single_tensor_file("F64", [1], 8, bytes(8)), "'z'.*float64"),
    (single_tensor_file("F32", [2**40], 2**42, bytes(8)), "me"),
    (single_tensor_file("F32", [0, 2**27, 2**27, 2**27, 2**27], 0), "me"),
    (build_file(TWO_TENSORS, bytes(12)), "me"),
    (single_tensor_file("F32", [2], 8, struct.pack("<2f", 0, np.nan)), "'z'.*finite"),
    (single_tensor_file("BF16", [1], 2, b"\xc0\x7f"), "'z'.*finite"),
]


@pytest.mark.parametrize(("data", "value"), HOSTILE)
def test_hostile_bytes_are_rejected_in_one_line(data: bytes, value: str) -> None:
    with pytest.raises(FileFormatError, match=f"^me .*{value}|^{value} ") as caught:
        unpack_tensors(data, "me", allowed=NAMES)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_files_above_the_size_limit_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse, so it takes no disk space
    with pytest.raises(FileFormatError, match=str(MAX_BYTES)):
        read_tensor_file(tmp_path / "huge", allowed=NAMES)
    data = build_file(TWO_TENSORS, struct.pack("<2f3B", 1, 2, 3, 4, 5))
    monkeypatch.setattr(tensor_file, "MAX_BYTES", len(data))
    unpack_tensors(data, "me", allowed=NAMES)
    monkeypatch.setattr(tensor_file, "MAX_BYTES", len(data) - 1)
    with pytest.raises(FileFormatError, match=str(len(data))):
        unpack_tensors(data, "me", allowed=NAMES)

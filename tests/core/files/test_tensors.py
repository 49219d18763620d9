"""Tensors come back bit for bit; what is hostile or damaged is refused in one line, before memory is spent on it."""

import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import FileFormatError
from latentedit.core.files import tensors as tensor_file
from latentedit.core.files.tensors import MAX_BYTES, MAX_HEADER_BYTES, pack, read_tensor_file, unpack

ITEM_BYTES = {torch.float32: 4, torch.float16: 2, torch.bfloat16: 2, torch.uint8: 1}
NAMES = ("z", "tokens", "pooled", "preview")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TWO: dict[str, Any] = {
    "z": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "preview": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]},
}


def built(header: object, data: bytes = bytes(11)) -> bytes:
    """The format by its specification, whatever the header says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def two(**changes: object) -> bytes:
    """Two sound tensors, but for what is said otherwise of z."""
    return built(TWO | {"z": TWO["z"] | changes})


def one(dtype: str, shape: list[Any], size_bytes: int, data: bytes = b"") -> bytes:
    return built({"z": {"dtype": dtype, "shape": shape, "data_offsets": [0, size_bytes]}}, data)


def sound() -> bytes:
    values = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    return pack({"z": values, "pooled": values.bfloat16()[:0], "preview": values.byte()}, {"about": "é"})


def bits(tensor: Tensor) -> tuple[torch.dtype, list[int], bytes]:
    flat = tensor.contiguous().reshape(-1)
    return tensor.dtype, list(tensor.shape), flat.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def all_bits(tensors: dict[str, Tensor]) -> dict[str, object]:
    return {name: bits(tensor) for name, tensor in tensors.items()}


def refusal(data: bytes) -> str:
    with pytest.raises(FileFormatError) as caught:
        unpack(data, "me", allowed=NAMES)
    text = str(caught.value)
    assert text.startswith("me is ")
    assert text.isprintable()
    assert len(text) < 400
    return text


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any finite numbers that the bits of a type can say, of any shape."""
    dtype = draw(st.sampled_from(list(ITEM_BYTES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    count = int(np.prod(shape, dtype=int)) * ITEM_BYTES[dtype]
    values = torch.tensor(list(draw(st.binary(min_size=count, max_size=count))), dtype=torch.uint8).view(dtype)
    values = values.reshape(shape)
    return torch.where(values.isfinite(), values, -0.0) if dtype.is_floating_point else values


@pytest.mark.slow
@given(told=st.dictionaries(st.sampled_from(NAMES), tensors()), metadata=st.dictionaries(TEXTS, TEXTS))
def test_what_is_packed_is_unpacked_bit_for_bit(told: dict[str, Tensor], metadata: dict[str, str]) -> None:
    data = pack(told, metadata)
    found, texts = unpack(data, "me", allowed=NAMES)
    assert all_bits(found) == all_bits(told)
    assert texts == metadata
    other_way = {name: tensor.clone() for name, tensor in reversed(told.items())}
    assert pack(other_way, dict(reversed(metadata.items()))) == data


def test_the_library_reads_what_is_packed_and_we_read_what_it_writes(tmp_path: Path) -> None:
    values = {"z": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)), "tokens": torch.ones(1, 2).half()}
    (tmp_path / "ours").write_bytes(pack(values, {"a": "é", "b": "\n"}))
    with safetensors.safe_open(tmp_path / "ours", "pt") as file:
        assert file.metadata() == {"a": "é", "b": "\n"}
        names = file.keys()
        assert all_bits({name: file.get_tensor(name) for name in names}) == all_bits(values)
    safetensors.torch.save_file(values, tmp_path / "theirs", {"a": "b"})
    found, metadata = read_tensor_file(str(tmp_path / "theirs"), allowed=NAMES)
    assert all_bits(found) == all_bits(values)
    assert metadata == {"a": "b"}


@pytest.mark.nightly
def test_another_process_writes_the_same_bytes() -> None:
    """The library writes metadata in an order that is drawn by each process."""
    code = (
        "import sys, torch\nfrom latentedit.core.files.tensors import pack\n"
        "sys.stdout.buffer.write(pack({'z': torch.ones(2)}, {name: name for name in 'abcdefgh'}))"
    )
    written = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert written == pack({"z": torch.ones(2)}, {name: name for name in "abcdefgh"})
    (length,) = struct.unpack_from("<Q", written)
    assert length % 8 == 0, "the data is aligned"
    assert list(json.loads(written[8 : 8 + length])["__metadata__"]) == list("abcdefgh")


def test_any_tensor_can_be_packed_and_what_comes_back_can_be_written_to() -> None:
    values = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    shared = {"z": values, "preview": values, "tokens": values.T, "pooled": values[:1].expand(4, 3)}
    data = pack(shared, {})
    found, _ = unpack(data, "me", allowed=NAMES)
    assert found["z"].tolist() == found["preview"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["tokens"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["pooled"].tolist() == [[0, 1, 2]] * 4
    found["z"].add_(1)
    assert found["preview"][0, 0] == unpack(data, "me", allowed=NAMES)[0]["z"][0, 0] == 0


@pytest.mark.parametrize(
    "values", [torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf]).half(), torch.ones(1, 1).double()]
)
def test_what_could_not_be_read_is_not_packed(values: Tensor) -> None:
    with pytest.raises(FileFormatError, match="what is to be written is damaged or not ours"):
        pack({"z": values}, {})


def test_metadata_that_could_not_be_read_is_not_packed() -> None:
    for text, words in (("x" * MAX_HEADER_BYTES, "too large: .* with a header of 10"), ("\ud800", "it is no UTF-8")):
        with pytest.raises(FileFormatError, match=words):
            pack({"z": torch.ones(1)}, {"a": text})


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "cut short, or no safetensors file"),
    "seven bytes": (lambda: bytes(7), "cut short, or no safetensors file"),
    "header of no bytes": (lambda: bytes(8), "it is no JSON from line 1, column 1"),
    "header longer than the file": (lambda: struct.pack("<Q", 3) + b"{}", "cut short, or no safetensors file"),
    "header of 2^64 bytes": (lambda: b"\xff" * 8 + b"{}", "cut short, or no safetensors file"),
    "header of more than 1 MB": (lambda: built(b"{" + b" " * MAX_HEADER_BYTES + b"}", b""), "a header of 1000002"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "cut short, or no safetensors file"),
    "header that is no UTF-8": (lambda: built(b'{"\xff": 1}'), "it is no UTF-8"),
    "header that is no JSON": (lambda: built(b"{'z': 1}"), "it is no JSON from line 1, column 2 on"),
    "header with a mark before it": (lambda: built(b"\xef\xbb\xbf{}", b""), "it is no JSON from line 1, column 1"),
    "list": (lambda: built([TWO]), "it is no JSON object"),
    "deep nesting": (lambda: built(b"[" * 500_000), "it is nested too deeply"),
    "nan in the header": (lambda: built(b'{"z": NaN}'), "it says NaN, which is no JSON"),
    "number of 5000 digits": (lambda: two(shape=[10**4000]), "a number of 4001 digits"),
    "a name twice": (lambda: built(b'{"z": 1, "z": 2}'), "it has the name 'z' twice"),
    "a key twice": (
        lambda: built(json.dumps(TWO).replace('"shape": [2]', '"shape": [2], "shape": [2]').encode()),
        "it has the name 'shape' twice",
    ),
    "half a character": (lambda: built(b'{"\\ud800": 1}'), "it is no UTF-8"),
    "unknown tensor": (lambda: built({"evil\n\x1b[2J": TWO["z"]}), r"it holds a tensor 'evil\\n\\x1b"),
    "unknown tensor with a long name": (lambda: built({"x" * 9000: TWO["z"]}), "it holds a tensor 'xxxx"),
    "metadata that is a number": (lambda: built({"__metadata__": 1} | TWO), "metadata are more than texts"),
    "metadata that is null": (lambda: built({"__metadata__": None} | TWO), "metadata are more than texts"),
    "metadata of numbers": (lambda: built({"__metadata__": {"a": 1}} | TWO), "metadata are more than texts"),
    "tensor that is a list": (lambda: built(TWO | {"z": [1, 2]}), "Error while deserializing"),
    "no offsets": (lambda: built({"z": {"dtype": "F32", "shape": [2]}}), "Error while deserializing"),
    "double precision": (lambda: one("F64", [1], 8, bytes(8)), "'z' is stored as torch.float64"),
    "integers": (lambda: two(dtype="I32"), "'z' is stored as torch.int32"),
    "type that there is not": (lambda: two(dtype="f32"), "Error while deserializing"),
    "2^40 numbers": (lambda: one("F32", [2**40], 8, bytes(8)), "Error while deserializing"),
    "2^40 numbers with offsets to match": (lambda: one("F32", [2**40], 2**42, bytes(8)), "Error while deserializing"),
    "product that is 8 in 64 bits": (lambda: one("U8", [2**61 + 1, 8], 8, bytes(8)), "overflow"),
    "no numbers in a huge shape": (lambda: one("F32", [0, 2**27, 2**27, 2**27, 2**27], 0), "overflow"),
    "two negative sides": (lambda: two(shape=[-2, -1]), "Error while deserializing"),
    "side that is true": (lambda: two(shape=[2, True]), "Error while deserializing"),
    "shape that says more": (lambda: two(shape=[3]), "Error while deserializing"),
    "offsets that fall": (lambda: two(data_offsets=[8, 0]), "invalid offset"),
    "overlap": (lambda: built(TWO | {"z": TWO["z"] | {"data_offsets": [4, 12]}}, bytes(12)), "invalid offset"),
    "the same bytes twice": (lambda: built(TWO | {"pooled": TWO["z"]}), "invalid offset"),
    "hole": (lambda: built(TWO | {"preview": TWO["preview"] | {"data_offsets": [9, 12]}}), "invalid offset"),
    "bytes at the end": (lambda: built(TWO, bytes(12)), "file not fully covered"),
    "no tensor but bytes": (lambda: built({}), "file not fully covered"),
    "one byte less": (lambda: built(TWO, bytes(10)), "file not fully covered"),
    "nan": (lambda: one("F32", [2], 8, struct.pack("<2f", 0, np.nan)), "'z' has numbers that are not finite"),
    "infinity": (lambda: one("F32", [2], 8, struct.pack("<2f", -np.inf, 0)), "'z' has numbers that are not finite"),
    "infinity of half precision": (lambda: one("F16", [1], 2, b"\x00\x7c"), "numbers that are not finite"),
    "nan of bfloat16": (lambda: one("BF16", [1], 2, b"\xc0\x7f"), "numbers that are not finite"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused_in_one_line_and_no_memory(case: str) -> None:
    make, words = HOSTILE[case]
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=words):
            unpack(data, "me", allowed=NAMES)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    refusal(data)
    assert peak_bytes < 1_000_000 + 10 * len(data)


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    unpack(built(TWO, struct.pack("<2f3B", 1, 2, 3, 4, 5)), "me", allowed=NAMES)  # what is hostile is made from it
    data = sound()
    for length in range(len(data)):
        refusal(data[:length])
    refusal(data + b"\0")


@given(data=st.data())
def test_flipped_bits_are_refused_or_give_something_sound(data: st.DataObject) -> None:
    whole = bytearray(sound())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found, metadata = unpack(bytes(whole), "me", allowed=NAMES)
    except FileFormatError:
        refusal(bytes(whole))
        return
    (length,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8 : 8 + length])
    assert metadata == header.pop("__metadata__", {})
    assert found.keys() == header.keys() <= set(NAMES)
    for name, tensor in found.items():
        start, end = (8 + length + offset for offset in header[name]["data_offsets"])
        assert bits(tensor) == (tensor.dtype, header[name]["shape"], bytes(whole[start:end]))
        assert bool(tensor.isfinite().all())


@given(junk=st.binary(max_size=200))
def test_junk_is_refused(junk: bytes) -> None:
    refusal(junk)
    refusal(built(junk, b""))


def test_files_of_sizes_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(FileFormatError, match=f"above the limit of {MAX_BYTES}. It was not read"):
        read_tensor_file(tmp_path / "huge", allowed=NAMES)
    data = sound()
    monkeypatch.setattr(tensor_file, "MAX_BYTES", len(data))
    unpack(data, "me", allowed=NAMES)
    monkeypatch.setattr(tensor_file, "MAX_BYTES", len(data) - 1)
    assert f"too large: {len(data)} bytes" in refusal(data)

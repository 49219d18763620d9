"""Tensors as one safetensors file, read with distrust: nothing is made of what the header says before it is checked.

The layout is 8 bytes with the header's length n, n bytes of JSON with names, types, shapes and offsets, and the data.
We take less than the format allows: known names, four types, finite numbers, and no byte that belongs to no tensor.
"""

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from latentedit.core.errors import FileFormatError
from latentedit.core.files.reading import read_bytes, read_object

MAX_BYTES = 256_000_000
"""Of a whole file."""

MAX_HEADER_BYTES = 1_000_000

_MAX_AXES = 8
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}
_METADATA = "__metadata__"
_PREFIX_BYTES = 8
_QUOTED_LETTERS = 60

_DAMAGED = "Copy or fetch it again"
_UNSOUND = "Do not use it"


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Tensors and texts as safetensors bytes, the same for the same.

    Args:
        tensors: by name, of float32, float16, bfloat16 or uint8, on any device; they may share memory.
        metadata: texts by name.

    Raises:
        FileFormatError: what `unpack` would refuse, such as numbers that are not finite or more than `MAX_BYTES`.
    """
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    data = safetensors.torch.save(own)
    header: dict[str, Any] = json.loads(data[_PREFIX_BYTES : _header_end(data)])
    # The library would write the metadata in another order each time.
    text = json.dumps({_METADATA: dict(sorted(metadata.items()))} | header, separators=(",", ":"))
    text += " " * (-len(text) % _PREFIX_BYTES)
    packed = len(text).to_bytes(_PREFIX_BYTES, "little") + text.encode("ascii") + data[_header_end(data) :]
    unpack(packed, "what is to be written", allowed=tensors)
    return packed


def unpack(data: bytes, name: str, *, allowed: Collection[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of safetensors bytes that may come from anyone.

    Args:
        data: all of the file.
        name: what an error calls it.
        allowed: names that tensors may have; not all of them have to be there.

    Raises:
        FileFormatError: truncated, damaged, too large, other tensors or types, a header that contradicts itself or the
            data, or numbers that are not finite. Nothing is allocated for what the header only claims.
    """
    entries, metadata = _read_header(data, name, allowed)
    _check_layout(entries, len(data) - _header_end(data), name)
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        _refuse(name, "to be a sound safetensors file", f"it cannot be read ({error})", _DAMAGED)
    for tensor_name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            _refuse(name, f"to hold finite numbers in {tensor_name!r}", "there are some that are not", _UNSOUND)
    return tensors, metadata


def read_tensor_file(path: str | Path, *, allowed: Collection[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; see `unpack`.

    Raises:
        FileFormatError: a file that cannot be read or is larger than `MAX_BYTES`, or what `unpack` refuses.
    """
    return unpack(read_bytes(path, limit=MAX_BYTES), str(path), allowed=allowed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What the header says of one tensor, and where its bytes are behind the header."""

    name: str
    start: int
    end: int


def _header_end(data: bytes) -> int:
    return _PREFIX_BYTES + int.from_bytes(data[:_PREFIX_BYTES], "little")


def _read_header(data: bytes, name: str, allowed: Collection[str]) -> tuple[list[_Entry], dict[str, str]]:
    _check_size(len(data), name)
    end = _header_end(data)
    if len(data) < _PREFIX_BYTES or end > len(data):
        _refuse(name, "to be a safetensors file", "it is cut short, or something else", _DAMAGED)
    if end - _PREFIX_BYTES > MAX_HEADER_BYTES:
        claim = f"it has {end - _PREFIX_BYTES}"
        _refuse(name, f"to have a header of at most {MAX_HEADER_BYTES} bytes", claim, _UNSOUND)
    try:
        header = read_object(data[_PREFIX_BYTES:end])
    except ValueError as error:
        _refuse(name, "to have a safetensors header", str(error), _DAMAGED)
    metadata: object = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        _refuse(name, "to have texts as metadata", "it has others", _UNSOUND)
    for tensor in header:
        if tensor not in allowed:
            known = ", ".join(sorted(allowed))
            _refuse(name, f"to hold no other tensors than {known}", f"it holds {_quoted(tensor)}", _UNSOUND)
    return [_read_entry(tensor, entry, name) for tensor, entry in header.items()], cast("dict[str, str]", metadata)


def _read_entry(tensor: str, entry: object, name: str) -> _Entry:
    """What the header says of a tensor, if that can be true; only integers are looked at, of any size."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end], **others} if not others:
            pass
        case _:
            _refuse(name, f"to tell type, shape and offsets of {tensor!r}", f"got {_quoted(entry)}", _UNSOUND)
    if dtype not in _ITEM_BYTES:
        _refuse(name, f"to hold {tensor!r} as {', '.join(_ITEM_BYTES)}", f"got {_quoted(dtype)}", _UNSOUND)
    sides = [side for side in shape if side != 0]  # an empty tensor must have strides, too
    counts = all(_is_count(number) for number in [*shape, start, end])
    if len(shape) > _MAX_AXES or not counts or math.prod(sides) > MAX_BYTES:
        _refuse(name, f"to have a shape and offsets of {tensor!r} that fit", f"got {_quoted(entry)}", _UNSOUND)
    if math.prod(shape) * _ITEM_BYTES[dtype] != end - start:
        told = f"{_quoted(shape)} of {dtype} cannot be {_quoted(end - start)} bytes"
        _refuse(name, f"to have {tensor!r} of the size of its data", told, _UNSOUND)
    return _Entry(name=tensor, start=start, end=end)


def _check_layout(entries: list[_Entry], size_bytes: int, name: str) -> None:
    """Refuse tensors that overlap or leave holes, and data that is longer or shorter than all of them."""
    place = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != place:
            _refuse(name, f"to have {entry.name!r} begin at byte {place}", f"got {_quoted(entry.start)}", _UNSOUND)
        place = entry.end
    if place != size_bytes:
        fault = f"there are {size_bytes}"
        _refuse(name, f"to have {_quoted(place)} bytes behind its header", fault, _DAMAGED)


def _check_size(size_bytes: int, name: str | Path) -> None:
    if size_bytes > MAX_BYTES:
        _refuse(name, f"to have at most {MAX_BYTES} bytes", f"it has {size_bytes}", _UNSOUND)


def _is_count(value: object) -> bool:
    """A whole number that a file of at most `MAX_BYTES` can have as a side or an offset."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def _quoted(value: object) -> str:
    """A value from a file as it is shown: in one line, cut."""
    text = repr(value)
    return text if len(text) <= _QUOTED_LETTERS else f"{text[:_QUOTED_LETTERS]}..."


def _refuse(name: str | Path, expected: str, found: str, remedy: str) -> NoReturn:
    raise FileFormatError(f"expected {name} {expected}; {found}. {remedy}")

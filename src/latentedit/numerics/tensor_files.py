"""Files of tensors, which may come from anyone: read up to a size limit, with errors that name the file.

Tensors and texts are in one safetensors file. The layout is 8 bytes with the header's length n, n bytes of JSON with
names, types, shapes and offsets, and the data. safetensors itself checks that shapes, types and offsets fit each other
and cover the data. On top of that we take less than the format allows: known names, four types, finite numbers, strict
JSON, and files and headers of a limited size.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from latentedit.core.errors import FileFormatError
from latentedit.core.files import read_bytes, read_object

MAX_BYTES = 256_000_000
"""Size limit of a file."""

MAX_HEADER_BYTES = 1_000_000

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)
_METADATA = "__metadata__"
_PREFIX_BYTES = 8
_QUOTED_LETTERS = 120  # longest quotation of a file in an error message


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Tensors and texts as safetensors bytes, equal for equal content; refuses what `unpack` would refuse."""
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    data = safetensors.torch.save(own)
    header: dict[str, Any] = json.loads(data[_PREFIX_BYTES : _header_end(data)])
    # The library would write the metadata in another order each time.
    text = json.dumps({_METADATA: dict(sorted(metadata.items()))} | header, separators=(",", ":"))
    text += " " * (-len(text) % _PREFIX_BYTES)
    packed = len(text).to_bytes(_PREFIX_BYTES, "little") + text.encode("ascii") + data[_header_end(data) :]
    unpack_tensors(packed, "what is to be written", allowed=tensors)
    return packed


def unpack_tensors(data: bytes, name: str, *, allowed: Collection[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of untrusted safetensors bytes; ``allowed`` are the names of tensors.

    Anything else is a `FileFormatError`, and nothing is allocated for what the header only claims.
    """
    end = _header_end(data)
    if len(data) > MAX_BYTES or min(end, len(data)) > MAX_HEADER_BYTES + _PREFIX_BYTES:
        raise FileFormatError(
            f"{name} is too large: {len(data)} bytes with a header of {end - _PREFIX_BYTES}, where {MAX_BYTES} and "
            f"{MAX_HEADER_BYTES} are the most. Do not use it"
        )
    if len(data) < _PREFIX_BYTES or end > len(data):
        raise FileFormatError(f"{name} is cut short, or no safetensors file. Copy or fetch it again")
    try:
        header = read_object(data[_PREFIX_BYTES:end])
        metadata: object = header.pop(_METADATA, {})
        strange = sorted(header.keys() - set(allowed))
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not text")
        if strange:
            raise ValueError(f"it contains a tensor {_quoted(strange[0])}; expected {', '.join(sorted(allowed))}")
        tensors = safetensors.torch.load(data)
        for tensor_name, tensor in tensors.items():
            if tensor.dtype not in _DTYPES:
                raise ValueError(f"{tensor_name!r} is stored as {tensor.dtype}, which no file of ours is")
            if not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{tensor_name!r} has numbers that are not finite")
    except Exception as error:  # the library raises whatever a header makes of it
        raise FileFormatError(f"{name} is damaged or not ours: {_quoted(error)}. Copy or fetch it again") from error
    return tensors, cast("dict[str, str]", metadata)


def read_tensor_file(path: str | Path, *, allowed: Collection[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; see `unpack`."""
    return unpack_tensors(read_bytes(path, limit=MAX_BYTES), str(path), allowed=allowed)


def _header_end(data: bytes) -> int:
    return _PREFIX_BYTES + int.from_bytes(data[:_PREFIX_BYTES], "little")


def _quoted(value: object) -> str:
    """A text from a file for an error message: one line, shortened."""
    text = repr(value) if isinstance(value, str) else " ".join(str(value).split())
    return text if len(text) <= _QUOTED_LETTERS else f"{text[:_QUOTED_LETTERS]}..."

"""Weight files: safetensors only, complete, and known by the hash of their contents."""

import functools
import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from latentedit.core.errors import ModelError

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
_HEADER_LIMIT_BYTES = 100_000_000
_CONTENT_HASH = re.compile(r"[0-9a-f]{64}")


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder in which any weight file could run code when it is loaded.

    Raises:
        ModelError: a file with a pickle suffix lies in the folder, or in one of its folders.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLE_SUFFIXES and not path.is_dir():
            raise ModelError(
                f"expected safetensors weights only; got the pickle {path}, which could run code and was not loaded. "
                "Convert it with save_pretrained(..., safe_serialization=True), then delete it"
            )


def weight_files(folder: Path, stem: str) -> tuple[Path, ...]:
    """The files of one network: ``STEM.safetensors``, or the shards that ``STEM.safetensors.index.json`` lists.

    Raises:
        ModelError: no such file, an unreadable index, or a shard that is missing.
    """
    single = folder / f"{stem}.safetensors"
    if single.is_file():
        return (single,)
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        raise ModelError(f"expected the weights {single}; there is no such file. Download or copy the folder again")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise ModelError(f"expected a weight_map in {index}; there is none. Download or copy the folder again")
    names = sorted({str(name) for name in cast("Mapping[str, object]", weight_map).values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"expected {index} to name safetensors files beside it; got {name!r}. Do not use it")
        if not (folder / name).is_file():
            raise ModelError(f"expected the shard {folder / name}; there is no such file. Download it again")
    return tuple(folder / name for name in names)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a safetensors file, from its header; the file is checked to be complete.

    The layout is 8 bytes with the header's length n, n bytes of JSON, then the data that the header's offsets cover.

    Raises:
        ModelError: no readable header, or a file shorter or longer than its header says.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(size_bytes - 8, _HEADER_LIMIT_BYTES):
            raise ModelError(
                f"expected a safetensors file; {path} ({size_bytes} bytes) is truncated or something else. "
                "Download or copy it again"
            )
        header = file.read(length)
    try:
        tensors: dict[str, Any] = json.loads(header)
        tensors.pop("__metadata__", None)
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
        data_bytes = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"expected a safetensors header in {path}; it cannot be read. Download or copy it again"
        ) from error
    expected_bytes = 8 + length + data_bytes
    if size_bytes != expected_bytes:
        fault = "truncated" if size_bytes < expected_bytes else "too long"
        raise ModelError(
            f"expected {expected_bytes} bytes in {path}; got {size_bytes}: the file is {fault}. "
            "Download or copy it again"
        )
    return shapes


def fingerprint(weights: Mapping[str, Sequence[Path]]) -> str:
    """SHA-256 over the contents of all weight files, each under its part's name; 16 hexadecimal digits.

    Contents are read once a process as long as a file's size and time stay. A file of the hub's cache is stored under
    its own SHA-256, which is taken instead of reading it.
    """
    total = hashlib.sha256()
    for part in sorted(weights):
        for path in weights[part]:
            total.update(f"{part} {_content_hash(path)}\n".encode())
    return total.hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: no such file, or not a JSON object.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"expected the file {path}; there is none. Download or copy the folder again") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"expected JSON in {path}; it cannot be read ({error}). Download or copy it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"expected a JSON object in {path}; got a {type(content).__name__}")
    return cast("dict[str, Any]", content)


def _content_hash(path: Path) -> str:
    target = path.resolve()
    if path.is_symlink() and target.parent.name == "blobs" and _CONTENT_HASH.fullmatch(target.name):
        return target.name
    status = target.stat()
    return _read_hash(target, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _read_hash(path: Path, modified_ns: int, size_bytes: int) -> str:
    del modified_ns, size_bytes
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

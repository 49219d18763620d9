"""Embedded text on disk, so that a text that was read once costs no pass of a large encoder again.

Entries are found by content: the SHA-256 of everything that the numbers depend on. So a model whose encoder, tokenizer
or configuration has changed finds no entry of before. Entries are safetensors; the folder may be deleted at any time.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentedit.core.errors import FileFormatError, OutputError
from latentedit.core.files.reading import user_folder
from latentedit.core.files.tensors import pack, read_tensor_file
from latentedit_keep.files import make_folder, user_path, written_beside

VARIABLE = "LATENTEDIT_CACHE"
"""Environment variable: the folder of the cache, which is then used for encoders of every size; empty for no cache."""

LARGE_BYTES = 2**30
"""Weights of text encoders from which on texts are kept unless `VARIABLE` says otherwise."""

_NAMES = ("tokens", "pooled", "mask")

Encoded = tuple[Tensor, Tensor | None, Tensor | None]
"""Tokens, pooled part and mask of one text."""


class TextCache:
    """The embedded texts of one model.

    Args:
        folder: where entries lie; it is made when the first is written.
        key: what the numbers depend on beside the text, in plain values: fingerprint of encoders and tokenizers, dtype,
            pipeline class, window.
    """

    def __init__(self, folder: Path, **key: Any) -> None:
        self.folder = folder
        self._key = key

    def read(self, text: str) -> Encoded | None:
        """What was kept of a text, on the CPU; None where there is nothing, or nothing sound."""
        place = self._place(text)
        try:
            tensors, _ = read_tensor_file(place, allowed=_NAMES)
        except FileFormatError:
            return None
        if "tokens" not in tensors:
            return None
        mask = tensors.get("mask")
        return tensors["tokens"], tensors.get("pooled"), None if mask is None else mask.to(torch.bool)

    def write(self, text: str, encoded: Encoded) -> None:
        """Keep a text; where the disk does not take it, nothing is kept and nothing is raised."""
        tensors = {name: part for name, part in zip(_NAMES, encoded, strict=True) if part is not None}
        if "mask" in tensors:
            tensors["mask"] = tensors["mask"].to(torch.uint8)
        try:
            data = pack(tensors, {})
            make_folder(self.folder)
            with written_beside(self._place(text)) as file:
                file.write(data)
        except (FileFormatError, OutputError):  # numbers that are not finite, float64, or a full disk
            return

    def _place(self, text: str) -> Path:
        key = json.dumps({**self._key, "text": text}, sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def cache_folder(encoder_bytes: int) -> Path | None:
    """Where texts of a model are kept; None where they are not.

    Args:
        encoder_bytes: what the weights of its text encoders take.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return user_path(chosen) / "text" if chosen else None
    return user_folder("cache") / "text" if encoder_bytes >= LARGE_BYTES else None

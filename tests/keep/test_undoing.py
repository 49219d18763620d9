"""The way back from an edited image: its payload, and what cannot be undone."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.core.console import PARAMETER
from latentedit.core.errors import FileFormatError
from latentedit.keeping.undoing import undo, undo_difference, undo_stored
from latentedit.numerics.tensor_files import pack_tensors, unpack_tensors
from latentedit.photo.carried import Carried
from latentedit.photo.color import Colors
from latentedit.photo.images import fingerprint_of, read_image
from latentedit.photo.saving import save_image
from tests.keep.pairs import encoded, scene, with_object


def pair(mode: str = "RGB") -> tuple[Image.Image, Image.Image]:
    """An image with metadata, and the same with an object."""
    source, edited = (Image.fromarray(pixels).convert(mode) for pixels in (scene(), with_object(scene())))
    colors = Colors(icc_profile=np.random.default_rng(0).bytes(10_000))
    source.info |= Carried(colors=colors, xmp=b"<x/>").info
    edited.info |= Carried(colors=colors, xmp=b"<edited/>", notes=("cut",)).info
    return source, edited


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_source_returns_bit_for_bit_with_its_metadata(mode: str) -> None:
    source, edited = pair(mode)
    found = undo_stored(edited, undo_difference(source, edited))
    assert fingerprint_of(found) == fingerprint_of(source)
    assert Carried.of(found.info) == Carried.of(source.info)


def test_the_payload_is_a_small_safetensors_file() -> None:
    """It contains no second color profile; other packages read it, and earlier ones wrote it."""
    source, edited = pair()
    payload = undo_difference(source, edited)
    assert len(payload) < 8_000
    tensors, about = unpack_tensors(payload, "it", allowed=("difference", "xmp"))
    assert pack_tensors(tensors, about) == payload
    assert tensors["xmp"].numpy().tobytes() == b"<x/>"
    del source.info["xmp"]
    assert "xmp" not in undo_stored(edited, undo_difference(source, edited)).info


def with_part(content: bytes) -> Callable[[bytes], bytes]:
    """Replace the difference."""

    def replaced(payload: bytes) -> bytes:
        _, about = unpack_tensors(payload, "it", allowed=("difference", "xmp"))
        return pack_tensors({"difference": torch.frombuffer(bytearray(content), dtype=torch.uint8)}, about)

    return replaced


def with_header(**changed: Any) -> Callable[[bytes], bytes]:
    """Replace what the header says."""

    def replaced(payload: bytes) -> bytes:
        end = 8 + int.from_bytes(payload[:8], "little")
        text = json.dumps(json.loads(payload[8:end]) | changed).encode()
        return len(text).to_bytes(8, "little") + text + payload[end:]

    return replaced


@pytest.mark.parametrize(
    "damage",
    [
        lambda payload: b"",
        lambda payload: payload[:100],
        lambda payload: b"\xff" * 8 + payload[8:],
        lambda payload: payload[:8] + b"[" * 200_000,
        with_header(__metadata__=[]),
        with_header(__metadata__={"image": "1"}),
        with_header(difference=3),
        with_header(difference={"data_offsets": [1.5, 2]}),
        with_header(difference={"data_offsets": [1]}),
        with_header(difference={"data_offsets": [0, 10]}),
        with_part(b"no image"),
        *(with_part(encoded(Image.new(mode, (8, 8), 1), "PNG")) for mode in ("RGB", "RGBA", "L")),
        with_part(encoded(Image.new("RGB", (160, 160), 1), "PNG")),
    ],
)
def test_a_damaged_payload_is_rejected(damage: Callable[[bytes], bytes]) -> None:
    source, edited = pair()
    with pytest.raises(FileFormatError, match="is damaged"):
        undo_stored(edited, damage(undo_difference(source, edited)))


def test_a_file_without_difference_or_with_changed_pixels_is_rejected(tmp_path: Path) -> None:
    """The messages name parameters of the function only, and what remains is a command that exists."""
    source, edited = pair()
    payload = undo_difference(source, edited)
    save_image(edited, tmp_path / "good.png", payload=payload)
    assert fingerprint_of(undo(tmp_path / "good.png")) == fingerprint_of(source)
    save_image(edited, tmp_path / "plain.png")
    edited.putpixel((0, 0), (1, 2, 3))
    save_image(edited, tmp_path / "x.png", payload=payload)
    for name in ("plain.png", "x.png"):
        with pytest.raises(FileFormatError) as caught:
            undo(tmp_path / name)
        named = {found[1] for found in PARAMETER.finditer(str(caught.value))}
        assert named <= set(inspect.signature(undo).parameters)
    assert read_image(tmp_path / "plain.png").size == source.size

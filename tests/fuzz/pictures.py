"""Pictures that somebody made or damaged: read, kept, saved and read again."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.latents.record import RunRecord
from latentedit_keep.pictures import pack_chunks, read_chunks, read_image, read_pixels, save_image
from tests.fuzz.judge import FaultError, Target, run_command
from tests.fuzz.texts import bent

_KINDS: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
    "PNG": (["1", "L", "LA", "I;16", "P", "RGB", "RGBA"], [{}, {"compress_level": 0}, {"transparency": 1}]),
    "JPEG": (["L", "RGB", "CMYK"], [{}, {"progressive": True}, {"quality": 1}]),
    "WEBP": (["RGB", "RGBA"], [{}, {"lossless": True}]),
    "GIF": (["L", "P"], [{}, {"interlace": 0}]),
    "TIFF": (
        ["1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr"],
        [{}, *({"compression": f"tiff_{one}"} for one in ("lzw", "deflate", "adobe_deflate"))],
    ),
    "BMP": (["1", "L", "P", "RGB"], [{}]),
    "PPM": (["1", "L", "RGB", "I;16"], [{}]),
}
_NUMBERS = {
    "I;16": np.arange(2**16, dtype=np.uint16),
    "I": np.array([0, 1, -1, 2**31 - 1, -(2**31), 40_000], dtype=np.int32),
    "F": np.array([0, 0.5, 1, -1, 300, np.nan, np.inf, 1e38], dtype=np.float32),
}


def _drawn(mode: str, width: int, height: int, seed: int) -> Image.Image:
    draw = np.random.default_rng(seed)
    if mode in _NUMBERS:
        return Image.fromarray(draw.choice(_NUMBERS[mode], (height, width)))
    return Image.fromarray(draw.integers(0, 256, (height, width, 3)).astype(np.uint8)).convert(mode)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A picture file, sound or damaged."""
    kind = draw(st.sampled_from(sorted(_KINDS)))
    modes, sets_of_options = _KINDS[kind]
    mode, options = draw(st.sampled_from(modes)), dict(draw(st.sampled_from(sets_of_options)))
    image = _drawn(mode, draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(0, 99)))
    if draw(st.booleans()) and kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[274] = draw(st.integers(0, 12))
        exif[270] = draw(st.text(st.characters(max_codepoint=127), max_size=20))
        options |= {"exif": exif, "icc_profile": draw(st.binary(max_size=60))}
    if kind == "PNG" and draw(st.booleans()):
        options["pnginfo"] = pack_chunks('{"format": 1}', draw(st.binary(max_size=40)))
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except Exception:  # noqa: BLE001 (not every mode takes every option)
        file = io.BytesIO()
        Image.new("RGB", (4, 4)).save(file, kind)
    return draw(bent(file.getvalue()))


def _read(data: bytes, folder: Path) -> None:
    place = folder / "in.png"
    place.write_bytes(data)
    refused: list[bool] = []
    for read in (lambda: read_image(place), lambda: read_image(place, content=data), lambda: read_pixels(place)):
        try:
            read()
            refused.append(False)
        except ImageError:
            refused.append(True)
    if refused[0] != refused[1]:
        raise FaultError("a file and its content are not refused alike")
    record, _ = read_chunks(place)
    if record is not None:
        RunRecord.from_json(record, "in.png")
    image = read_image(place)
    endings = (".png", ".webp", ".tiff") if image.mode == "RGBA" else (".png", ".jpg", ".webp", ".tiff", ".bmp")
    for ending in endings:
        save_image(image, folder / f"out{ending}")
        again = read_image(folder / f"out{ending}")
        same_kind = (again.mode, again.size) == (image.mode, image.size)
        if ending != ".jpg" and same_kind and again.tobytes() != image.tobytes():
            raise FaultError(f"{ending} does not keep the pixels")


def _keep_files(data: list[bytes], folder: Path) -> None:
    (folder / "a.png").write_bytes(data[0])
    (folder / "b.png").write_bytes(data[1])
    run_command("keep", str(folder / "a.png"), str(folder / "b.png"), "-o", str(folder / "o.png"))


TARGETS = [
    Target(name="pictures", inputs=files(), act=_read),
    Target(name="kept files", inputs=st.tuples(files(), files()).map(list), act=_keep_files),
]

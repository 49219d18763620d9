"""Pictures that somebody made or damaged: read, kept, saved and read again."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ImageError
from latentedit.latents.record import RunRecord
from latentedit_keep.api import keep
from latentedit_keep.pictures import pack_chunks, read_chunks, read_image, read_pixels, save_image
from tests.fuzz.judge import FaultError, Target, told
from tests.fuzz.texts import bent

_MODES = {
    "PNG": ["1", "L", "LA", "I;16", "P", "RGB", "RGBA"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["L", "P"],
    "TIFF": ["1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"],
    "BMP": ["1", "L", "P", "RGB"],
    "PPM": ["1", "L", "RGB", "I;16"],
}
_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "PNG": [{}, {"compress_level": 0}, {"transparency": 1}, {"save_all": True}],
    "JPEG": [{}, {"progressive": True}, {"quality": 1}],
    "WEBP": [{}, {"lossless": True}],
    "GIF": [{}, {"interlace": 0}],
    "TIFF": [{"compression": one} for one in (None, "tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate")],
}
_RECORD = '{"format": 1}'


def _drawn(mode: str, width: int, height: int, seed: int) -> Image.Image:
    draw = np.random.default_rng(seed)
    match mode:
        case "I;16":
            return Image.fromarray(draw.integers(0, 2**16, (height, width)).astype(np.uint16))
        case "I":
            return Image.fromarray(draw.integers(-(2**31), 2**31, (height, width)).astype(np.int32))
        case "F":
            values = draw.choice(
                [0, 0.5, 1, -1, 300, np.nan, np.inf, 1e38], (height, width), p=[0.3, *[0.15] * 4, *[0.1 / 3] * 3]
            )
            return Image.fromarray(values.astype(np.float32))
        case "LAB" | "CMYK" | "YCbCr":
            bands = [
                Image.fromarray(draw.integers(0, 256, (height, width)).astype(np.uint8))
                for _ in mode.removesuffix("Cb")
            ]
            return Image.merge(mode, bands[: 4 if mode == "CMYK" else 3])
        case _:
            noise = draw.integers(0, 256, (height, width, 4)).astype(np.uint8)
            return Image.fromarray(noise).convert(mode)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A picture file, sound or damaged."""
    kind = draw(st.sampled_from(sorted(_MODES)))
    mode = draw(st.sampled_from(_MODES[kind]))
    image = _drawn(mode, draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(0, 99)))
    options = dict(draw(st.sampled_from(_OPTIONS.get(kind, [{}]))))
    if draw(st.booleans()) and kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[274] = draw(st.integers(0, 12))
        exif[270] = draw(st.text(st.characters(max_codepoint=127), max_size=20))
        options |= {"exif": exif, "icc_profile": draw(st.binary(max_size=60))}
    if kind == "PNG" and draw(st.booleans()):
        options["pnginfo"] = pack_chunks(_RECORD, draw(st.binary(max_size=40)))
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
        if (
            ending != ".jpg"
            and (again.mode, again.size) == (image.mode, image.size)
            and again.tobytes() != image.tobytes()
        ):
            raise FaultError(f"{ending} does not keep the pixels")


@st.composite
def _pairs(draw: st.DrawFn) -> dict[str, Any]:
    """Two pictures of any sizes, the one perhaps made of the other, and what is wanted of `keep`."""
    size = (draw(st.integers(2, 60)), draw(st.integers(2, 60)))
    return {
        "size": size,
        "mode": draw(st.sampled_from(["RGB", "RGBA", "L", "I;16"])),
        "other": size if draw(st.booleans()) else (draw(st.integers(2, 60)), draw(st.integers(2, 60))),
        "box": tuple(draw(st.integers(0, 60)) for _ in range(4)),
        "seeds": (draw(st.integers(0, 9)), draw(st.integers(0, 9))),
        "mask": draw(st.sampled_from([None, "black", "white", "half", "size"])),
        "strength": draw(st.sampled_from(["0", "1", "0.5", "-1", "1e308", "nan", "2"])),
        "only": draw(st.sampled_from([None, "1", "1,2", "0", "999999", "1,1"])),
    }


def _keep(given: dict[str, Any], folder: Path) -> None:
    first = _drawn(given["mode"], *given["size"], given["seeds"][0])
    first.save(folder / "a.png")
    made = _drawn("RGB", *given["size"], given["seeds"][1]) if given["seeds"][1] else first.convert("RGB")
    left, top, right, bottom = given["box"]
    made.paste((200, 30, 30), (min(left, right), min(top, bottom), max(left, right), max(top, bottom)))
    made.resize(given["other"]).save(folder / "b.png")
    words = [
        "keep",
        str(folder / "a.png"),
        str(folder / "b.png"),
        "-o",
        str(folder / "o.png"),
        f"--strength={given['strength']}",
    ]
    if given["only"] is not None:
        words += ["--only", given["only"]]
    if given["mask"] is not None:
        mask = Image.new("L", (3, 3) if given["mask"] == "size" else given["size"], 255 * (given["mask"] == "white"))
        if given["mask"] == "half":
            mask.paste(255, (0, 0, 1, 1))
        mask.save(folder / "m.png")
        words += ["--mask", str(folder / "m.png")]
    told(*words)
    result = keep(folder / "a.png", folder / "b.png")
    if result.kept.size != read_pixels(folder / "a.png").size:
        raise FaultError("the size was not kept")


def _keep_files(data: list[bytes], folder: Path) -> None:
    (folder / "a.png").write_bytes(data[0])
    (folder / "b.png").write_bytes(data[1])
    told("keep", str(folder / "a.png"), str(folder / "b.png"), "-o", str(folder / "o.png"))


TARGETS = [
    Target(name="pictures", inputs=files(), act=_read),
    Target(name="kept changes", inputs=_pairs(), act=_keep),
    Target(name="kept files", inputs=st.tuples(files(), files()).map(list), act=_keep_files),
]

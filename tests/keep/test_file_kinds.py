"""Kinds of files with known parts go through `keep`, into every format, and each part is looked for.

Each part has bytes of its own, which are looked for in the result without any reader of ours: where they are not, the
report must name the part, and the warning too unless it is a copy of the image. No result claims what is not in it.
"""

import contextlib
import hashlib
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw, ImageOps, PngImagePlugin

from tests.commands import Command
from tests.keep.color_files import box, chunk, packet
from tests.keep.pairs import encoded, scene

pytestmark = pytest.mark.nightly
FORMATS = ("png", "jpg", "webp", "tif", "avif", "bmp")
HEIGHT = 96
WIDTH = 144
IMAGE = Image.fromarray(scene(HEIGHT, width=WIDTH))
OTHER = Image.fromarray(scene(HEIGHT, seed=9, width=WIDTH))
NOTE = b"Acme\0\x01" + bytes(range(60))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CLIP = box(b"ftyp", b"mp42\0\0\0\0mp42isom") + box(b"mdat", bytes(range(256)) * 9) + box(b"moov", bytes(400))
DEEP = (np.asarray(IMAGE).astype(np.uint16) << 8) + 77
QUIET = ("thumbnail", "preview", "smaller copies", "further frames")  # copies of the image: the report alone has them
CLAIMS = {  # bytes that announce a part, and those of the part itself
    b"MotionPhoto": b"mp42isom",
    b"MicroVideo": b"mp42isom",
    b"hdrgm:Version": b"hdrgm:GainMapMax",
    b"GDepth": b"RangeInverse",
    b"HasExtendedXMP": b"a:Long",
    b"MPF\0": b"hdrgm:GainMapMax",
}
Evidence = bytes | None | Callable[[Path], bool]  # in the result where the part is; None: in no single image
Parts = dict[str, Evidence]  # keys are patterns of the names that the report may use


def exif(*, turned: bool = False) -> Image.Exif:
    made = Image.Exif()
    made.update({271: "Acme-maker", 315: "Ann-artist", 274: 6 if turned else 1})
    made.get_ifd(0x8769).update({0x927C: NOTE, 42036: "50mm-lens", 40962: WIDTH, 40963: HEIGHT})
    made.get_ifd(0x8825).update({1: "N", 2: (47.0, 4.0, 12.0), 18: "WGS-84-datum"})
    return made


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*more: bytes, behind: bytes = b"", image: Image.Image = IMAGE, **options: Any) -> bytes:
    content = encoded(image, "JPEG", quality=95, **options)
    return content[:2] + b"".join(more) + content[2:] + behind


def png(*more: tuple[bytes, bytes], content: bytes | None = None, **options: Any) -> bytes:
    content = content or encoded(IMAGE, "PNG", **options)
    return content[:33] + b"".join(chunk(*one) for one in more) + content[33:]


def tiff(*images: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack(images) if images[1:] else images[0], **options)
    return out.getvalue()


def dots(path: Path) -> bool:
    """300 to the inch."""
    with Image.open(path) as image:
        stated: Any = image.info.get("dpi") or [image.getexif().get(tag, 0) for tag in (282, 283)]
        return all(abs(one - 300) < 1 for one in stated)


def deep(path: Path) -> bool:
    """A PNG or TIFF of 16 bits."""
    return tifffile.imread(path).dtype == np.uint16 if path.suffix == ".tif" else path.read_bytes()[24] == 16


def mode(*modes: str) -> Callable[[Path], bool]:
    def holds(path: Path) -> bool:
        with Image.open(path) as image:
            return image.mode in modes

    return holds


def extended() -> bytes:
    """XMP in two parts, by the specification."""
    rest = packet('xmlns:a="http://acme.example/" a:Long="' + "x" * 70_000 + '"')
    name = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper().encode()
    stated = packet(f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{name.decode()}"')
    parts = [
        segment(
            0xE1,
            b"http://ns.adobe.com/xmp/extension/\0" + name + struct.pack(">2I", len(rest), at) + rest[at : at + 65_000],
        )
        for at in range(0, len(rest), 65_000)
    ]
    return jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + stated), *parts)


def pyramid() -> bytes:
    out, pixels = io.BytesIO(), np.asarray(IMAGE)
    with tifffile.TiffWriter(out) as file:
        file.write(pixels, tile=(64, 64), subifds=1, photometric="rgb", metadata=None, software="Slides-1")
        file.write(pixels[::2, ::2], tile=(64, 64), subfiletype=1, photometric="rgb", metadata=None)
    return out.getvalue()


def texts() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("parameters", "a house\nSteps: 20, Seed: 5")
    made.add_text("workflow", json.dumps({"nodes": [{"id": 3}] * 40}), zip=True)
    made.add_itxt("Title", "Haus am See", lang="de", tkey="Name")
    return made


RATING = packet('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="green-label"')
IPTC = b"".join(
    b"\x1c\x02" + bytes([one]) + struct.pack(">H", len(text)) + text
    for one, text in ((105, b"Fire in Graz"), (80, b"Ann Agency"), (22, b"fixture-7"))
)
RESOURCES = b"8BIM" + struct.pack(">H2xI", 1028, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
PRESS = segment(0xED, b"Photoshop 3.0\0" + RESOURCES)
CAMERA: Parts = {
    "EXIF Make": b"Acme-maker",
    "EXIF Artist": b"Ann-artist",
    "EXIF GPSMapDatum": b"WGS-84-datum",
}
FRAMES = {"save_all": True, "append_images": [OTHER]}
MOTION = packet(
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:MicroVideo="1"'
)
DEPTH = packet(
    'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Format="RangeInverse" GDepth:Data="00ff"'
)
GAIN = packet('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2"')
MAP = jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + GAIN), image=IMAGE.convert("L").resize((36, 24)))
KINDS: dict[str, tuple[bytes, Parts]] = {
    "press.jpg": (
        jpeg(PRESS, exif=exif(), xmp=RATING, comment=b"a-note", icc_profile=PROFILE, dpi=(300, 300)),
        {
            **CAMERA,
            "EXIF MakerNote": NOTE,
            "IPTC 2:105": b"Fire in Graz",
            "IPTC 2:80": b"Ann Agency",
            "IPTC 2:22": b"fixture-7",
            "XMP xmp:Label": b"green-label",
            "comment": b"a-note",
            "resolution": dots,
            "color profile": PROFILE[128:],
        },
    ),
    "camera.jpg": (
        encoded(IMAGE, "MPO", exif=exif(turned=True), **FRAMES | {"append_images": [IMAGE.resize((36, 24))]}),
        {**CAMERA, "EXIF MakerNote": NOTE, "preview image|further image": None},
    ),
    "stereo.jpg": (encoded(IMAGE, "MPO", exif=exif(), **FRAMES), {**CAMERA, "stereo image|further image": None}),
    "motion.jpg": (jpeg(exif=exif(), xmp=MOTION, behind=CLIP), {**CAMERA, "motion clip": CLIP}),
    "depth.jpg": (jpeg(xmp=DEPTH), {"depth map": b"RangeInverse"}),
    "gain.jpg": (
        jpeg(xmp=packet('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'), behind=MAP),
        {"HDR gain map": b"hdrgm:GainMapMax"},
    ),
    "extended.jpg": (extended(), {"XMP a:Long": b"a:Long"}),
    "makers.jpg": (
        jpeg(segment(0xEA, b"AROT\0\0turn-data"), behind=b"SEFHtrailer of a maker"),
        {"APP10 AROT": b"turn-data", r"\d+ bytes behind the end": b"SEFHtrailer"},
    ),
    "gray.jpg": (
        jpeg(image=IMAGE.convert("L"), comment=b"gray-note"),
        {"comment": b"gray-note", "one channel of gray": mode("L")},
    ),
    "webp.webp": (
        encoded(IMAGE, "WEBP", lossless=True, exif=exif(), xmp=RATING, icc_profile=PROFILE),
        {**CAMERA, "XMP xmp:Label": b"green-label", "color profile": PROFILE[128:]},
    ),
    "moving.webp": (encoded(IMAGE, "WEBP", lossless=True, exif=exif(), **FRAMES), {**CAMERA, "further frames": None}),
    "avif.avif": (
        encoded(IMAGE, "AVIF", quality=95, exif=exif(), xmp=RATING),
        {**CAMERA, "XMP xmp:Label": b"green-label"},
    ),
    "moving.avif": (encoded(IMAGE, "AVIF", quality=95, **FRAMES), {"further frames": None}),
    "moving.gif": (
        encoded(IMAGE.quantize(99), "GIF", save_all=True, append_images=[OTHER.quantize(99)], comment=b"a-note"),
        {"comment": b"a-note", "palette": mode("P"), "further frames": None},
    ),
    "plain.bmp": (encoded(IMAGE, "BMP", dpi=(300, 300)), {"resolution": dots}),
    "texts.png": (
        png(
            (b"prVt", b"safe-to-copy"),
            (b"prVT", b"not-safe-to-copy"),
            (b"oFFs", struct.pack(">2iB", 3, 4, 0)),
            pnginfo=texts(),
            exif=exif(),
            dpi=(300, 300),
        ),
        {
            **CAMERA,
            "text parameters": b"Steps: 20",
            "text workflow": b'"nodes"',
            "text Title": b"Haus am See",
            "chunk prVt": b"safe-to-copy",
            "chunk prVT": b"not-safe-to-copy",
            "resolution": dots,
        },
    ),
    "moving.png": (encoded(IMAGE, "PNG", **FRAMES), {"further frames": None}),
    "palette.png": (encoded(IMAGE.quantize(60), "PNG"), {"palette": mode("P")}),
    "deep.png": (
        png((b"cICP", bytes([12, 13, 0, 1])), content=cv2.imencode(".png", DEEP)[1].tobytes()),
        {"16 bits a channel": deep},
    ),
    "pages.tif": (
        tiff(*map(np.asarray, (IMAGE, OTHER, IMAGE)), photometric="rgb", software="Slides-1"),
        {"EXIF Software": b"Slides-1", "further frames": None},
    ),
    "pyramid.tif": (pyramid(), {"EXIF Software": b"Slides-1", "smaller copies": None}),
    "map.tif": (
        tiff(np.asarray(IMAGE), metadata=None, extratags=[(34737, 2, 0, "UTM-33|", True)]),
        {"EXIF (34737|GeoAsciiParams)": b"UTM-33|"},
    ),
}


def held(path: Path) -> bytes:
    """All bytes of a file, those that are compressed, and those that are written as hexadecimal digits."""
    found = content = path.read_bytes()
    for start in re.finditer(rb"x[\x01\x5e\x9c\xda]", content):
        with contextlib.suppress(zlib.error):
            found += zlib.decompressobj().decompress(content[start.start() :])
    for digits in re.findall(rb"(?:[0-9a-f]{2}){16,}", found.replace(b"\n", b"")):
        found += bytes.fromhex(digits.decode())
    return found


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_lost_without_a_word_or_claimed_and_not_there(
    name: str, ending: str, tmp_path: Path, command: Command, recwarn: pytest.WarningsRecorder
) -> None:
    source, change, output = (tmp_path / one for one in (name, "change.png", f"kept.{ending}"))
    whole, parts = KINDS[name]
    source.write_bytes(whole)
    with Image.open(source) as image:
        drawn = ImageOps.exif_transpose(image).convert("RGB")
    ImageDraw.Draw(drawn).ellipse((40, 30, 80, 60), fill=(200, 30, 40) if image.mode != "L" else (0, 0, 0))
    drawn.save(change)
    done = command("keep", source, change, "-o", output, "--json")
    if done.code:
        assert "only PNG and TIFF keep" in done.err if name == "deep.png" else "transparency" in done.err
        assert ending in (("jpg", "webp", "avif", "bmp") if name == "deep.png" else ("jpg", "bmp"))
        return
    report, content = json.loads(done.out), held(output)
    warned = " ".join(str(one.message) for one in recwarn)
    for part, evidence in parts.items():
        there = evidence(output) if callable(evidence) else evidence is not None and evidence in content
        named = [key for key in report["left_out"] if re.search(rf"^(?:{part})\b", key)]
        group, _, word = part.partition(" ")
        translated = any(re.match(rf"{group} \(.*\b{word}\b", one) for one in report["translated"])
        assert there or named or translated, f"{part} is lost without a word: {report['left_out']}"
        if named and not there and not named[0].startswith(QUIET):
            last = named[0].rpartition(" ")[2]
            assert last in warned or " more)" in warned, f"the warning lacks {named[0]}"
    for claim, own in CLAIMS.items():
        assert claim not in content or own in content, f"it claims {claim!r}"
    with Image.open(output) as result:
        stated = result.getexif()
        assert stated.get(274, 1) == 1
        sizes = (stated.get_ifd(0x8769).get(tag, side) for tag, side in zip((40962, 40963), result.size, strict=True))
        assert tuple(sizes) == result.size

"""What becomes of all that image files hold: files by many libraries, through `keep`, read again by other libraries.

    python -m pip install pillow-heif pillow-jxl-plugin tifffile imagecodecs pyvips[binary] c2pa-python exiv2 psdtags
    python benchmarks/file_kinds.py --output results/keep/file_kinds.json

Each file gets one drawn change, saved by Pillow as a plain PNG. `latentedit keep --json` writes it in every format.
Source and result are listed by exiv2, tifffile and libvips and by walks over bytes that share no code with `keep`'s own
inventory. What the result lacks, or has otherwise, has to be named by the report and, but for copies of the image, by
the warning: otherwise it is a silent loss. A false claim is what the result says of itself and does not hold.
"""

import argparse
import contextlib
import datetime as dt
import hashlib
import importlib.metadata
import io
import json
import re
import struct
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import c2pa
import exiv2
import imagecodecs
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 (it registers itself)
import psdtags
import pyvips
import tifffile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageOps, PngImagePlugin, TiffImagePlugin
from typer.testing import CliRunner

from latentedit_keep.base.files import write_text
from latentedit_keep.program import app

pillow_heif.register_heif_opener()
FORMATS = ("png", "jpg", "webp", "tif", "avif", "jxl", "bmp")
LIBRARIES = (
    "pillow", "pillow-heif", "pillow-jxl-plugin", "tifffile", "imagecodecs", "pyvips", "pyvips-binary", "c2pa-python",
    "exiv2", "psdtags",
)  # fmt: skip
WIDTH, HEIGHT = 240, 160
Items = dict[tuple[str, str], str]  # row of the table and name -> value
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "<rdf:Description "
    'rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmp:Rating="4" photoshop:City="Graz" {}>'
    "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>{}</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def drawing(seed: int = 7, *, mode: str = "RGB") -> Image.Image:
    """A drawn scene with texture."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    base = np.stack([90 + 60 * np.sin(3 * across + one) + 40 * np.cos(4 * down - one) for one in range(3)], axis=-1)
    grain = rng.normal(0, 18, (HEIGHT // 2, WIDTH // 2, 1)).repeat(2, 0).repeat(2, 1)
    image = Image.fromarray(np.clip(base + grain, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, size = rng.integers(0, WIDTH), rng.integers(0, HEIGHT), rng.integers(6, 26)
        draw.rectangle((x, y, x + size, y + size), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image.convert(mode)


def deep(channels: int = 3) -> np.ndarray:
    """The scene in 16 bits with all bits in use."""
    low = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3))
    pixels = (np.asarray(drawing()).astype(np.uint16) << 8) + low.astype(np.uint16)
    return pixels if channels == 3 else np.ascontiguousarray(pixels[..., 1])


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An encoded image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_bytes(*, turned: bool = False) -> bytes:
    """EXIF of a camera with places, by Pillow."""
    exif = Image.Exif()
    exif[271], exif[272], exif[305], exif[315], exif[33432] = "Acme", "A1", "Firmware 2", "Ann", "(c) Ann"
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    if turned:
        exif[274] = 6
    inner = exif.get_ifd(0x8769)
    inner[36867], inner[33437], inner[42036], inner[40962], inner[40963] = (
        "2026:01:02 03:04:05",
        2.8,
        "50mm",
        WIDTH,
        HEIGHT,
    )
    inner[37510] = b"ASCII\0\0\0a user's comment"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (47.0, 4.0, 12.0), "E", (15.0, 26.0, 1.0)
    # Pillow writes bytes as numbers, cameras as type 7.
    return exif.tobytes().replace(struct.pack(">2H", 37510, 1), struct.pack(">2H", 37510, 7))


def icc_bytes(name: str = "p3") -> bytes:
    """A profile of libvips'."""
    image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")
    image = pyvips.Image.new_from_buffer(image.icc_transform(name, input_profile="srgb").write_to_buffer(".png"), "")
    return bytes(image.get("icc-profile-data"))


def xmp_bytes(attributes: str = "", elements: str = "") -> bytes:
    """A packet with a creator, a city and a rating."""
    return _XMP.format(attributes, elements).encode()


def by_exiv2(content: bytes, **stated: Any) -> bytes:
    """A file with metadata by exiv2: keys of EXIF, IPTC and XMP with dots as they are, and a comment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it")
        path.write_bytes(content)
        image = exiv2.ImageFactory.open(str(path))
        image.readMetadata()
        data = {"Exif": image.exifData(), "Iptc": image.iptcData(), "Xmp": image.xmpData()}
        for key, value in stated.pop("keys", {}).items():
            into = data[key.partition(".")[0]]
            for one in value if isinstance(value, list) else [value]:
                if key.startswith("Iptc"):
                    into.add(exiv2.IptcKey(key), exiv2.StringValue(one))
                else:
                    into[key] = one
        if "comment" in stated:
            image.setComment(stated["comment"])
        if "thumbnail" in stated:
            exiv2.ExifThumb(data["Exif"]).setJpegThumbnail(stated["thumbnail"])
        image.writeMetadata()
        return path.read_bytes()


_PRESS = {
    "Iptc.Envelope.CharacterSet": "\x1b%G", "Iptc.Application2.Headline": "Fire in Graz",
    "Iptc.Application2.Byline": "Ann Müller", "Iptc.Application2.Copyright": "(c) Agency",
    "Iptc.Application2.Keywords": ["fire", "Graz"], "Iptc.Application2.Credit": "Agency",
    "Iptc.Application2.Caption": "A fire", "Iptc.Application2.FixtureId": "fx7", "Iptc.Application2.Urgency": "3",
    "Iptc.Application2.DateCreated": "2026-01-02", "Iptc.Application2.ReferenceService": "serv",
    "Xmp.dc.rights": "(c) Agency", "Xmp.photoshop.Headline": "Fire in Graz", "Xmp.xmpRights.Marked": "True",
    "Xmp.plus.ImageSupplierName": "Agency", "Exif.Image.Artist": "Ann", "Exif.Image.Copyright": "(c) Agency",
    "Exif.Image.XPKeywords": "102 0 105 0 0 0",
}  # fmt: skip


def press_jpeg() -> bytes:
    """IPTC, XMP, EXIF, a comment (exiv2) and a profile (libvips)."""
    return by_exiv2(saved(drawing(), "JPEG", icc_profile=icc_bytes(), dpi=(300, 300)), keys=_PRESS, comment="a note")


def press_tiff() -> bytes:
    """IPTC, XMP and EXIF in a TIFF (exiv2)."""
    plain = saved(drawing(), "TIFF", icc_profile=icc_bytes(), dpi=(300, 300))
    return by_exiv2(plain, keys={**_PRESS, "Exif.Photo.LensModel": "50mm", "Exif.GPSInfo.GPSAltitude": "300/1"})


def camera_jpeg() -> bytes:
    """A maker's note, GPS, a thumbnail and an orientation (exiv2), and a preview by MPF (Pillow)."""
    preview = drawing().resize((120, 80))
    whole = saved(
        drawing(), "MPO", save_all=True, append_images=[preview], exif=exif_bytes(turned=True), dpi=(300, 300)
    )
    end = whole.index(b"\xff\xd9\xff\xd8") + 2
    note = " ".join(str(one) for one in b"Acme\0\x01" + bytes(range(60)))
    small = saved(drawing().resize((60, 40)), "JPEG")
    keys = {
        "Exif.Photo.MakerNote": note, "Exif.GPSInfo.GPSAltitude": "300/1", "Exif.Photo.BodySerialNumber": "77",
        "Xmp.aux.Lens": "50mm", "Exif.Photo.ColorSpace": "1",
    }  # fmt: skip
    return by_exiv2(whole[:end], keys=keys, thumbnail=small) + whole[end:]


def motion_photo() -> bytes:
    """A clip behind the JPEG, announced as Google's and Samsung's phones do."""
    clip = _box(b"ftyp", b"mp42\0\0\0\0mp42isom") + _box(b"mdat", bytes(range(256)) * 30) + _box(b"moov", bytes(400))
    camera = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:MicroVideo="1" '
    camera += f'GCamera:MotionPhotoPresentationTimestampUs="500" GCamera:MicroVideoOffset="{len(clip)}"'
    stated = xmp_bytes(
        camera,
        '<Container:Directory xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:Item='
        '"http://ns.google.com/photos/1.0/container/item/"><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item '
        'Item:Mime="image/jpeg" Item:Semantic="Primary"/></rdf:li><rdf:li rdf:parseType="Resource"><Container:Item '
        f'Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="{len(clip)}"/></rdf:li></rdf:Seq>'
        "</Container:Directory>",
    )
    return saved(drawing(), "JPEG", exif=exif_bytes(), xmp=stated) + clip


def ultra_hdr() -> bytes:
    """A gain map (libultrahdr)."""
    levels = (np.asarray(drawing()) / 255.0) ** 2.2 * 3
    content = imagecodecs.ultrahdr_encode(np.dstack([levels, np.ones((HEIGHT, WIDTH))]).astype(np.float16))
    return bytes(content)


def ultra_hdr_vips() -> bytes:
    """A gain map with EXIF and XMP (libvips)."""
    levels = ((np.asarray(drawing()) / 255.0) ** 2.2 * 3).astype(np.float32)
    image = pyvips.Image.new_from_memory(levels.tobytes(), WIDTH, HEIGHT, 3, "float").copy(interpretation="scrgb")
    image.set_type(pyvips.GValue.blob_type, "exif-data", exif_bytes())
    return bytes(image.uhdrsave_buffer())


def extended_xmp() -> bytes:
    """XMP in two parts, by the specification."""
    rest = xmp_bytes('xmlns:a="http://acme.example/" a:Long="' + "x" * 90_000 + '"').replace(b'xmp:Rating="4"', b"")
    name = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    stated = xmp_bytes(f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{name}"')
    content = saved(drawing(), "JPEG", xmp=stated)
    at, parts = content.index(stated) + len(stated), b""
    for place in range(0, len(rest), 65_000):
        data = b"http://ns.adobe.com/xmp/extension/\0" + name.encode() + struct.pack(">2I", len(rest), place)
        data += rest[place : place + 65_000]
        parts += b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    return content[:at] + parts + content[at:]


def panorama() -> bytes:
    """A 360 degree photograph."""
    stated = 'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" GPano:ProjectionType="equirectangular" '
    stated += f'GPano:FullPanoWidthPixels="{WIDTH}" GPano:CroppedAreaImageWidthPixels="{WIDTH}"'
    return saved(drawing(), "JPEG", xmp=xmp_bytes(stated), exif=exif_bytes())


def portrait() -> bytes:
    """A depth map in the XMP, as Google's phones wrote it."""
    depth = saved(drawing(9, mode="L").resize((24, 16)), "PNG").hex()
    stated = (
        f'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Format="RangeInverse" GDepth:Data="{depth}"'
    )
    return saved(drawing(), "JPEG", xmp=xmp_bytes(stated), exif=exif_bytes())


def old_jpeg() -> bytes:
    """A maker's segments: FlashPix, Ducky, a segment of nobody's, bytes behind the end."""
    content = saved(drawing(), "JPEG", exif=exif_bytes())
    more = b"".join(b"\xff" + bytes([0xE0 + one]) + struct.pack(">H", len(data) + 2) + data for one, data in (
        (2, b"FPXR\0\0\1flash"), (3, b"META\0\0meta"), (12, b"Ducky\0\1\0\4\0\0\0\x50"), (10, b"AROT\0\0turn"),
    ))  # fmt: skip
    return content[:2] + more + content[2:] + b"SEFHtrailer of a maker, which nobody knows" * 3


def phone_heic() -> bytes:
    """EXIF with an orientation, XMP, a profile, a thumbnail and a second image (pillow-heif)."""
    file, out = pillow_heif.from_pillow(drawing()), io.BytesIO()
    file.add_from_pillow(drawing(9))
    file[0].info |= {"thumbnails": [64], "icc_profile": icc_bytes(), "icc_profile_type": "prof"}
    file.save(out, exif=exif_bytes(turned=True), xmp=xmp_bytes(), quality=95)
    return out.getvalue()


def deep_heic() -> bytes:
    """Ten bits, BT.2020 with PQ (pillow-heif)."""
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    file = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), deep().tobytes())
    out = io.BytesIO()
    file.save(out, quality=95, color_primaries=9, transfer_characteristics=16, matrix_coefficients=9, exif=exif_bytes())
    return out.getvalue()


def avif() -> bytes:
    """EXIF, XMP and a profile (Pillow)."""
    return saved(drawing(), "AVIF", exif=exif_bytes(), xmp=xmp_bytes(), icc_profile=icc_bytes(), quality=95)


def moving_avif() -> bytes:
    """Three frames (Pillow)."""
    return saved(drawing(), "AVIF", save_all=True, append_images=[drawing(8), drawing(9)], exif=exif_bytes())


def packed_jxl() -> bytes:
    """EXIF and XMP in compressed boxes (pillow-jxl-plugin)."""
    return saved(drawing(), "JXL", lossless=True, exif=exif_bytes(), xmp=xmp_bytes(), compress_metadata=True)


def jpeg_in_jxl() -> bytes:
    """A JPEG with metadata, stored without a loss (imagecodecs)."""
    return imagecodecs.jpegxl_encode_jpeg(
        saved(drawing(), "JPEG", exif=exif_bytes(), xmp=xmp_bytes(), comment=b"a note")
    )


def pages() -> bytes:
    """Three pages with texts (tifffile)."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        for seed in (7, 8, 9):
            tags = [(315, 2, 0, "Ann", True), (33432, 2, 0, "(c) Ann", True), (65000, 2, 0, "private", True)]
            file.write(np.asarray(drawing(seed)), description=f"page {seed}", metadata=None, extratags=tags)
    return out.getvalue()


def pyramid() -> bytes:
    """A pyramid with SubIFDs in tiles (tifffile)."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(
            np.asarray(drawing()), tile=(64, 64), subifds=2, photometric="rgb", metadata=None, software="Slides 1"
        )
        for part in (2, 4):
            file.write(
                np.asarray(drawing())[::part, ::part], tile=(64, 64), subfiletype=1, photometric="rgb", metadata=None
            )
    return out.getvalue()


def imagej() -> bytes:
    """A stack of ImageJ's in 16-bit gray, with its own tags (tifffile)."""
    out = io.BytesIO()
    meta = {"axes": "ZYX", "spacing": 2.0, "unit": "um", "Info": "stain: DAPI", "LUTs": [np.zeros((3, 256), np.uint8)]}
    tifffile.imwrite(out, np.stack([deep(1)] * 3), imagej=True, resolution=(2.5, 2.5), metadata=meta)
    return out.getvalue()


def microscope() -> bytes:
    """OME-TIFF of two channels (tifffile)."""
    out = io.BytesIO()
    meta = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}, "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "um"}
    tifffile.imwrite(out, np.stack([deep(1)] * 2), ome=True, metadata=meta, photometric="minisblack")
    return out.getvalue()


def shaped() -> bytes:
    """What tifffile writes of itself: the shape of the array, as a text."""
    out = io.BytesIO()
    tifffile.imwrite(out, np.asarray(drawing()))
    return out.getvalue()


def geotiff() -> bytes:
    """A map: GeoTIFF's tags, GDAL's texts (tifffile)."""
    out = io.BytesIO()
    tags = [
        (33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 400000.0, 5200000.0, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True), (34737, 2, 0, "UTM 33|", True),
        (42112, 2, 0, "<GDALMetadata><Item name='a'>b</Item></GDALMetadata>", True), (42113, 2, 0, "0", True),
    ]  # fmt: skip
    tifffile.imwrite(out, np.asarray(drawing()), metadata=None, extratags=tags)
    return out.getvalue()


def gray_tiff() -> bytes:
    """16-bit gray in micrometers (tifffile)."""
    out = io.BytesIO()
    tifffile.imwrite(out, deep(1), metadata=None, resolution=(3937, 3937), resolutionunit=3, datetime=True)
    return out.getvalue()


def fax() -> bytes:
    """A scanned page of one bit, Group 4 (libtiff through Pillow)."""
    page = Image.new("1", (WIDTH, HEIGHT), 1)
    ImageDraw.Draw(page).text((20, 20), "a page of text\nwith lines", fill=0, font_size=24)
    return saved(page, "TIFF", compression="group4", dpi=(200, 200))


def layers() -> bytes:
    """Layers of Photoshop's and a thumbnail (psdtags)."""
    pixels, out = np.dstack([np.asarray(drawing()), np.full((HEIGHT, WIDTH), 255, np.uint8)]), io.BytesIO()
    channels = [
        psdtags.PsdChannel(channelid=which, compression=psdtags.PsdCompressionType.RLE, data=pixels[..., at])
        for at, which in enumerate([psdtags.PsdChannelId.CHANNEL0, psdtags.PsdChannelId.CHANNEL1,
                                    psdtags.PsdChannelId.CHANNEL2, psdtags.PsdChannelId.TRANSPARENCY_MASK])
    ]  # fmt: skip
    layer = psdtags.PsdLayer(
        name="below", channels=channels, rectangle=psdtags.PsdRectangle(0, 0, HEIGHT, WIDTH),
        mask=psdtags.PsdLayerMask(), opacity=255, blendmode=psdtags.PsdBlendMode.NORMAL, blending_ranges=(),
        clipping=psdtags.PsdClippingType.BASE, flags=psdtags.PsdLayerFlag(8),
        info=[psdtags.PsdString(psdtags.PsdKey.UNICODE_LAYER_NAME, "below")],
    )  # fmt: skip
    source = psdtags.TiffImageSourceData(
        name="a drawing", psdformat=psdtags.PsdFormat.LE32BIT, usermask=psdtags.PsdUserMask(),
        layers=psdtags.PsdLayers(key=psdtags.PsdKey.LAYER, has_transparency=False, layers=[layer]), info=[],
    )  # fmt: skip
    tifffile.imwrite(out, pixels[..., :3], photometric="rgb", metadata=None, extratags=[source.tifftag(maxworkers=1)])
    return out.getvalue()


def comfyui() -> bytes:
    """A prompt and a workflow, as ComfyUI saves them (Pillow)."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 5, "text": "ä"}}}))
    texts.add_text("workflow", json.dumps({"nodes": [{"id": 3}] * 400}))
    return saved(drawing(), "PNG", pnginfo=texts)


def web_ui() -> bytes:
    """Parameters, compressed and international texts (Pillow)."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a house\nSteps: 20, Seed: 5, Size: 240x160")
    texts.add_text("postprocessing", "Upscaler: none", zip=True)
    texts.add_itxt("Title", "Haus", lang="de", tkey="Name")
    texts.add_text("Comment", "a note")
    texts.add_text("Software", "NovelAI")
    return saved(drawing(), "PNG", pnginfo=texts, exif=exif_bytes())


def deep_png() -> bytes:
    """Sixteen bits (imagecodecs) with chunks for HDR, private chunks, a time and a background."""
    content = imagecodecs.png_encode(deep())
    more = [
        (b"cICP", bytes([12, 13, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8)), (b"sBIT", b"\x0c\x0c\x0c"),
        (b"bKGD", struct.pack(">3H", 1, 2, 3)), (b"tIME", b"\x07\xea\1\2\3\4\5"),
        (b"pHYs", struct.pack(">2IB", 5906, 5906, 1)),
        (b"prVt", b"safe to copy"), (b"prVT", b"not safe to copy"), (b"oFFs", struct.pack(">2iB", 3, 4, 0)),
        (b"sCAL", b"\x011.5\x001.5"), (b"sPLT", b"pal\0\x08" + bytes(6)), (b"eXIf", exif_bytes()[6:]),
    ]  # fmt: skip
    chunks = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in more)
    return content[:33] + chunks + content[33:]


def moving_png() -> bytes:
    """An animation (Pillow)."""
    return saved(drawing(), "PNG", save_all=True, append_images=[drawing(8), drawing(9)], duration=90)


def palette_png() -> bytes:
    """A palette with transparency (Pillow)."""
    image = drawing().quantize(60)
    return saved(image, "PNG", transparency=bytes([0, 128, *[255] * 58]), dpi=(144, 144))


def gray_png() -> bytes:
    """16-bit gray with texts (libvips)."""
    image = pyvips.Image.new_from_memory(deep(1).tobytes(), WIDTH, HEIGHT, 1, "ushort").copy(interpretation="grey16")
    image.set_type(pyvips.GValue.gstr_type, "png-comment-0-Author", "Ann")
    image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp_bytes())
    return bytes(image.write_to_buffer(".png"))


def bit_png() -> bytes:
    """One bit (Pillow)."""
    page = Image.new("1", (WIDTH, HEIGHT), 1)
    ImageDraw.Draw(page).text((20, 20), "a page of text\nwith lines", fill=0, font_size=24)
    return saved(page, "PNG", dpi=(200, 200))


def webp() -> bytes:
    """EXIF, XMP and a profile (libvips)."""
    image = pyvips.Image.new_from_buffer(saved(drawing(), "PNG"), "").copy()
    for name, data in (("exif-data", exif_bytes()), ("xmp-data", xmp_bytes()), ("icc-profile-data", icc_bytes())):
        image.set_type(pyvips.GValue.blob_type, name, data)
    return bytes(image.write_to_buffer(".webp", lossless=True))


def moving_webp() -> bytes:
    """An animation with EXIF (Pillow)."""
    return saved(drawing(), "WEBP", save_all=True, append_images=[drawing(8)], exif=exif_bytes(), xmp=xmp_bytes())


def gif() -> bytes:
    """An animation with a comment (Pillow)."""
    frames = [drawing(seed).quantize(200) for seed in (7, 8)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"a note", loop=0)


def signed(content: bytes, kind: str) -> bytes:
    """A file with content credentials."""
    above, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = dt.datetime.now(dt.UTC)

    def certificate(name: str, key: Any, *, is_issuer: bool) -> bytes:
        about = [
            x509.Name([x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, "T"),
                       x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, one)]) for one in (name, "issuer")
        ]  # fmt: skip
        uses = x509.KeyUsage(not is_issuer, *[False] * 4, is_issuer, is_issuer, *[False] * 2)
        result = x509.CertificateBuilder(about[1], about[0], key.public_key(), x509.random_serial_number())
        result = result.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(9))
        for part, matters in (
            (x509.BasicConstraints(is_issuer, None), True), (uses, True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), False),
            *([] if is_issuer else [(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)]),
        ):  # fmt: skip
            result = result.add_extension(part, matters)
        return result.sign(above, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    chain = certificate("own", own, is_issuer=False) + certificate("issuer", above, is_issuer=True)
    key = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, key, None))
    action = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
    }
    manifest = {
        "claim_generator_info": [{"name": "test"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    out = io.BytesIO()
    c2pa.Builder(manifest).sign(signer, kind, io.BytesIO(content), out)
    return out.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "press_jpeg.jpg": press_jpeg,
    "press_tiff.tif": press_tiff,
    # IPTC, XMP and EXIF in a PNG (libvips, exiv2).
    "press_png.png": lambda: by_exiv2(saved(drawing(), "PNG", icc_profile=icc_bytes(), dpi=(300, 300)), keys=_PRESS),
    "camera_jpeg.jpg": camera_jpeg,
    "motion_photo.jpg": motion_photo,
    "ultra_hdr.jpg": ultra_hdr,
    "ultra_hdr_vips.jpg": ultra_hdr_vips,
    "extended_xmp.jpg": extended_xmp,
    "panorama.jpg": panorama,
    "portrait.jpg": portrait,
    # An MPO with two images (Pillow).
    "stereo.jpg": lambda: saved(drawing(), "MPO", save_all=True, append_images=[drawing(8)], exif=exif_bytes()),
    # One channel, with a comment, by libvips and Pillow.
    "gray_jpeg.jpg": lambda: saved(drawing(mode="L"), "JPEG", comment=b"gray", dpi=(200, 200)),
    # Four colors for print (Pillow).
    "print_jpeg.jpg": lambda: saved(drawing(mode="CMYK"), "JPEG", dpi=(300, 300), exif=exif_bytes()),
    "old_jpeg.jpg": old_jpeg,
    # Content credentials (c2pa-python with a test certificate).
    "signed_jpeg.jpg": lambda: signed(saved(drawing(), "JPEG", exif=exif_bytes()), "image/jpeg"),
    # Content credentials (c2pa-python with a test certificate).
    "signed_png.png": lambda: signed(saved(drawing(), "PNG"), "image/png"),
    # Content credentials (c2pa-python with a test certificate).
    "signed_webp.webp": lambda: signed(saved(drawing(), "WEBP", lossless=True), "image/webp"),
    # Content credentials (c2pa-python with a test certificate).
    "signed_tiff.tif": lambda: signed(saved(drawing(), "TIFF"), "image/tiff"),
    # Content credentials (c2pa-python with a test certificate).
    "signed_avif.avif": lambda: signed(saved(drawing(), "AVIF"), "image/avif"),
    "phone_heic.heic": phone_heic,
    "deep_heic.heic": deep_heic,
    "avif.avif": avif,
    # Ten bits (imagecodecs).
    "deep_avif.avif": lambda: imagecodecs.avif_encode(deep() >> 6, level=90, bitspersample=10),
    "moving_avif.avif": moving_avif,
    # EXIF and XMP (pillow-jxl-plugin).
    "jxl.jxl": lambda: saved(drawing(), "JXL", lossless=True, exif=exif_bytes(), xmp=xmp_bytes()),
    "packed_jxl.jxl": packed_jxl,
    # Sixteen bits (imagecodecs).
    "deep_jxl.jxl": lambda: imagecodecs.jpegxl_encode(deep(), lossless=True),
    "jpeg_in_jxl.jxl": jpeg_in_jxl,
    "pages.tif": pages,
    "pyramid.tif": pyramid,
    "imagej.tif": imagej,
    "microscope.tif": microscope,
    "shaped.tif": shaped,
    "geotiff.tif": geotiff,
    "gray_tiff.tif": gray_tiff,
    "fax.tif": fax,
    "layers.tif": layers,
    "comfyui.png": comfyui,
    "web_ui.png": web_ui,
    "deep_png.png": deep_png,
    "moving_png.png": moving_png,
    "palette_png.png": palette_png,
    "gray_png.png": gray_png,
    "bit_png.png": bit_png,
    "webp.webp": webp,
    "moving_webp.webp": moving_webp,
    "gif.gif": gif,
    # A resolution (Pillow).
    "bmp.bmp": lambda: saved(drawing(), "BMP", dpi=(144, 144)),
}

# The independent inventory.

_STORED = (
    "ImageWidth", "ImageLength", "BitsPerSample", "Compression", "PhotometricInterpretation", "StripOffsets",
    "RowsPerStrip", "StripByteCounts", "SamplesPerPixel", "PlanarConfiguration", "ExifTag", "GPSTag", "Orientation",
    "XResolution", "YResolution", "ResolutionUnit", "NewSubfileType", "FillOrder", "Predictor", "TileWidth",
    "TileLength", "TileOffsets", "TileByteCounts", "SubIFDs", "InterColorProfile", "IPTCNAA", "XMLPacket",
    "ImageResources", "PixelXDimension", "PixelYDimension", "YCbCrPositioning", "SampleFormat", "ExtraSamples",
    "ColorMap", "T6Options", "InteroperabilityTag", "0x935c", "0xcd41", "ImageSourceData", "YCbCrSubSampling",
    "ReferenceBlackWhite", "JPEGInterchangeFormat", "JPEGInterchangeFormatLength",
)  # fmt: skip
ROWS = (
    "EXIF", "GPS", "maker's note", "XMP", "extended XMP", "IPTC", "ICC profile", "cICP, nclx", "resolution", "comment",
    "PNG texts", "other PNG chunks", "TIFF tags", "segments of makers", "HDR gain map", "motion clip", "depth",
    "second drawing", "layers", "content credentials", "thumbnail", "further frames", ">8 bits", "gray", "palette",
    "one bit",
)  # fmt: skip
_PRIVATE = (270, 33550, 33922, 34735, 34737, 42112, 42113, 50838, 50839, 65000)
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"leDt")
_PNG_COLORS = (b"iCCP", b"cICP", b"gAMA", b"cHRM", b"sRGB")


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


def _short(value: bytes | str) -> str:
    data = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:10]


def _jpeg(content: bytes, at: int = 0) -> tuple[list[tuple[int, bytes]], int]:
    """Markers and data of the JPEG there, and its end."""
    found, at = [], at + 2
    while at + 2 <= len(content) and content[at] == 0xFF:
        marker, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xD9:
            return found, at + 2
        found.append((marker, content[at + 4 : at + 2 + size]))
        at += 2 + size
        if marker == 0xDA:
            while not (content[at] == 0xFF and content[at + 1] not in (0, *range(0xD0, 0xD8))):
                at += 1
                if at + 2 > len(content):
                    return found, len(content)
    return found, at


def listed(path: Path) -> Items:
    """What other libraries and plain walks find in a file."""
    content, found = path.read_bytes(), Items()
    walks = {b"\x89PNG": _png, b"\xff\xd8": _jpegs, b"RIFF": _riff, b"GIF8": _gif, b"BM": _bmp}
    for start, walk in walks.items():
        if content.startswith(start):
            found |= dict(walk(content))
    if content[4:8] in (b"ftyp", b"JXL "):
        found |= dict(_boxes(content))
    if content[:2] in (b"II", b"MM"):
        found |= dict(_tiff(path))
    found = dict(_by_exiv2(path)) | found
    if content[:2] == b"\xff\x0a" or content[4:8] == b"JXL ":
        found |= dict(_jxl(content))
    with contextlib.suppress(pyvips.Error):
        image = pyvips.Image.new_from_file(str(path))
        if image.get_typeof("icc-profile-data"):
            found["ICC profile", "ICC"] = _short(bytes(image.get("icc-profile-data")))
        if image.get_typeof("n-pages") and image.get("n-pages") > 1 and content[4:8] != b"ftyp":
            found["further frames", "frames"] = ""
    return found


def _by_exiv2(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    try:
        image = exiv2.ImageFactory.open(str(path))
        image.readMetadata()
    except Exception:  # noqa: BLE001 (a format that it does not know)
        return
    is_tiff = path.read_bytes()[:2] in (b"II", b"MM")
    for one in sorted(image.exifData(), key=lambda one: one.key()):  # some tags are in Image, and then in Photo
        _, group, tag = one.key().split(".", 2)
        if tag == "MakerNote":
            yield ("maker's note", "EXIF MakerNote"), _short(bytes(one.value().data()))
        elif group == "Image" and one.tag() in _PRIVATE:
            yield ("TIFF tags", f"TIFF {one.tag()}"), _short(one.value().toString())
        elif group == "Thumbnail" and not is_tiff:
            yield ("thumbnail", "thumbnail (EXIF)"), ""
        elif group in ("Image", "Photo", "GPSInfo", "Iop") and tag not in _STORED and not tag.startswith("0x02"):
            row = "GPS" if group == "GPSInfo" else "EXIF"
            yield (row, f"EXIF {tag}"), one.value().toString().strip("\0 ")
    stated = {one.key(): one.value() for one in image.exifData()}
    if {"Exif.Image.XResolution", "Exif.Image.YResolution"} <= stated.keys():
        unit = stated["Exif.Image.ResolutionUnit"].toInt64() if "Exif.Image.ResolutionUnit" in stated else 2
        sides = [stated[f"Exif.Image.{one}Resolution"].toFloat() * (2.54 if unit == 3 else 1) for one in "XY"]
        yield from [(("resolution", "resolution"), f"{sides[0]:.0f}x{sides[1]:.0f}")] * (unit != 1)
    for one in image.iptcData():
        if one.record() == 2:
            yield ("IPTC", f"IPTC 2:{one.tag()} {one.value().toString()}"), one.value().toString()
    if not is_tiff or image.xmpData().count():
        for one in image.xmpData():
            parts = re.match(r"Xmp\.([^.]+)\.([^/\[]+)", one.key())
            if parts and "HasExtended" not in one.key():
                is_depth = parts[1] == "GDepth"
                at = ("depth", "depth map") if is_depth else ("XMP", f"XMP {parts[1]}:{parts[2]}")
                yield at, "" if is_depth else one.value().toString()


def _png(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    at, colors = 8, []
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        data = content[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            yield from [((">8 bits", "16 bits a channel"), "")] * (data[8] == 16)
            names = {0: ("gray", "one channel of gray"), 4: ("gray", "one channel of gray"), 3: ("palette", "palette")}
            if data[9] in names:
                yield (("one bit", "one bit a pixel") if data[8] == 1 and data[9] == 0 else names[data[9]]), ""
        elif kind in _PNG_COLORS:
            colors.append(kind)
            if kind == b"cICP":
                yield ("cICP, nclx", "cICP"), data.hex()
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, _, text = data.partition(b"\0")
            if kind == b"iTXt":
                text = (
                    text[2:].split(b"\0", 2)[2] if text[:1] == b"\0" else zlib.decompress(text[2:].split(b"\0", 2)[2])
                )
            else:
                text = (zlib.decompress(text[1:]) if kind == b"zTXt" else text).decode("latin-1").encode()
            name = key.decode("latin-1")
            if not name.startswith(("XML:com.adobe", "Raw profile type", "latentedit")):
                yield (("comment", "comment") if name == "Comment" else ("PNG texts", f"text {name}")), _short(text)
        elif kind == b"pHYs":
            yield (
                ("resolution", "resolution"),
                "x".join(f"{one * 0.0254:.0f}" for one in struct.unpack_from(">2I", data)),
            )
        elif kind == b"acTL":
            yield ("further frames", "frames"), ""
        elif kind == b"caBX":
            yield ("content credentials", "content credentials"), ""
        elif kind not in (*_PNG_PIXELS, b"eXIf"):
            name = {b"tIME": "time of the last change", b"bKGD": "background color"}.get(kind, f"chunk {kind.decode()}")
            yield ("other PNG chunks", name), _short(data)


def _jpegs(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    parts, end = _jpeg(content)
    extension = b""
    for marker, data in parts:
        if marker == 0xE0 and data[:4] == b"JFIF" and data[7]:
            size = struct.unpack_from(">2H", data, 8)
            yield ("resolution", "resolution"), "x".join(f"{one * (1 if data[7] == 1 else 2.54):.0f}" for one in size)
        elif marker in (0xC0, 0xC2) and data[5] == 1:
            yield ("gray", "one channel of gray"), ""
        elif marker == 0xFE:
            yield ("comment", "comment"), _short(data.rstrip(b"\0"))
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xmp/extension/"):
            extension += data[75:]
        elif marker == 0xEB and b"c2pa" in data[:300]:
            yield ("content credentials", "content credentials"), ""
        elif 0xE1 <= marker <= 0xEF and not data.startswith(
            (
                b"Exif",
                b"http://ns.adobe.com/xap",
                b"ICC_PROFILE",
                b"Photoshop",
                b"MPF",
                b"Adobe",
                b"Ducky",
                b"urn:iso",
                b"JP",
            )
        ):
            name = re.match(rb"\w*", data)
            yield ("segments of makers", f"APP{marker - 0xE0} {name[0].decode() if name else ''}"), _short(data)
    if extension:
        for name in re.findall(rb'\b(?!xmlns|rdf|xml)(\w+:\w+)="', extension):
            yield ("extended XMP", f"XMP {name.decode()}"), ""
    while content[end : end + 2] == b"\xff\xd8":
        start, (parts, end) = end, _jpeg(content, end)
        head = b"".join(data for _, data in parts)
        is_map = b"hdrgm" in head or b"21496" in head
        size = next(data[1:5] for marker, data in parts if marker in (0xC0, 0xC2))
        is_stereo = size == struct.pack(">2H", HEIGHT, WIDTH)
        name = "HDR gain map" if is_map else "stereo or further image" if is_stereo else "preview image"
        row = "HDR gain map" if is_map else "second drawing" if is_stereo else "thumbnail"
        yield (row, name), "" if is_map else _short(content[start:end])
    if content[end + 4 : end + 8] == b"ftyp":
        yield ("motion clip", "motion clip"), _short(content[end:])
    elif content[end:]:
        yield ("segments of makers", "bytes behind the end"), _short(content[end:])


def _riff(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    at = 12
    while at + 8 <= len(content):
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if kind == b"ANIM":
            yield ("further frames", "frames"), ""
        elif kind == b"C2PA":
            yield ("content credentials", "content credentials"), ""
        at += 8 + size + size % 2


def _gif(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    yield ("palette", "palette"), ""
    if found := re.search(rb"!\xfe(.)(.*?)\0", content, re.DOTALL):
        yield ("comment", "comment"), _short(found[2][: found[1][0]])


def _bmp(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    if any(size := struct.unpack_from("<2i", content, 38)):
        yield ("resolution", "resolution"), "x".join(f"{one * 0.0254:.0f}" for one in size)


def _tiff(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        tags = {tag.code: tag.value for tag in page.tags}
        if page.bitspersample > 8:
            yield (">8 bits", f"{page.bitspersample} bits a channel"), ""
        if page.bitspersample == 1:
            yield ("one bit", "one bit a pixel"), ""
        elif page.samplesperpixel == 1:
            yield ("gray", "one channel of gray"), ""
        if len(file.pages) > 1:
            yield ("further frames", "frames"), ""
        if 330 in tags:
            yield ("thumbnail", "smaller copies"), ""
        if 34675 in tags:
            yield ("ICC profile", "ICC"), _short(tags[34675])
        if 52545 in tags:
            yield ("content credentials", "content credentials"), ""
        if 37724 in tags:
            yield ("layers", "layers (Photoshop)"), _short(bytes(tags[37724]))
        if 282 in tags and tags.get(296, 2) in (2, 3):
            unit = 2.54 if tags.get(296, 2) == 3 else 1
            across, down = (tags[one][0] / tags[one][1] * unit for one in (282, 283))
            if (across, down) != (1, 1):
                yield ("resolution", "resolution"), f"{across:.0f}x{down:.0f}"


def _items(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    while begin + 8 <= end:
        size, kind, head = int.from_bytes(content[begin : begin + 4], "big"), content[begin + 4 : begin + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[begin + 8 : begin + 16], "big"), 16
        size = size or end - begin
        if size < head:
            return
        yield kind, content[begin + head : begin + size]
        begin += size


def _boxes(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    for kind, data in _items(content, 0, len(content)):
        if kind == b"moov" and content[8:12] in (b"avis", b"msf1", b"hevc"):
            yield ("further frames", "frames"), ""
        elif kind == b"uuid" and b"c2pa" in data[:200]:
            yield ("content credentials", "content credentials"), ""
        for inner, body in _items(data, 4, len(data)) if kind == b"meta" else ():
            if inner == b"iinf":
                images, copies = len(re.findall(rb"infe.{8}(?:hvc1|av01|grid)\0", body, re.DOTALL)), 0
                for kind_of, entry in _items(dict(_items(data, 4, len(data))).get(b"iref", b"\0" * 4), 4, 10**9):
                    copies += kind_of in (b"thmb", b"auxl")
                    if kind_of == b"thmb":
                        yield ("thumbnail", "thumbnail (HEIF)"), _short(entry)
                if images - copies > 1:
                    yield ("second drawing", "further image"), ""
            if inner == b"iprp":
                if found := re.search(rb"pixi....[\1\3\4](.)", body, re.DOTALL):
                    yield from [((">8 bits", f"{found[1][0]} bits a channel"), "")] * (found[1][0] > 8)
                if found := re.search(rb"colrnclx..(.)..?(.)", body, re.DOTALL):
                    numbers = struct.unpack_from(">3H", body, found.start() + 8)
                    if numbers[0] not in (1, 2):
                        yield ("cICP, nclx", "cICP"), bytes([numbers[0], numbers[1], 0, 1]).hex()
                if (at := body.find(b"colrprof")) >= 0:
                    size = int.from_bytes(body[at - 4 : at], "big")
                    yield ("ICC profile", "ICC"), _short(body[at + 8 : at - 4 + size])


def _jxl(content: bytes) -> Iterator[tuple[tuple[str, str], str]]:
    pixels = imagecodecs.jpegxl_decode(content)
    if pixels.dtype == np.uint16:
        yield (">8 bits", "16 bits a channel"), ""
    if pixels.ndim == 2:
        yield ("gray", "one channel of gray"), ""
    for kind, data in _items(content, 0, len(content)):
        what, inner = (data[:4], imagecodecs.brotli_decode(data[4:])) if kind == b"brob" else (kind, data)
        if what == b"xml ":
            for name in re.findall(rb"\b(xmp:Rating|photoshop:City|dc:creator)\b(?=[=>])", inner):
                yield ("XMP", f"XMP {name.decode()}"), ""
        elif what == b"Exif":
            for name, tag in (("Make", b"Acme"), ("Artist", b"Ann"), ("DateTimeOriginal", b"2026:01")):
                yield from [(("EXIF", f"EXIF {name}"), "")] * (tag in inner)
        elif what == b"jumb":
            yield ("content credentials", "content credentials"), ""


# The comparison.

_NAMES = {  # of the independent inventory -> how the report may call it
    "ICC": r"color profile", "cICP": r"color profile|cICP|color space", "frames": r"further frames",
    "preview image": r"preview image|further image", "stereo or further image": r"stereo image|further image|panorama",
    "background color": "background",
    "bytes behind the end": "bytes behind the end",
}  # fmt: skip


def words_of(name: str) -> str:
    """A pattern for the names that the report may give a part."""
    if found := re.match(r"IPTC (2:\d+)", name):
        return rf"IPTC {found[1]}\b"
    if name.startswith("TIFF "):
        code = int(name[5:])
        text = TiffImagePlugin.TiffTags.TAGS_V2.get(code)
        return rf"EXIF ({code}|{text.name if text else code}|{ExifTags.TAGS.get(code, code)})\b" + "|ImageJ's" * (
            code in (50838, 50839)
        )
    if name.startswith("EXIF "):
        words = name[5:]
        code = str(int(words, 16)) if words.startswith("0x") else words
        return rf"EXIF ({re.escape(words)}|{code}|{_ALIASES.get(words, words)})\b"
    return _NAMES.get(name, re.escape(name) + r"(?!\w)")


_ALIASES = {
    "PhotographicSensitivity": "ISOSpeedRatings", "GPSTag": "GPSInfo", "FlashpixVersion": "FlashPixVersion",
}  # fmt: skip


def in_group(name: str, groups: list[str]) -> bool:
    """Whether a list of the report, which may shorten groups, names a part."""
    head, *_ = name.partition(" ")
    if head == "TIFF":
        head = "EXIF"
    for group in groups:
        inner = re.fullmatch(rf"{head} \((.*)\)", group) if head in ("EXIF", "XMP", "IPTC") else None
        if inner and (" more" in inner[1] or re.search(words_of(name).partition(" ")[2], inner[1])):
            return True
        if not inner and re.search(words_of(name), group):
            return True
    return False


QUIET = ("thumbnail", "preview image", "smaller copies", "time of the last change", "frames")


def judged(before: Items, after: Items, report: dict[str, Any], reported: str) -> Iterator[tuple[str, str, str]]:
    """Row, name and what became of each part: carried, translated, left out, or SILENT with what is missing."""
    out: dict[str, str] = report["left_out"]
    for (row, name), value in before.items():
        named = [key for key in out if re.search(words_of(name), key) or key == f"compressed {name.partition(' ')[0]}"]
        if (row, name) in after and (not value or after[row, name] == value):
            yield row, name, "carried"
        elif named:
            shown = name.startswith(QUIET) or any(
                key in reported
                or re.search(rf"{key.partition(' ')[0]} \([^)]*({re.escape(key.partition(' ')[2])}|more\))", reported)
                for key in named
            )
            yield row, name, "left out" if shown else "SILENT on stderr"
        elif in_group(name, report["translated"]):
            yield row, name, "translated"
        elif any(key[1] == name for key in after) and in_group(name, report["carried"]):
            same = any(key[1] == name and (found == value or not value or not found) for key, found in after.items())
            yield row, name, "carried" if same else "SILENT change"
        else:
            yield row, name, "SILENT loss"


def claims(path: Path) -> Iterator[str]:
    """What a result says of itself and does not hold."""
    content, found = path.read_bytes(), listed(path)
    rows = {row for row, _ in found}
    with Image.open(path) as image:
        size, xmp = image.size, image.info.get("xmp", b"")
        exif = image.getexif()
        inner = exif.get_ifd(0x8769)
        for tags, pair in ((exif, (256, 257)), (inner, (40962, 40963))):
            if any(tag in tags and tags[tag] != side for tag, side in zip(pair, size, strict=True)):
                yield f"EXIF sizes {[tags.get(tag) for tag in pair]} of {size}"
        if exif.get(274, 1) != 1:
            yield "an orientation"
        if image.format == "TIFF" and re.search(r"images=(?!1\n)|<OME", str(image.tag_v2.get(270, ""))):
            yield f"TIFF description of other pages: {str(image.tag_v2.get(270))[:60]!r}"
        elif re.search(r"images=(?!1\n)|<OME", str(exif.get(270, ""))):
            yield f"EXIF description of other pages: {str(exif.get(270))[:60]!r}"
    packet = xmp if isinstance(xmp, bytes) else str(xmp).encode()
    for word, row in (
        (b"hdrgm", "HDR gain map"), (b"MotionPhoto", "motion clip"), (b"MicroVideo", "motion clip"),
        (b"HasExtendedXMP", "extended XMP"), (b"GainMap", "HDR gain map"), (b"GDepth", "depth"),
    ):  # fmt: skip
        if word in packet and row not in rows:
            yield f"XMP {word.decode()}"
    if "thumbnail" in rows:
        yield "a thumbnail of the original"
    if "layers" in rows:
        yield "layers of the original"
    if b"c2pa" in content or b"jumb" in content:
        yield "credentials"
    if b"MPF\0" in content and rows.isdisjoint({"HDR gain map", "second drawing"}):
        yield "MPF"
    with contextlib.suppress(Exception):
        meta = exiv2.ImageFactory.open(str(path))
        meta.readMetadata()
        for one in meta.xmpData():
            if one.key() in ("Xmp.tiff.Orientation",) and one.value().toString() != "1":
                yield "XMP orientation"


def edited(path: Path, place: Path) -> None:
    """Draw on the drawing as an editor does, which saves a plain PNG in sRGB and nothing else."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened) if opened.format not in ("HEIF", "AVIF") else opened.copy()
        profile = opened.info.get("icc_profile")
        if image.mode.startswith(("I", "F")):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        is_clear = "transparency" in opened.info or image.mode in ("RGBA", "LA")
        image = image.convert("RGBA" if is_clear else "RGB")
    if profile and not is_clear:
        with contextlib.suppress(ImageCms.PyCMSError):
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
    across, down = image.width // 3, image.height // 3
    is_page = path.stem in ("fax", "bit_png", "gray_jpeg", "gray_tiff", "imagej", "microscope", "gray_png")
    color = (0, 0, 0) if is_page else (200, 30, 40)
    ImageDraw.Draw(image).ellipse((across, down, across + 40, down + 30), fill=color)
    image.info.clear()
    image.save(place)


def main() -> None:
    """Make all files, keep each in all formats, and write what became of their parts."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--only", nargs="*", help="names of kinds")
    options.add_argument("--files", type=Path, help="keep the files in this folder")
    chosen = options.parse_args()
    runner, cells, items = CliRunner(), dict[tuple[str, str], Counter[str]](), 0
    silent, false, refused = list[str](), list[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        home = chosen.files or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        for name, maker in MAKERS.items():
            if chosen.only and name.partition(".")[0] not in chosen.only:
                continue
            source, change = home / name, home / f"{name}.edited.png"
            with warnings.catch_warnings(action="ignore"):
                source.write_bytes(maker())
                edited(source, change)
                before = listed(source)
            for kind in FORMATS:
                output = home / f"{name}.kept.{kind}"
                done = runner.invoke(app, ["keep", str(source), str(change), "-o", str(output), "--json"])
                if done.exit_code or not output.exists():
                    why = (done.stderr.strip().splitlines() or [repr(done.exception)])[-1].replace(str(home), "")
                    refused.append(f"{name} -> {kind}: {why}")
                    continue
                reported = " ".join(line for line in done.stderr.splitlines() if "not kept in" in line)
                report = json.loads(done.stdout)
                with warnings.catch_warnings(action="ignore"):
                    after = listed(output)
                    false += [f"{name} -> {kind}: {one}" for one in claims(output)]
                for row, part, fate in judged(before, after, report, reported):
                    items += 1
                    if fate.startswith("SILENT"):
                        silent.append(f"{name} -> {kind}: {part}: {fate}")
                    cells.setdefault((row, kind), Counter())["lost silently" if "SILENT" in fate else fate] += 1
    for title, lines in (("refused", refused), ("silent", silent), ("false", false)):
        print(title, len(lines), *lines, sep="\n  ")
    order = [*ROWS, *sorted({row for row, _ in cells} - set(ROWS))]
    rows = [{"part": row} | {kind: cell(cells.get((row, kind), Counter())) for kind in FORMATS} for row in order]
    found = {
        "command": " ".join(["python", "benchmarks/file_kinds.py", *sys.argv[1:]]),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "kinds": len(MAKERS), "results": len(MAKERS) * len(FORMATS) - len(refused), "refused": refused, "items": items,
        "silently lost": len(silent), "silent": silent, "false": len(false), "false claims": false, "rows": rows,
    }  # fmt: skip
    write_text(chosen.output, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def cell(fates: Counter[str]) -> str:
    """One cell of the table: what became of parts of one kind, the most frequent first."""
    return ", ".join(name for name, _ in fates.most_common()) or "–"


if __name__ == "__main__":
    main()

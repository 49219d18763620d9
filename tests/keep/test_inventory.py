"""The parts of a file beside its pixels, their fate in a result, and no result that claims a part it lacks."""

import hashlib
import io
import random
import struct
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from latentedit.photo import jpegxl, xmp
from latentedit.photo.carried import Carried
from latentedit.photo.containers import raw_tag, segment, segments, taken_apart
from latentedit.photo.exif import upright_exif, with_types, without_orientation
from latentedit.photo.images import read_pixels
from latentedit.photo.inventory import inventory as inventory_of
from latentedit.photo.metadata import read_carried
from latentedit.photo.parts import Parts, compared
from latentedit.photo.photoshop import resource
from latentedit.photo.saving import save_image
from tests.keep.color_files import box, chunk, packet, tiff, with_chunk, with_xmp
from tests.keep.pairs import encoded, scene

SIZE = (48, 32)
XMP = packet('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"')
IPTC = b"".join(b"\x1c\x02" + bytes([one]) + struct.pack(">H", len(text)) + text for one, text in (
    (105, b"Fire"), (25, b"fire"), (25, b"town"), (10, b"3"),
))  # fmt: skip


def inventory(content: bytes) -> Parts:
    return inventory_of(taken_apart(content))


def image() -> Image.Image:
    return Image.fromarray(scene(64)).resize(SIZE)


def saved(kind: str, **options: Any) -> bytes:
    return encoded(image(), kind, **options)


def jpeg(*more: bytes, behind: bytes = b"", **options: Any) -> bytes:
    content = saved("JPEG", **options)
    return content[:2] + b"".join(more) + content[2:] + behind


def png(*more: bytes, **options: Any) -> bytes:
    content = saved("PNG", **options)
    return content[:33] + b"".join(more) + content[33:]


def kept(content: bytes, path: Path) -> tuple[Any, dict[str, str]]:
    """The report on a file's parts in another file, and that file's own parts."""
    with warnings.catch_warnings(action="ignore"):
        return save_image(read_pixels(io.BytesIO(content)), path), inventory(path.read_bytes())


def exif(order: str = "<", *, orientation: int = 6, thumbnail: bytes = b"THUMB" * 9) -> bytes:
    """EXIF with a maker's note that counts from the beginning, sizes and a thumbnail at the end."""
    make, note, at = b"Acme\0\0", b"NOTE" + bytes(range(40)), 8 + 2 + 12 * 3 + 4
    inner = at + len(make)
    note_at = inner + 2 + 12 * 3 + 4
    second = note_at + len(note)
    image = second + 2 + 12 * 2 + 4

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        packed = struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", value)
        return struct.pack(f"{order}2HI", tag, kind, count) + packed

    return b"Exif\0\0" + b"".join((
        b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}IH", 8, 3),
        entry(0x010F, 2, 5, at), entry(0x0112, 3, 1, orientation), entry(0x8769, 4, 1, inner),
        struct.pack(f"{order}I", second), make, struct.pack(f"{order}H", 3),
        entry(0x927C, 7, len(note), note_at), entry(0xA002, 3, 1, 4000), entry(0xA003, 4, 1, 3000), bytes(4), note,
        struct.pack(f"{order}H", 2), entry(0x0201, 4, 1, image), entry(0x0202, 4, 1, len(thumbnail)), bytes(4),
        thumbnail,
    ))  # fmt: skip


def texts() -> PngInfo:
    made = PngInfo()
    made.add_text("workflow", '{"nodes": [1]}')
    made.add_text("parameters", "x" * 300, zip=True)
    made.add_itxt("Title", "Häuser", lang="de")
    made.add_text("Comment", "a note")
    made.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return made


def pages(count: int, more: dict[int, bytes], description: str) -> bytes:
    """A TIFF with a description by ImageJ, an artist, and further tags of bytes."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315] = description, "Ann"
    for tag, data in more.items():
        tags[tag], tags.tagtype[tag] = data, 7
    return saved("TIFF", tiffinfo=tags, save_all=True, append_images=[image()] * (count - 1))


def heic(numbers: tuple[int, ...], references: bytes, *, hidden: int = 0) -> bytes:
    """The beginning of a HEIC whose main image is the first one."""
    entries = b"".join(
        box(b"infe", bytes([2, 0, 0, int(one == hidden)]) + struct.pack(">2H", one, 0) + b"hvc1\0") for one in numbers
    )
    parts = box(b"pitm", bytes(4) + struct.pack(">H", 1)) + box(b"iinf", struct.pack(">IH", 0, len(numbers)) + entries)
    return heic_of(parts + box(b"iref", bytes(4) + references))


def heic_of(parts: bytes) -> bytes:
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(4) + parts)


PRESS = segment(0xED, b"Photoshop 3.0\0" + resource(1028, IPTC))
CREDENTIALS = segment(0xEB, b"JP\0\1\0\0\0\1" + box(b"jumb", b"c2pa"))
CLIP = box(b"ftyp", b"mp42\0\0\0\0") + box(b"moov", bytes(40))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OTHER = image().transpose(Image.Transpose.ROTATE_180)
LAYERS = {37724: b"Adobe Photoshop Document Data Block\0" * 4000, 52545: b"jumb c2pa", 50839: b"IJIJ"}

PHOTOGRAPHS = "png jpg webp tif avif"  # the formats that store EXIF, XMP and profiles
EXIF_PARTS = {"EXIF Make": PHOTOGRAPHS, "EXIF MakerNote": PHOTOGRAPHS, "thumbnail (EXIF)": ""}
XMP_PARTS = {"XMP xmp:Rating": PHOTOGRAPHS}
IPTC_PARTS = {
    "IPTC 2:105": "png jpg tif (webp) (avif)",
    "IPTC 2:25": "png jpg tif (webp) (avif)",
    "IPTC 2:25 2": "png jpg tif (webp) (avif)",
    "IPTC 2:10": "png jpg tif",  # XMP has no such property
}

# The parts of each file, and the formats that keep a part; a format in brackets keeps it as XMP.
HELD: dict[str, tuple[bytes, dict[str, str]]] = {
    "jpeg": (
        jpeg(PRESS, exif=exif(), xmp=XMP, comment=b"a", behind=CLIP),
        {**EXIF_PARTS, **IPTC_PARTS, **XMP_PARTS, "comment": "png jpg", "motion clip": ""},
    ),
    "jpeg with credentials": (jpeg(CREDENTIALS), {"content credentials": ""}),
    "mpo": (saved("MPO", save_all=True, append_images=[OTHER.resize((8, 8))]), {"further image": ""}),
    "gif": (
        encoded(image().quantize(9), "GIF", save_all=True, append_images=[OTHER.quantize(9)], comment=b"a"),
        {"palette": "png", "further frames": "", "comment": "png jpg"},
    ),
    "png": (
        png(chunk(b"eXIf", exif()[6:]), chunk(b"pHYs", bytes(9)), pnginfo=texts()),
        {
            **EXIF_PARTS,
            **XMP_PARTS,
            "text workflow": "png",
            "text parameters": "png",
            "text Title": "png",
            "comment": "png jpg",
        },
    ),
    "png with chunks": (
        png(chunk(b"prVt", b"safe"), chunk(b"prVT", b"not"), chunk(b"sBIT", b"\5\6\5"), chunk(b"tIME", bytes(7))),
        {"chunk prVt": "png", "chunk prVT": "", "chunk sBIT": "png", "time of the last change": ""},
    ),
    "plain png": (png(), {}),
    "webp": (saved("WEBP", exif=exif(), xmp=XMP), {**EXIF_PARTS, **XMP_PARTS}),
    "tiff": (saved("TIFF", tiffinfo={700: XMP, 34377: resource(1028, IPTC), 33723: IPTC}), {**IPTC_PARTS, **XMP_PARTS}),
    "tiff with a profile": (saved("TIFF", icc_profile=PROFILE), {"color profile": PHOTOGRAPHS}),
    "tiff with pages and layers": (
        pages(3, LAYERS, "ImageJ=1.11a\nimages=3\nslices=3\n"),
        {
            "EXIF Artist": PHOTOGRAPHS,
            "EXIF ImageDescription": "",
            "ImageJ's data": "",
            "layers (Photoshop)": "",
            "content credentials": "",
            "further frames": "",
        },
    ),
    "tiff of one page": (
        pages(1, {}, "ImageJ=1.11a\nimages=1\n"),
        {"EXIF Artist": PHOTOGRAPHS, "EXIF ImageDescription": PHOTOGRAPHS},
    ),
    "bmp": (saved("BMP", dpi=(9, 9)), {"resolution": f"{PHOTOGRAPHS} bmp"}),
    "bmp with a palette": (encoded(image().quantize(9), "BMP"), {"palette": "png", "resolution": f"{PHOTOGRAPHS} bmp"}),
    "pgm": (encoded(image().convert("L"), "PPM"), {"one channel of gray": "png jpg tif"}),
    "pbm": (encoded(image().convert("1"), "PPM"), {"one bit a pixel": "png tif"}),
    "avif": (
        saved("AVIF", exif=exif(), xmp=XMP),
        {"EXIF Make": PHOTOGRAPHS, "EXIF MakerNote": PHOTOGRAPHS, **XMP_PARTS},
    ),
    "avif with frames": (saved("AVIF", save_all=True, append_images=[OTHER]), {"further frames": ""}),
}

# Names of the parts of files that are not decoded here; those of JPEG XL are beginnings of files by libjxl.
THUMBNAIL, TILES = box(b"thmb", struct.pack(">3H", 2, 1, 1)), box(b"dimg", struct.pack(">4H", 1, 2, 3, 4))
JPEG_XL = bytes.fromhex("ff0a275140d12208040100e69c022bf98b919102")
JPEG_XL_BOXES = box(b"xml ", XMP) + box(b"brob", b"Exif" + b"packed") + box(b"jxlc", JPEG_XL)
NAMED: dict[str, tuple[bytes, set[str]]] = {
    "heic": (heic((1, 2, 3), THUMBNAIL), {"thumbnail (HEIF)", "further image"}),
    "heic with a thumbnail": (heic((1, 2), THUMBNAIL), {"thumbnail (HEIF)"}),
    "heic of tiles": (heic((1, 3, 4), TILES), set()),
    "heic with a hidden image": (heic((1, 3), b"", hidden=3), set()),
    "heic of 10 bits": (heic_of(box(b"iprp", b"pixi\0\0\0\0\1\x0a")), {"10 bits a channel"}),
    "heic whose depth is cut off": (heic_of(box(b"iprp", b"pixi\0\0\0\0\1")), set()),
    "pgm of 16 bits": (b"P5 # gray\n2 1 65535\n" + bytes(4), {"one channel of gray", "16 bits a channel"}),
    "jxl of 10 bits": (JPEG_XL, {"10 bits a channel"}),
    "jxl of 16 bits": (bytes.fromhex("ff0a27f10350b408080401009a08082bf98b919102"), {"16 bits a channel"}),
    "jxl of 8 bits": (bytes.fromhex("ff0a27412408020100b667002bf9038c"), set()),
    "jxl in a container": (
        box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ") + JPEG_XL_BOXES,
        {"XMP xmp:Rating", "compressed EXIF", "10 bits a channel"},
    ),
}


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif", "bmp"])
@pytest.mark.parametrize("name", HELD)
def test_a_part_is_kept_or_translated_or_reported_as_left_out(name: str, ending: str, tmp_path: Path) -> None:
    content, formats = HELD[name]
    before, (metadata, after) = inventory(content), kept(content, tmp_path / f"k.{ending}")
    assert before.keys() == formats.keys()
    same = {part for part in before if after.get(part) == before[part]}
    assert same == {part for part in formats if ending in formats[part].split()}
    as_xmp = [part.removeprefix("IPTC ") for part in before if f"({ending})" in formats[part]]
    assert metadata.translated == ((f"IPTC ({', '.join(as_xmp)})",) if as_xmp else ())
    assert metadata.left_out.keys() == formats.keys() - same - {f"IPTC {part}" for part in as_xmp}


@pytest.mark.parametrize("name", NAMED)
def test_parts_are_named(name: str) -> None:
    content, names = NAMED[name]
    assert inventory(content).keys() == names


def test_a_part_that_is_not_read_is_left_out() -> None:
    left = compared({"compressed EXIF": "1"}, {}, "PNG")
    assert left.left_out == {"compressed EXIF": "what it says is not read"}


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_pages_layers_and_credentials_leave_no_word(ending: str, tmp_path: Path) -> None:
    metadata, _ = kept(HELD["tiff with pages and layers"][0], tmp_path / f"k.{ending}")
    written = (tmp_path / f"k.{ending}").read_bytes()
    assert not any(word in written for word in (b"ImageJ=", b"Data Block", b"c2pa", b"IJIJ"))
    assert "layers (Photoshop)" in metadata.line


def test_the_warning_is_silent_about_the_time_of_the_last_change(tmp_path: Path) -> None:
    assert kept(HELD["png with chunks"][0], tmp_path / "k.png")[0].line == "chunk prVT"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_becomes_upright_and_all_else_keeps_its_place(order: str) -> None:
    before = exif(order)
    after = upright_exif(before, SIZE)
    note = before.index(b"NOTE")
    assert after[note : note + 44] == before[note : note + 44]
    assert b"THUMB" in before
    assert b"THUMB" not in after
    read = Image.Exif()
    read.load(after)
    inner = read.get_ifd(0x8769)
    assert (read[0x0112], inner[0xA002], inner[0xA003], read[0x010F]) == (1, *SIZE, "Acme")
    assert not read.get_ifd(1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_is_taken_out_without_moving_a_makers_note(order: str) -> None:
    before = exif(order)
    after = without_orientation(before)
    assert after.index(b"NOTE") == before.index(b"NOTE")
    read = Image.Exif()
    read.load(after)
    assert 0x0112 not in read
    assert read[0x010F] == "Acme"
    assert b"NOTE" in read.get_ifd(0x8769)[0x927C]
    assert without_orientation(after) == after


def test_a_makers_note_stays_where_it_is_in_every_format(tmp_path: Path) -> None:
    content = jpeg(exif=exif(orientation=1))
    offset = exif().index(b"NOTE") - 6  # from the beginning of EXIF
    for ending, start in (("jpg", b"Exif\0\0"), ("png", b"eXIf"), ("webp", b"EXIF"), ("avif", b"")):
        kept(content, path := tmp_path / f"k.{ending}")
        written = path.read_bytes()
        begin = written.index(b"II*\0", written.index(start))
        assert written[begin + offset : begin + offset + 4] == b"NOTE", ending


@pytest.mark.parametrize("cut", [0, 3, 8, 11, 30, 60, 100])
def test_damaged_exif_is_left_out_or_kept_but_never_raises(cut: int) -> None:
    for data in (exif()[:cut], exif()[:cut] + b"\xff" * 40, b"Exif\0\0II*\0\xff\xff\xff\xff"):
        assert isinstance(upright_exif(data, SIZE), bytes)
        assert isinstance(without_orientation(data), bytes)
        assert isinstance(with_types(data), bytes)


# The IPTC Photo Metadata Standard lists these properties in IIM and in XMP.
SAME_IN_XMP = {
    5: "dc:title", 25: "dc:subject", 40: "photoshop:Instructions", 55: "photoshop:DateCreated", 80: "dc:creator",
    85: "photoshop:AuthorsPosition", 90: "photoshop:City", 92: "Iptc4xmpCore:Location", 95: "photoshop:State",
    100: "Iptc4xmpCore:CountryCode", 101: "photoshop:Country", 103: "photoshop:TransmissionReference",
    105: "photoshop:Headline", 110: "photoshop:Credit", 115: "photoshop:Source", 116: "dc:rights",
    120: "dc:description", 122: "photoshop:CaptionWriter",
}  # fmt: skip


def test_every_property_of_iptc_that_xmp_has_is_translated(tmp_path: Path) -> None:
    data = b"".join(b"\x1c\x02" + bytes([number, 0, 10]) + b"2026-01-31" for number in range(1, 130))
    metadata, after = kept(jpeg(segment(0xED, b"Photoshop 3.0\0" + resource(1028, data))), tmp_path / "k.webp")
    assert {name.removeprefix("XMP ") for name in after} >= {*SAME_IN_XMP.values()}
    assert sorted(metadata.left_out) == sorted(
        f"IPTC 2:{number}" for number in range(1, 130) if number not in SAME_IN_XMP
    )


# Tags of TIFF 6.0 and its supplements that say how pixels are stored, which a result stores in its own way.
STORED = (
    254, 255, 263, 264, 265, 266, 280, 281, 282, 283, 288, 289, 290, 291, 292, 296, 317, 318, 319, 320, 321, 322, 323,
    324, 325, 332, 333, 334, 336, 337, 340, 341, 342, 347, 512, 513, 514, 530, 531, 532,
)  # fmt: skip
REPORTED = (269, 270, 271, 272, 285, 286, 287, 297, 301, 305, 306, 315, 316, 33432)


def test_tags_of_storage_are_no_parts_and_tags_of_the_photograph_are() -> None:
    pixels = np.full((8, 8, 3), 90, np.uint8)
    assert not inventory(tiff(pixels, photometric=2))
    for tag in (*STORED, *REPORTED):
        more = {tag: (2, [*b"2026\0"])} if tag in REPORTED else {tag: (4, [1])}
        assert bool(inventory(tiff(pixels, photometric=2, more=more))) == (tag in REPORTED), tag


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_of_a_tiff_is_read_as_numbers_in_any_order(tmp_path: Path, order: str) -> None:
    """Libtiff and exiv2 declare it as 32-bit numbers."""
    data = IPTC + bytes(-len(IPTC) % 4)
    numbers = struct.unpack(f"{order}{len(data) // 4}I", data)
    pixels = np.full((8, 8, 3), 90, np.uint8)
    content = tiff(pixels, photometric=2, order=order, more={33723: (4, [*numbers])})
    assert raw_tag(content, 33723) == data
    assert [name for name in inventory(content) if name.startswith("IPTC")] == [
        "IPTC 2:105", "IPTC 2:25", "IPTC 2:25 2", "IPTC 2:10",
    ]  # fmt: skip
    metadata, after = kept(content, tmp_path / "k.jpg")
    assert after["IPTC 2:105"] == inventory(content)["IPTC 2:105"]
    assert metadata.carried == ("IPTC (2:105, 2:25, 2:25 2 and 1 more)",)


def test_resolution_finds_a_place(tmp_path: Path) -> None:
    for ending in ("png", "jpg", "webp", "tif", "avif", "bmp"):
        for kind in ("BMP", "JPEG", "TIFF", "PNG"):
            metadata, after = kept(saved(kind, dpi=(144, 72)), tmp_path / f"k.{ending}")
            assert (after["resolution"], "resolution" in metadata.carried) == ("144 x 72", True)


def shaped(kind: str, across: int, down: int) -> bytes:
    """An image whose pixels have a shape without a unit: so many to the same length, when it is upright."""
    if kind == "PNG":
        return png(chunk(b"pHYs", struct.pack(">2IB", across, down, 0)))
    if kind == "TIFF":
        return saved(kind, x_resolution=across, y_resolution=down, resolution_unit=1)
    content, sides = (jpeg(), (across, down)) if kind == "JPEG" else (jpeg(exif=exif()), (down, across))
    return content[:13] + struct.pack(">B2H", 0, *sides) + content[18:]


@pytest.mark.slow_except("234-256-117:128-JPEG")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "JPEG by a quarter"])
@pytest.mark.parametrize(("across", "down", "name"), [(2, 1, "2:1"), (234, 256, "117:128"), (7, 7, None), (0, 0, None)])
def test_the_shape_of_pixels_is_kept_or_named(
    kind: str, across: int, down: int, name: str | None, tmp_path: Path
) -> None:
    content = shaped(kind, across, down)
    for ending in ("png", "jpg", "tif"):
        assert kept(content, tmp_path / f"k.{ending}")[1].get("pixel aspect ratio") == name
    for ending in ("webp", "avif", "bmp"):
        assert ("pixel aspect ratio" in kept(content, tmp_path / f"k.{ending}")[0].left_out) == bool(name)


def test_extended_xmp_is_merged_and_split_again(tmp_path: Path) -> None:
    long = XMP.replace(b'xmp:Rating="4"', b'xmp:Rating="4" xmlns:a="urn:a" a:Long="' + b"x" * 80_000 + b'"')
    source = read_pixels(io.BytesIO(jpeg()))
    with warnings.catch_warnings(action="ignore"):
        save_image(type(source)(pixels=source.pixels, carried=Carried(xmp=long)), first := tmp_path / "a.jpg")
    content = first.read_bytes()
    assert b"HasExtendedXMP" in content
    metadata, after = kept(content, tmp_path / "k.png")
    assert not metadata.left_out
    assert "XMP xmpNote:HasExtendedXMP" not in after
    assert b"HasExtendedXMP" not in (tmp_path / "k.png").read_bytes()


def test_pages_before_a_directory_of_credentials_are_named(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315] = "<?xml version='1.0'?><OME/>", "Ann"
    content = bytearray(saved("TIFF", tiffinfo=tags, save_all=True, append_images=[image()]))
    store = b"\0\0\0\x10jumdc2pa1234"
    second = int.from_bytes(content[(at := _next_directory(content, 4)) : at + 4], "little")
    last = _next_directory(content, at)
    assert second > 0
    assert content[last : last + 4] == bytes(4)
    content[last : last + 4] = struct.pack("<I", len(content))
    content += struct.pack("<HHHIII", 1, 52545, 7, len(store), len(content) + 18, 0) + store  # c2pa-rs .91 does so
    metadata, after = kept(bytes(content), tmp_path / "k.tif")
    assert {"content credentials", "further frames", "EXIF ImageDescription"} <= metadata.left_out.keys()
    assert "metadata that cannot be read" not in metadata.left_out
    assert after["EXIF Artist"] == "Ann"
    source = read_pixels(io.BytesIO(content))
    assert any("2 pages" in one for one in source.carried.notes)
    np.testing.assert_array_equal(source.pixels, np.asarray(image()))


def _next_directory(content: bytearray, pointer: int) -> int:
    """Where the directory that a pointer of a TIFF names has its own pointer."""
    (begin,) = struct.unpack_from("<I", content, pointer)
    return begin + 2 + 12 * int.from_bytes(content[begin : begin + 2], "little")


def test_exif_in_a_tiff_keeps_its_types(tmp_path: Path) -> None:
    kept(jpeg(exif=exif(orientation=1)), tmp_path / "k.tif")
    content = (tmp_path / "k.tif").read_bytes()
    at = int.from_bytes(raw_tag(content, 34665), "little")
    count = int.from_bytes(content[at : at + 2], "little")
    types = dict(struct.unpack_from("<2H", content, place) for place in range(at + 2, at + 2 + 12 * count, 12))
    assert types[0x927C] == 7


@pytest.mark.parametrize("gap", [0, 3, 70])
def test_all_that_lies_behind_a_jpeg_is_named(gap: int) -> None:
    """Also what follows a clip, whose end is stated, and what zeros are between; a clip begins with zeros itself."""
    clip = box(b"ftyp", b"mp42\0\0\0\0") + box(b"mdat", bytes(90))
    found = inventory(jpeg(behind=bytes(gap).join((b"", clip, saved("JPEG"), b"a word"))))
    assert found.keys() == {"motion clip", "further image", "6 bytes behind the end"}
    assert found == inventory(jpeg(behind=clip + saved("JPEG") + b"a word"))


@pytest.mark.parametrize(("animated", "bits", "code"), [(False, 8, 0), (True, 8, 0), (True, 10, 1), (False, 12, 2)])
@pytest.mark.parametrize("extra", [None, False, True])
def test_the_header_of_a_jpeg_xl(animated: bool, bits: int, code: int, extra: bool) -> None:
    """Bit by bit as in ISO/IEC 18181-1; each field is (bits, value), least significant bit first."""
    size = 1 | 3 << 1 | 1 << 6  # a small one: 32 pixels high, square
    assert jpegxl.header(b"\xff\x0a" + (size | 1 << 9).to_bytes(20, "little")) == (8, False), "all as usual"
    fields = [(9, size)]
    fields += [(1, 0), (1, extra or animated)]
    if extra or animated:
        fields += [(3, 0), (1, 1), (1, 1), (5, 3), (3, 1), (1, 0), (1, animated)]  # an intrinsic size, no preview
        fields += [(2, 0), (2, 0), (2, 0), (1, 0)] if animated else []
    fields += [(1, 0), (2, code)]
    stream, at = 0, 0
    for count, value in fields:
        stream, at = stream | int(value) << at, at + count
    found = jpegxl.header(b"\xff\x0a" + stream.to_bytes(20, "little"))
    assert found is not None
    assert (found.bits, found.is_animated) == (bits, animated)


@pytest.mark.slow_except("avif", "gif", "jpeg", "jxl of 10 bits", "webp")
@pytest.mark.parametrize("name", ["jpeg", "mpo", "gif", "png", "webp", "tiff", "bmp", "avif", "heic", "jxl of 10 bits"])
def test_damaged_files_never_raise_nor_take_long(name: str) -> None:
    (whole, _), rng, start = (HELD | NAMED)[name], random.Random(5), time.perf_counter()
    step = max(7, len(whole) // 700 * 7)
    cut = [whole[:end] for end in range(0, len(whole), step)]
    flipped = list[bytes]()
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            data[rng.randrange(min(len(data), 1500))] = rng.randrange(256)
        flipped.append(bytes(data))
    with warnings.catch_warnings(action="ignore"):
        for content in (*cut, *flipped):
            assert all(isinstance(name, str) for name in inventory(content))
            found = read_carried(taken_apart(content), image(), exif=Image.Exif(), orientation=1, size=SIZE, name="it")
            assert not found.parts or content
    assert time.perf_counter() - start < 20


def test_images_that_pillow_has_opened_keep_what_their_files_say(tmp_path: Path) -> None:
    """Pillow has the segments of a JPEG, but not what lies behind it."""
    Image.new("RGB", (20, 16)).save(tmp_path / "me.jpg", comment=b"hello", xmp=XMP)
    extra = Image.new("RGB", (8, 8))
    Image.new("RGB", (20, 16)).save(tmp_path / "two.mpo", save_all=True, append_images=[extra], comment=b"hello")
    with Image.open(tmp_path / "me.jpg") as image, Image.open(tmp_path / "two.mpo") as several:
        metadata = save_image(read_pixels(image), tmp_path / "k.jpg")
        other = save_image(read_pixels(several), tmp_path / "k2.jpg")
    assert {"comment", "XMP (xmp:Rating)"} <= {*metadata.carried}
    assert not metadata.left_out
    assert "further image" in other.left_out


def _raw(png: bytes, kind: str, data: bytes, chunk_kind: bytes = b"zTXt") -> bytes:
    """The PNG with a text as ImageMagick writes profiles."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(data):8}\n{lines}\n".encode()
    begin = f"Raw profile type {kind}".encode() + b"\0"
    return with_chunk(png, chunk_kind, begin + (b"\0" + zlib.compress(text) if chunk_kind == b"zTXt" else text))


@pytest.mark.parametrize("chunk_kind", [b"zTXt", b"tEXt"])
@pytest.mark.parametrize("kind", ["xmp", "APP1"])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.filterwarnings("error")
def test_packets_of_imagemagick_are_carried(tmp_path: Path, kind: str, ending: str, chunk_kind: bytes) -> None:
    stated, png = packet('dc:rights="me" tiff:ImageWidth="9"'), encoded(image(), "PNG")
    head = b"http://ns.adobe.com/xap/1.0/\0" if kind == "APP1" else b""
    content = _raw(png, kind, head + stated, chunk_kind)
    for source in (content, Image.open(io.BytesIO(content))):
        save_image(read_pixels(source), tmp_path / f"k.{ending}")
        parts = inventory((tmp_path / f"k.{ending}").read_bytes())
        assert parts["XMP dc:rights"] == inventory(content)["XMP dc:rights"]
        assert not [name for name in parts if name.startswith("text Raw")]


@pytest.mark.parametrize("kind", ["APP1", "exif"])
def test_exif_of_imagemagick_is_carried_and_turns_the_image(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "a camera", 6
    content = _raw(encoded(image(), "PNG"), kind, exif.tobytes())
    for source in (content, Image.open(io.BytesIO(content))):
        found = read_pixels(source)
        assert found.size == image().size[::-1]
        save_image(found, tmp_path / "k.png")
        kept = Image.open(tmp_path / "k.png").getexif()
        assert (kept[ExifTags.Base.Make], kept.get(ExifTags.Base.Orientation, 1)) == ("a camera", 1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_a_large_xmp_is_named_in_one_line_and_left_out(tmp_path: Path, kind: str) -> None:
    stated = packet(elements="<dc:s>" + "<a/>" * 120_000 + "</dc:s>")
    if kind == "JPEG":
        guid = hashlib.md5(stated).hexdigest().upper()
        main = with_xmp(image(), kind, packet(f'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="{guid}"'))
        head = xmp.EXTENSION + guid.encode() + len(stated).to_bytes(4, "big")
        parts = [(at, stated[at : at + 60_000]) for at in range(0, len(stated), 60_000)]
        content = (
            main[:2] + b"".join(segment(0xE1, head + at.to_bytes(4, "big") + part) for at, part in parts) + main[2:]
        )
    else:
        content = with_xmp(image(), kind, stated)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = read_pixels(content)
        save_image(found, tmp_path / "k.png")
    lines = [*found.carried.notes, *(str(one.message) for one in warned)]
    assert (len(lines), "XMP" in lines[0]) == (1, True)
    assert (tmp_path / "k.png").stat().st_size < 100_000


def test_many_parts_of_one_name_are_all_compared() -> None:
    png = encoded(image(), "PNG")
    for index in range(50):
        png = with_chunk(png, b"tEXt", f"a\0{index}".encode())
    assert len([name for name in inventory(png) if name.startswith("text a")]) == 50


def test_metadata_of_an_image_in_memory_is_carried() -> None:
    for text in ("<x/>", b"<x/>"):
        found = Carried.of({"xmp": text, "comment": "a word", "exif": b"Exif", "dpi": (72, 72)})
        assert (found.xmp, found.comment, found.exif, found.dpi) == (b"<x/>", b"a word", b"Exif", (72, 72))


def test_fill_bytes_before_a_marker_of_a_jpeg_are_passed_over() -> None:
    """ISO/IEC 10918-1, B.1.1.2 allows any number of them."""
    plain = jpeg(segment(0xFE, b"a word"))
    filled = plain.replace(b"\xff\xfe", b"\xff\xff\xff\xff\xfe", 1)
    assert [one.of(filled) for one in segments(filled)] == [one.of(plain) for one in segments(plain)]
    assert taken_apart(filled).comment == b"a word"


def test_colors_that_a_heic_names_by_numbers_are_those_of_cicp() -> None:
    """ISO/IEC 14496-12: primaries, transfer and matrix of 16 bits each, then the range; decoders return full RGB."""
    colors = box(b"colr", b"nclx" + struct.pack(">3HB", 12, 16, 6, 0))
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", box(b"ispe", bytes(12)) + colors)))
    assert taken_apart(box(b"ftyp", b"avif") + meta).cicp == bytes([12, 16, 0, 1])
    assert taken_apart(box(b"ftyp", b"avif")).cicp == b""

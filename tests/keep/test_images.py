"""Reading and writing images of every kind and bit depth; damaged ones are rejected."""

import base64
import functools
import io
import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from latentedit.core.errors import ImageError, OutputError
from latentedit.keeping.api import keep
from latentedit.photo.carried import Carried
from latentedit.photo.color import Colors
from latentedit.photo.images import (
    MAX_IMAGE_BYTES,
    MAX_PIXELS,
    READABLE,
    PixelImage,
    check_size,
    opened,
    read_image,
    read_pixels,
)
from latentedit.photo.saving import (
    MAX_PAYLOAD_BYTES,
    MAX_RECORD_BYTES,
    check_depth,
    check_output,
    read_chunks,
    save_image,
)
from latentedit.photo.warp import cv2
from tests.keep.color_files import chunk, chunks, rgb_profile, with_chunk
from tests.keep.pairs import encoded, scene

PROFILE = b"an arbitrary profile, kept as it is" * 4


def gradient(width: int = 12, height: int = 8) -> Image.Image:
    """Four quarters of different colors on a ramp, which shows rotation, cropping and channel order."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 20 * x, 30 * y, np.where((x < width / 2) ^ (y < height / 2), 200, 40)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_damaged_exif_and_foreign_texts_are_ignored(tmp_path: Path) -> None:
    gradient().save(tmp_path / "me.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    assert read_image(tmp_path / "me.jpg").size == (12, 8)
    for body in (b"latentedit", b"latentedit\0\x01\0\0\0broken", b"latentedit\0\0\0\0\0\xff"):
        texts = itxt(b"t", b"Comment"), chunk(b"leDx", b"p"), chunk(b"iTXt", body)
        (tmp_path / "me.png").write_bytes(with_chunks(*texts))
        assert read_chunks(tmp_path / "me.png") == (None, None)


@pytest.mark.parametrize("keyword", [b"Raw profile type exif", b"Raw profile type iptc", b"Title"])
def test_a_text_that_cannot_be_inflated_is_named_and_does_no_more_harm(tmp_path: Path, keyword: bytes) -> None:
    unread = "" if keyword == b"Title" else "unread "  # a title is copied without being read
    gradient().save(tmp_path / "me.png")
    content = (tmp_path / "me.png").read_bytes()
    (tmp_path / "me.png").write_bytes(with_chunk(content, b"zTXt", keyword + b"\0\0\xff\xfe\x01\x02"))
    assert list(read_pixels(tmp_path / "me.png").carried.parts) == [f"{unread}text {keyword.decode()}"]


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_images_become_rgb(tmp_path: Path, mode: str) -> None:
    image = gradient().convert(mode)
    if mode == "LA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "me.png")
    levels = np.atleast_3d(np.asarray(image.convert("L") if mode == "1" else image))
    channels = [0, 0, 0, 1] if mode == "LA" else [0, 0, 0]
    assert np.array_equal(read_image(tmp_path / "me.png"), levels[..., channels])


def test_palette_and_color_key_transparency_is_read(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "icon.png", transparency=1)
    read = np.asarray(read_image(tmp_path / "icon.png"))
    assert read[..., 3].tolist() == [[255, 0], [255, 0]]
    assert read[0, 0].tolist() == [255, 0, 0, 255]
    assert read[1, 0].tolist() == [0, 0, 255, 255]
    gradient().quantize(16).save(tmp_path / "icon.gif")
    assert read_image(tmp_path / "icon.gif").mode == "RGB"
    gradient().save(tmp_path / "me.png", transparency=tuple(int(v) for v in np.asarray(gradient())[0, 0]))
    read = np.asarray(read_image(tmp_path / "me.png"))
    assert read.shape[2] == 4
    assert read[0, 0, 3] == 0
    assert read[3, 3, 3] == 255


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_animations_are_read_as_their_first_frame(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"wave.{ending}", save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / f"wave.{ending}") as image:
        image.seek(1)
        for read in (read_image(tmp_path / f"wave.{ending}"), read_image(image)):
            assert read.convert("RGB").getpixel((4, 4)) == (255, 0, 0)


def test_color_profiles_are_kept_for_rgb_only(tmp_path: Path) -> None:
    gradient().save(tmp_path / "rgb.png", icc_profile=b"profile")
    gradient().convert("L").save(tmp_path / "gray.png", icc_profile=b"profile")
    save_image(read_image(tmp_path / "rgb.png"), tmp_path / "out.png")
    assert all(read_image(tmp_path / name).info["icc_profile"] == b"profile" for name in ("rgb.png", "out.png"))
    assert "icc_profile" not in read_image(tmp_path / "gray.png").info


def test_a_color_profile_that_is_text_is_dropped(tmp_path: Path) -> None:
    """The tag of a TIFF may have any type, and the image must remain saveable."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[34675] = TiffTags.ASCII
    tags[34675] = "profile"
    gradient().save(tmp_path / "me.tif", tiffinfo=tags)
    with Image.open(tmp_path / "me.tif") as image:
        assert image.info["icc_profile"] == "profile"
    save_image(read_image(tmp_path / "me.tif"), tmp_path / "out.png")


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
JPEG = encoded(NOISE, "JPEG")
FRAME = JPEG.index(b"\xff\xc0")  # the header of its pixels, whose fifth byte is the depth

# Contents that are refused, and a part of the error. Pillow would decode the last four; its decoders are tested less.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"dear diary", "is not an image"),
    "half of a JPEG": (half(JPEG), "cut short"),
    "half of a PNG": (half(encoded(NOISE, "PNG")), "cut short"),
    "half of a PNG of 16 bits": (half(cv2.imencode(".png", NOISE.astype(np.uint16) * 257)[1].tobytes()), ""),
    "half of a TIFF": (half(encoded(NOISE, "TIFF")), ""),
    "a PNG of 120 megapixels": (png_header(12000, 10000), "more than 100 megapixels"),
    "a header for 95 megapixels": (png_header(10000, 9500), "cut short"),
    "a JPEG of 12 bits": (JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :], "JPEG of 12 bits"),
    "raw by Olympus": (b"IIRO" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Olympus, another": (b"IIRS" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Olympus, big-endian": (b"MMOR" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Panasonic": (b"IIU\0" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Fujifilm": (b"FUJIFILMCCD-RAW 0201" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Canon": (b"II*\0\x10\0\0\0CR\2\0" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Canon, CR3": (b"\0\0\0\x18ftypcrx " + bytes(5000), "raw photograph. Develop it first"),
    "raw by Sigma": (b"FOVb" + bytes(5000), "raw photograph. Develop it first"),
    "raw by Minolta": (b"\0MRM" + bytes(5000), "raw photograph. Develop it first"),
    "DDS": (encoded(NOISE, "DDS"), ""),
    "PCX": (encoded(NOISE, "PCX"), ""),
    "SGI": (encoded(NOISE, "SGI"), ""),
    "TGA": (encoded(NOISE, "TGA"), ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    content, words = REFUSED[case]
    (tmp_path / "bad.png").write_bytes(content)
    for source in (tmp_path / "bad.png", content):
        with pytest.raises(ImageError) as caught:
            read_pixels(source, "bad.png")
        text = str(caught.value)
        assert "\n" not in text
        assert "bad.png" in text
        assert words in text


def test_a_missing_file_and_a_folder_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypisom", b"PK\3\4", b"", b"RIFF\0\0\0\0AVI LIST"])
def test_only_the_start_of_a_file_of_another_format_is_read(tmp_path: Path, start: bytes) -> None:
    with (tmp_path / "film.png").open("wb") as file:
        file.write(start)
        file.truncate(MAX_IMAGE_BYTES)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(ImageError):
        read_image(tmp_path / "film.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_file_contents_are_images_and_file_descriptors_are_not(tmp_path: Path) -> None:
    gradient().save(tmp_path / "me.png")
    content = (tmp_path / "me.png").read_bytes()
    for given in (content, bytearray(content), memoryview(content)):
        found = read_pixels(given)
        assert (found.path, found.fingerprint) == (None, read_pixels(tmp_path / "me.png").fingerprint)
    with pytest.raises(ImageError):
        read_pixels(content[:60], "the mask")
    with (tmp_path / "me.png").open("rb") as file:
        for wrong in (file.fileno(), np.int64(file.fileno()), True):
            for read in (read_image, read_pixels, read_chunks):
                with pytest.raises(ImageError):
                    read(wrong)
        assert file.read() == content


def test_arrays_are_images_of_bytes_or_of_floats_from_0_to_1() -> None:
    gray = np.array([[0, 128], [255, 7]], dtype=np.uint8)
    for array in (gray, gray / 255, gray[..., None], np.float16(gray / 255), np.dstack([gray] * 3)[None]):
        assert np.array_equal(read_pixels(array).pixels[..., 0], gray)
    assert read_pixels(gray > 99).pixels.max() == 255
    for wrong in (gray / 127.5 - 1, gray.astype(int), gray / np.nan, gray[None, None], np.zeros((4, 4, 2)), gray[:0]):
        with pytest.raises(ImageError, match="the mask"):
            read_pixels(wrong, "the mask")


@pytest.mark.parametrize("address", ["https://example.org/me.png", Path("http://example.org/me.png")])
def test_addresses_are_not_downloaded(address: str | Path) -> None:
    with pytest.raises(ImageError, match=r"https?://example\.org/me\.png is a URL"):
        read_pixels(address)


def test_sizes_beyond_the_limits_are_rejected() -> None:
    for size in ((1, 1), (2, MAX_PIXELS // 2), (10_000, MAX_PIXELS // 10_000)):
        check_size(size, "me")
    with pytest.raises(ImageError):
        check_size((2, MAX_PIXELS // 2 + 1), "me")


# Red with a blue left half, 64 x 48, written by an encoder that is not a dependency.
HEIC = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004fZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l0R"
    "RC200001p#T8@00000002e+001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002}X>f9I0002pX>en20001XXm("
    ">m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDnbDP18@KU0|1Z!00RI30{|YNAb|yz>g1-mxCm%"
    "4AOHXZ10VnZ0{|gn00967L;=Bbz=;3=025<xY;ta6Y<K_x01W^JfB*mh6lrsCWdHyG00000KmY&$KmY&$C}V74Z~y=RKmY&$0RR91FaQ7m0RR91"
    "000000{{R2@Bjb+0ssI25O8UDX#fBK00RgJ2mk;87-?{AVE_OC000000RRC7fdT^sga7~lPHkjibN~PVLMQ>R6M*$6fj|G;<rV*e=CAvW{}Qc|@"
    "BiOj;{ISG&8=F%QGjvlj=?fN+&i6cPr^Hmhj0Rq(to^Kyxf#?Fqn7"
)


def test_heic_photographs_are_read(tmp_path: Path) -> None:
    (tmp_path / "me.HEIC").write_bytes(HEIC)
    pixels = read_pixels(tmp_path / "me.HEIC").pixels.astype(int)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels[:, :28] - (30, 90, 200)).max() < 12
    assert np.abs(pixels[:, 36:] - (200, 40, 60)).max() < 12


@pytest.mark.parametrize(("primaries", "is_named"), [(1, False), (2, False), (9, True), (12, True)])
def test_primaries_of_a_heic_are_a_color_profile_unless_srgb_has_them_or_they_are_unspecified(
    primaries: int, is_named: bool
) -> None:
    at = HEIC.index(b"colrnclx") + 8
    found = read_pixels(HEIC[:at] + primaries.to_bytes(2, "big") + HEIC[at + 2 :])
    assert ("color profile" in found.carried.parts) == is_named


@pytest.mark.parametrize("kind", READABLE)
def test_every_format_is_recognized_by_its_content(tmp_path: Path, kind: str) -> None:
    if kind == "HEIF":
        (tmp_path / "me.txt").write_bytes(HEIC)
    else:
        gradient().save(tmp_path / "me.txt", format=kind)
    with opened(tmp_path / "me.txt") as image:
        assert (image.size, image.format) == ((64, 48) if kind == "HEIF" else (12, 8), kind)
    with pytest.raises(ImageError), opened(tmp_path / "me.txt"):
        raise ValueError("odd")
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "me.txt"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("bmp", "RGB"), *((ending, mode) for ending in ("png", "webp", "tiff") for mode in ("RGB", "RGBA"))],
)
def test_lossless_formats_preserve_every_pixel(tmp_path: Path, mode: str, ending: str) -> None:
    image = gradient().convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    save_image(image, tmp_path / f"out.{ending}")
    assert np.array_equal(read_image(tmp_path / f"out.{ending}").convert(mode), image)
    assert [path.name for path in tmp_path.iterdir()] == [f"out.{ending}"]


def test_unusable_output_paths_are_rejected(tmp_path: Path) -> None:
    check_output(tmp_path / "out.jpg")
    gradient().save(tmp_path / "me.png")
    for name, more in (
        ("out.xyz", {}),
        ("out", {}),
        ("out.gif", {}),
        ("out.jpg", {"transparent": True}),
        ("me.png", {"source": tmp_path / "." / "me.png"}),
    ):
        with pytest.raises(OutputError):
            check_output(tmp_path / name, **more)


def itxt(text: bytes, keyword: bytes = b"latentedit") -> bytes:
    return chunk(b"iTXt", keyword + b"\0\x01\0\0\0" + zlib.compress(text))


def with_chunks(*more: bytes) -> bytes:
    """A small PNG with chunks between its header, which ends at byte 33, and its pixels."""
    plain = png_header(3, 2)
    return plain[:33] + b"".join(more) + plain[33:]


def test_chunks_are_written_as_specified(tmp_path: Path) -> None:
    save_image(gradient(), tmp_path / "out.png", record='{"a": "é"}', payload=b"\0\xff")
    found = chunks((tmp_path / "out.png").read_bytes())
    assert list(found) == [b"IHDR", b"iTXt", b"leDt", b"IDAT", b"IEND"]
    assert read_chunks(tmp_path / "out.png") == ('{"a": "é"}', b"\0\xff")
    head, text = found[b"iTXt"][:15], found[b"iTXt"][15:]
    assert head == b"latentedit\0\x01\0\0\0"  # compressed by method 0; no language, no translation
    assert zlib.decompress(text) == '{"a": "é"}'.encode()
    assert found[b"leDt"] == b"\0\xff"


def test_a_record_changes_no_pixel_and_is_not_copied(tmp_path: Path) -> None:
    for name, record, payload in (("a", "one", b""), ("b", "one", b""), ("c", None, b"x")):
        save_image(gradient(), tmp_path / f"{name}.png", record=record, payload=payload)
        assert read_chunks(tmp_path / f"{name}.png") == (record, payload)
        assert np.array_equal(read_image(tmp_path / f"{name}.png"), gradient())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    save_image(read_image(tmp_path / "a.png"), tmp_path / "again.png")
    assert list(chunks((tmp_path / "again.png").read_bytes())) == [b"IHDR", b"IDAT", b"IEND"]


def test_records_and_payloads_of_the_greatest_length_are_stored_and_longer_ones_rejected(tmp_path: Path) -> None:
    longest, payload, place = "é" * (MAX_RECORD_BYTES // 2), bytes(MAX_PAYLOAD_BYTES), tmp_path / "out.png"
    save_image(gradient(), place, record=longest, payload=payload)
    for options in ({"record": longest + "x"}, {"payload": payload + b"x"}):
        with pytest.raises(OutputError):
            save_image(gradient(), place, **options)
    assert read_chunks(place) == (longest, payload)
    place.write_bytes(with_chunks(chunk(b"leDt", payload + b"x")))
    with pytest.raises(ImageError):
        read_chunks(place)


@pytest.mark.parametrize("ending", ["jpg", "webp", "tiff", "bmp"])
def test_other_formats_store_no_record(tmp_path: Path, ending: str) -> None:
    save_image(gradient(), tmp_path / f"a.{ending}")
    save_image(gradient(), tmp_path / f"b.{ending}", record="x" * (MAX_RECORD_BYTES + 1), payload=b"x")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert read_chunks(tmp_path / f"b.{ending}") == (None, None)


def test_damaged_texts_are_ignored_with_a_warning(tmp_path: Path) -> None:
    """Some programs change a text without its checksum; all other chunks are read."""
    save_image(gradient(), tmp_path / "me.png", record="good", payload=b"payload")
    data = (tmp_path / "me.png").read_bytes()
    other = chunk(b"tEXt", b"workflow\0{}").replace(b"{}", b"[]")
    changed = data.replace(b"latentedit\0", b"latentedit\1")
    assert changed != data
    for content, record in ((data[:33] + other + data[33:], "good"), (changed[:33] + other + changed[33:], None)):
        (tmp_path / "me.png").write_bytes(content)
        with pytest.warns(UserWarning, match=r"me\.png"):
            assert read_chunks(tmp_path / "me.png") == (record, b"payload")
        with pytest.warns(UserWarning, match=r"me\.png"):
            assert np.array_equal(read_image("me.png", content=content), gradient())


def ztxt(size: int, keyword: bytes = b"workflow") -> bytes:
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(bytes(size)))


LONG = {  # chunks, and the part of the inventory that they are
    "zTXt": (ztxt(1_500_000), "text workflow"),
    "iTXt": (itxt(b"x" * 3_000_000, b"workflow"), "text workflow"),
    "comment": (itxt(b"x" * 3_000_000, b"Comment"), "comment"),
    "70 MB compressed": (b"".join(ztxt(900_000, b"%d" % number) for number in range(80)), "text 79"),
    "70 MB": (chunk(b"tEXt", b"workflow\0" + bytes(70_000_000)), "text workflow"),
    "profile": (chunk(b"iCCP", b"p3\0\0" + zlib.compress(rgb_profile("p3") + bytes(9_000_000))), "color profile"),
    "wrong checksum": (ztxt(3_000_000, b"a")[:-1] + b"?" + ztxt(3_000_000, b"workflow"), "text workflow"),
}


@pytest.mark.slow_except("iTXt-16", "wrong checksum-8", "zTXt-8")
@pytest.mark.filterwarnings("ignore:text in")
@pytest.mark.parametrize(("name", "depth"), zip(LONG, itertools.cycle((8, 16))))
def test_long_texts_and_profiles_are_read_past_and_carried(name: str, depth: int, tmp_path: Path) -> None:
    (more, part), (deep, shallow) = LONG[name], (np.full((9, 8, 3), level, np.uint16) for level in (1000, 30000))
    pixels = np.hstack([deep, shallow]) if depth == 16 else np.asarray(gradient())
    plain = encoded(pixels, "PNG") if depth == 8 else cv2.imencode(".png", pixels)[1].tobytes()
    places = {33} if name in ("profile", "70 MB") else {33, len(plain) - 12}  # behind the header, before the end
    for at in places:
        found = read_pixels(plain[:at] + more + plain[at:])
        assert np.array_equal(found.pixels, pixels)
        assert (found.space is not None) == (name == "profile")
        metadata = save_image(found, tmp_path / "k.png", record="ours")
        assert (part in metadata.carried, metadata.left_out) == (True, {})
        assert read_chunks(tmp_path / "k.png")[0] == "ours"
        again = read_pixels(tmp_path / "k.png").carried
        assert (again.chunks, again.comment, again.colors.icc_profile) == (
            found.carried.chunks, found.carried.comment, found.carried.colors.icc_profile
        )  # fmt: skip


@functools.cache
def packed_bomb() -> bytes:
    return zlib.compress(bytes(200_000_000))


@pytest.mark.slow
@pytest.mark.parametrize(
    "keyword", ["workflow", "XML:com.adobe.xmp", "Raw profile type exif", "latentedit", "AIGC", ""]
)
def test_bombs_stay_unread(keyword: str, tmp_path: Path) -> None:
    packed = packed_bomb()
    bomb = chunk(b"zTXt", keyword.encode() + b"\0\0" + packed) if keyword else chunk(b"iCCP", b"p\0\0" + packed)
    plain = encoded(gradient(), "PNG")
    (tmp_path / "me.png").write_bytes(plain[:33] + bomb * (10 if keyword else 1) + plain[33:])
    tracemalloc.start()
    found = read_pixels(tmp_path / "me.png")
    assert read_chunks(tmp_path / "me.png") == (None, None)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000_000
    name = f"text {keyword}" if keyword else "color profile"
    assert [one.removeprefix("unread ") for one in found.carried.parts] == [name]
    assert bool(found.carried.notes) == (not keyword)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"eXIf"])
def test_other_damaged_chunks_are_rejected(tmp_path: Path, kind: bytes) -> None:
    gradient().quantize(16).save(tmp_path / "me.png", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    data = bytearray((tmp_path / "me.png").read_bytes())
    data[data.index(kind) + 4 + int.from_bytes(data[data.index(kind) - 4 : data.index(kind)], "big")] ^= 1
    (tmp_path / "me.png").write_bytes(data)
    with pytest.raises(ImageError):
        read_image(tmp_path / "me.png")


@pytest.mark.parametrize(
    ("dtype", "brightest", "white"),
    [("uint16", 40_000, 65_535), ("int32", 40_000, 65_535), ("float32", 0.5, 1.0)],
)
def test_deep_images_are_scaled(dtype: str, brightest: float, white: float) -> None:
    values = np.linspace(0, brightest, 70).reshape(10, 7).astype(dtype)
    read = np.asarray(read_image("me.tiff", content=encoded(values, "TIFF")))
    assert np.abs(read - values.astype(np.float64)[..., None] * 255 / white).max() < 0.5001
    with pytest.raises(ImageError):
        read_image(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)))


@pytest.mark.nightly
def test_reading_16_bit_gray_takes_less_than_13_bytes_per_pixel() -> None:
    """Found by fuzzing (L1): it took 20."""
    content = encoded(np.zeros((2000, 4000), np.uint16), "TIFF", compression="tiff_deflate")
    tracemalloc.start()
    read_image("me.tiff", content=content)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 13 * 2000 * 4000


def test_messages_of_decoders_are_suppressed(capfd: pytest.CaptureFixture[str]) -> None:
    """Found by fuzzing (L5): libtiff writes to stderr, without escaping."""
    noise = np.random.default_rng(3).integers(0, 255, (64, 64)).astype(np.uint8)
    data = bytearray(encoded(noise, "TIFF", compression="tiff_deflate"))
    data[40:200] = bytes(160)
    with pytest.raises(ImageError):
        read_image("me.tiff", content=bytes(data))
    assert capfd.readouterr().err == ""


def deep(side: int = 24) -> np.ndarray:
    """16 bits, the lower eight of which differ from the upper."""
    return scene(side).astype(np.uint16) * 257 + np.arange(side * side * 3, dtype=np.uint16).reshape(side, side, 3) % 97


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_profile_exif_and_record_are_read_back(channels: int, tmp_path: Path) -> None:
    pixels = deep() if channels == 3 else np.concatenate([deep(), deep()[..., :1]], axis=2)
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    stored = PixelImage(pixels=pixels, carried=Carried(colors=Colors(icc_profile=PROFILE), exif=exif.tobytes()))
    save_image(stored, tmp_path / "deep.png", record='{"a": 1}')
    again = read_pixels(tmp_path / "deep.png")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.pixels.dtype == np.uint16
    assert again.carried.colors.icc_profile == PROFILE
    assert again.carried.exif == stored.carried.exif
    assert read_chunks(tmp_path / "deep.png")[0] == '{"a": 1}'
    with Image.open(tmp_path / "deep.png") as image:  # another reader accepts it
        image.load()
        assert image.getexif()[ExifTags.Base.Artist] == "somebody"


UPRIGHT: dict[int, Callable[[Any], Any]] = {  # EXIF orientations, and what turns such an image upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_undone(orientation: int, tmp_path: Path) -> None:
    """At both bit depths; the deep TIFF is gray."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    gradient().save(tmp_path / "8.png", exif=exif)
    pixels = np.asarray(gradient())
    wide = pixels.astype(np.uint16) * 257
    save_image(PixelImage(pixels=wide, carried=Carried(exif=exif.tobytes())), tmp_path / "16.png")
    Image.fromarray(wide[..., 0]).save(tmp_path / "16.tif", tiffinfo={ExifTags.Base.Orientation: orientation})
    upright = UPRIGHT[orientation](pixels)
    assert np.array_equal(read_image(tmp_path / "8.png"), upright)
    for name, right in (("8.png", upright), ("16.png", upright), ("16.tif", upright[..., :1].repeat(3, axis=2))):
        found = read_pixels(tmp_path / name)
        np.testing.assert_array_equal(found.pixels // (257 if found.pixels.dtype == np.uint16 else 1), right)
        assert not found.carried.exif  # it had no other tags


@pytest.mark.parametrize(("jpeg", "size"), [(None, (12, 8)), (b"", (12, 8)), (b"as it was", (8, 12))])
def test_a_jpeg_xl_is_turned_by_its_decoder_unless_that_decodes_the_jpeg_in_it(
    jpeg: bytes | None, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image: Any = Image.open(io.BytesIO(encoded(gradient(), "JPEG", exif=exif)))
    image.format, image.jpeg = "JXL", jpeg
    assert read_pixels(image).size == size


def test_data_that_a_format_cannot_store_is_rejected(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    gradient().save(tmp_path / "long.png", exif=exif)
    check_depth(read_pixels(tmp_path / "long.png"), tmp_path / "kept.png")
    with pytest.raises(OutputError):
        check_depth(read_pixels(tmp_path / "long.png"), tmp_path / "kept.jpg")
    with pytest.raises(OutputError):
        save_image(PixelImage(pixels=deep()), tmp_path / "deep.jpg")


def test_a_result_of_keep_is_read_at_its_full_depth() -> None:
    """Its image has 8 bits."""
    deep = PixelImage(pixels=np.arange(32 * 32 * 3, dtype=np.uint16).reshape(32, 32, 3) * 21)
    assert np.array_equal(read_pixels(keep(deep, deep)).pixels, deep.pixels)
    assert read_image(keep(deep, deep)).mode == "RGB"

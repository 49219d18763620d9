"""Gain maps of HDR photographs: found, neutral where the image changed, the same elsewhere, announced rightly."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from latentedit.photo import gainmap, xmp
from latentedit.photo.containers import segment, segments, taken_apart
from latentedit.photo.warp import turned
from tests.keep.color_files import packet
from tests.keep.pairs import encoded, some

SIZE = (320, 240)
HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
LOW, HIGH, GAMMA = -1.0, 3.0, 2.0  # so that the neutral value is 255 * (1 / 4) ** 2
NEUTRAL = 255 / 16


def read(content: bytes) -> gainmap.GainMap | None:
    return gainmap.read(taken_apart(content))


def jpeg(pixels: NDArray[np.uint8], *heads: bytes, **options: Any) -> bytes:
    content = encoded(pixels, "JPEG", **{"quality": 90, **options})
    return content[:2] + b"".join(heads) + content[2:]


def hdrgm(**stated: object) -> bytes:
    packet = b""
    for name, value in stated.items():
        packet = xmp.with_property(packet or None, HDRGM, "hdrgm", name, str(value))
    return segment(0xE1, XMP + packet)


def iso(channels: int = 1, *, shared: bool = False) -> bytes:
    flags = (0x80 if channels == 3 else 0) | (0x08 if shared else 0)
    if shared:
        data = struct.pack(">3I", 4, 0, 12) + channels * struct.pack(">2iI2i", -4, 12, 8, 0, 0)
    else:
        data = struct.pack(">4I", 0, 1, 3, 1) + channels * struct.pack(">iIiI2IiIiI", -2, 2, 3, 1, 4, 2, 0, 1, 0, 1)
    return segment(0xE2, ISO + struct.pack(">2HB", 0, 0, flags) + data)


def drawn(channels: int = 1, size: tuple[int, int] = (SIZE[0] // 4, SIZE[1] // 4)) -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    noise = np.random.default_rng(5).normal(0, 6, (size[1], size[0], channels))
    waves = [120 + 60 * np.sin(x / (5 + one)) + 40 * np.cos(y / (7 - one)) for one in range(channels)]
    pixels = np.clip(np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


XMP_HEAD = hdrgm(Version="1.0", GainMapMin=LOW, GainMapMax=HIGH, Gamma=GAMMA)
PRIMARY = jpeg(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8), exif=Image.Exif().tobytes(), icc_profile=b"profile")
PLAIN = jpeg(drawn())


def change() -> NDArray[np.float32]:
    weight = np.zeros((SIZE[1], SIZE[0]), np.float32)
    weight[60:200, 80:240] = 1
    return weight


def stored(content: bytes) -> NDArray[np.int_]:
    return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(content))).astype(int)


@pytest.mark.parametrize(
    "head",
    [XMP_HEAD, iso(), iso(shared=True), iso(3), XMP_HEAD + iso()],
    ids=["hdrgm", "iso", "one denominator", "channels", "both"],
)
def test_a_map_behind_the_image_is_found(head: bytes):
    found = some(read(PRIMARY + (map_ := jpeg(drawn(), head)) + b"something else"))
    assert found.content == map_
    assert [one.neutral for one in found.ranges] == pytest.approx([NEUTRAL] * len(found.ranges))
    assert (found.by_xmp, found.by_iso) == (XMP_HEAD in head, ISO in head)


def listed(length: int, padding: int) -> bytes:
    """An XMP segment that announces a film of some length and then a map."""
    space = "http://ns.google.com/photos/1.0/container/"
    items = "".join(f'<c:Item i:Length="{one}" i:Padding="{padding}"/>' for one in (0, length, 1))
    return segment(0xE1, XMP + packet(f'xmlns:c="{space}" xmlns:i="{space}item/"', items))


def test_a_map_that_does_not_follow_is_found_by_the_lists():
    map_, film = jpeg(drawn(), XMP_HEAD), b"a film" * 9
    padded = PRIMARY[:2] + listed(len(film), 3) + PRIMARY[2:] + b"\0\0\0" + film + b"\0\0\0" + map_
    found = some(read(padded))
    assert found.content == map_
    joined = found.joined(PRIMARY)
    at = joined.index(map_)
    moved = bytearray(joined[:at] + film + map_)
    entry = joined.index(struct.pack(">I", len(map_)), joined.index(b"MPF\0")) + 4
    moved[entry : entry + 4] = struct.pack(">I", int.from_bytes(moved[entry : entry + 4], "big") + len(film))
    found = some(read(bytes(moved)))
    assert found.content == map_


def test_other_images_in_a_file_are_no_maps():
    stereo = encoded(drawn(3), "MPO", save_all=True, append_images=[Image.fromarray(drawn(3))])
    primary = PRIMARY[:2] + XMP_HEAD + PRIMARY[2:]
    only_version = jpeg(drawn(), hdrgm(Version="1.0"), segment(0xE2, ISO + b"\0\0\0\0"))
    for content in (stereo, primary, primary + PLAIN, primary + only_version, PRIMARY + b"\xff\xd8\xff"):
        assert read(content) is None


@pytest.mark.parametrize("head", [XMP_HEAD, iso()], ids=["hdrgm", "iso"])
def test_damaged_files_have_no_map_or_a_whole_one(head: bytes):
    content = gainmap.GainMap(content=jpeg(drawn(), head), ranges=(), by_xmp=True, by_iso=True).joined(PRIMARY)
    rng = np.random.default_rng(7)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 20):
            damaged[place] = rng.integers(256)
        found = read(bytes(damaged[: rng.integers(len(content) // 2, len(content) + 1)]))
        if found is not None:
            found.around(change())
    assert read(b"") is None
    assert read(content[:-1]) is None


@pytest.mark.parametrize(
    ("channels", "options"),
    [(1, {}), (1, {"quality": 40}), (3, {"subsampling": 0}), (3, {"subsampling": 2}), (3, {"keep_rgb": True})],
)
def test_no_boost_in_the_change_and_the_same_elsewhere(channels: int, options: dict[str, Any]):
    head = XMP_HEAD + segment(0xFE, b"a comment") + segment(0xE2, b"ICC_PROFILE\0\1\1any")
    index = segment(0xE2, b"MPF\0of the map itself")
    map_ = some(read(PRIMARY + jpeg(drawn(channels), head + index, **options)))
    new = some(map_.around(change()))
    before, after = stored(map_.content), stored(new.content)
    assert before.shape == after.shape
    outside = np.ones(before.shape[:2], bool)
    outside[16:48, 21:58] = False  # the effect of a pixel of the map reaches into its neighbors
    # A level of luma and one of a color difference are up to three of a color.
    difference = np.abs(after - before)[outside]
    assert difference.max() <= (1 if channels == 1 or "keep_rgb" in options else 3)
    assert difference.mean() < 0.4
    assert np.abs(after[18:47, 23:57] - NEUTRAL).max() <= 3
    kept = [one for one in segments(new.content) if one.kind[0] in (0xE1, 0xE2, 0xFE)]
    assert b"".join(new.content[one.start : one.end] for one in kept) == head


def test_a_soft_change_blends_and_a_map_without_a_rest_goes():
    map_ = some(read(PRIMARY + jpeg(drawn(), XMP_HEAD)))
    half = some(map_.around(np.full((SIZE[1], SIZE[0]), 0.5, np.float32)))
    assert np.abs(stored(half.content) - (stored(map_.content) + NEUTRAL) / 2).mean() < 2.5  # the map's own coding
    assert map_.around(np.zeros((SIZE[1], SIZE[0]), np.float32)) is map_
    assert map_.around(np.ones((SIZE[1], SIZE[0]), np.float32)) is None


def test_channels_have_values_of_their_own():
    low = "<rdf:Seq><rdf:li>-1</rdf:li><rdf:li>0</rdf:li><rdf:li>-2</rdf:li></rdf:Seq>"
    stated = packet(f'xmlns:h="{HDRGM}" h:GainMapMax="2"', f"<h:GainMapMin>{low}</h:GainMapMin>")
    map_ = some(read(PRIMARY + jpeg(drawn(3), segment(0xE1, XMP + stated), subsampling=0)))
    new = some(map_.around(change()))
    assert stored(new.content)[32, 40] == pytest.approx([255 / 3, 0, 255 / 2], abs=3)


@pytest.mark.parametrize("turn", [(3, False), (1, True), (2, False), (0, True)])
def test_a_map_turns_with_the_image(turn: tuple[int, bool]):
    map_ = some(read(PRIMARY + jpeg(drawn(3), XMP_HEAD, segment(0xE1, b"Exif\0\0any"), quality=75)))
    new = some(map_.around(turned(np.zeros((SIZE[1], SIZE[0]), np.float32), *turn), turn))
    difference = np.abs(stored(new.content) - turned(stored(map_.content), *turn))
    assert difference.max() <= 3  # half the width in colors is one more rounding
    assert difference.mean() < 0.5
    assert b"Exif" not in new.content


def test_a_turned_map_is_as_coarse_as_it_was():
    table = [4 + index % 8 + 3 * (index // 8) for index in range(64)]
    map_ = some(read(PRIMARY + jpeg(drawn(size=(80, 64)), XMP_HEAD, qtables=[table], quality=-1)))
    new = some(map_.around(np.zeros((320, 256), np.float32), (1, False)))
    image: Any = Image.open(io.BytesIO(new.content))
    assert np.array_equal(np.reshape(image.quantization[0], (8, 8)), np.reshape(table, (8, 8)).T)
    assert np.abs(stored(new.content) - turned(stored(map_.content), 1, mirrored=False)).max() <= 1


@pytest.mark.parametrize("head", [XMP_HEAD, iso(), XMP_HEAD + iso()], ids=["hdrgm", "iso", "both"])
def test_the_joined_file_is_announced_rightly(head: bytes):
    map_ = some(read(PRIMARY + jpeg(drawn(), head)))
    old = hdrgm(Version="0.9", Any="1") + segment(0xE2, b"MPF\0old") + segment(0xE2, ISO + b"\0\0\0\0")
    joined = map_.joined(PRIMARY[:2] + old + PRIMARY[2:] + b"behind the end")
    assert read(joined) == map_
    image: Any = Image.open(io.BytesIO(joined))
    index = image._getmp()  # Pillow reads it, and counts from the segment as written
    sizes = [entry["Size"] for entry in index[0xB002]]
    assert sizes == [len(joined) - len(map_.content), len(map_.content)]
    base = joined.index(b"MPF\0") + 4
    assert joined[base + index[0xB002][1]["DataOffset"] :] == map_.content
    assert joined.count(b"MPF\0") == 1
    stated = xmp.properties(image.info["xmp"])
    assert stated["hdrgm:Version"] == ("1.0" if XMP_HEAD in head else "0.9")
    assert stated["hdrgm:Any"] == "1"
    assert (f"Item:Length: {len(map_.content)}" in stated.get("Container:Directory", "")) == (XMP_HEAD in head)
    assert joined[: sizes[0]].count(ISO) == (ISO in head)
    assert image.info["icc_profile"] == b"profile"
    kinds = [one.kind[0] for one in segments(joined)]
    assert kinds[:4] == [0xD8, 0xE0, 0xE1, 0xE1]
    assert np.array_equal(np.asarray(image), stored(PRIMARY))


def test_a_long_packet_still_announces_the_map():
    packet = b""
    for index in range(30):
        packet = xmp.with_property(packet or None, "urn:any", "any", f"n{index}", "x" * 3000)
    main, rest = xmp.split(packet, 65_000)
    heads = [segment(0xE1, XMP + main), *(segment(0xE1, one) for one in rest)]
    map_ = some(read(PRIMARY + jpeg(drawn(), XMP_HEAD)))
    joined = map_.joined(PRIMARY[:2] + b"".join(heads) + PRIMARY[2:])
    data = [one.of(joined) for one in segments(joined) if one.kind[0] == 0xE1]
    found = next(one.removeprefix(XMP) for one in data if one.startswith(XMP))
    assert "Container:Directory" in xmp.properties(found)
    whole = xmp.properties(xmp.merged(found, [one for one in data if one.startswith(xmp.EXTENSION)]))
    assert xmp.properties(packet).items() <= whole.items()


def test_a_map_of_apple_is_found_and_has_no_boost_at_zero():
    aux = "urn:com:apple:photo:2020:aux:hdrgainmap"
    stated = xmp.with_property(None, "http://ns.apple.com/pixeldatainfo/1.0/", "apdi", "AuxiliaryImageType", aux)
    map_ = some(read(PRIMARY + jpeg(drawn(), segment(0xE1, XMP + stated))))
    new = some(map_.around(change()))
    assert stored(new.content)[18:47, 23:57].max() <= 2
    assert "hdrgm:Version" not in xmp.properties(Image.open(io.BytesIO(new.joined(PRIMARY))).info.get("xmp", b""))

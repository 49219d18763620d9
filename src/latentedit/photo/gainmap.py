"""HDR gain maps of JPEGs (Ultra HDR of Android and Adobe, ISO 21496-1, Apple): found, made neutral, put back."""

import dataclasses
import io
import itertools
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from latentedit.photo import xmp
from latentedit.photo.containers import ISO, MPF, File, Marker, Piece, segment, segments, xmp_of
from latentedit.photo.warp import Array, cv2, turned

_ISO_VERSION = ISO + b"\0\0\0\0"  # the first image's statement of ISO's version
_EXIF = b"Exif\0"
# Flags of ISO's metadata.
_MANY_CHANNELS = 0x80
_ONE_DENOMINATOR = 0x08
_MOST_PACKET = 65_533 - len(xmp.HEAD)
_MOST_PIXELS = 100_000_000
_HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_APPLE = "urn:com:apple:photo:2020:aux:hdrgainmap"
_DIRECTORY = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:hdrgm="{_HDRGM}" xmlns:Container="{_CONTAINER}" xmlns:Item="{_CONTAINER}item/"
 hdrgm:Version="1.0"><Container:Directory><rdf:Seq>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{{}}"/>
</rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""


class _Range(NamedTuple):
    """The boost in stops that the lowest and the highest value of a channel mean, and the exponent of its values."""

    low: float
    high: float
    gamma: float

    @property
    def neutral(self) -> float:
        """The value in [0, 255] of no boost, or the closest to it."""
        share = -self.low / (self.high - self.low) if self.high > self.low else 0.0
        return 255 * min(1.0, max(0.0, share)) ** self.gamma


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GainMap:
    """A gain map: its JPEG, its ranges for one channel or three, and the ways in which the file announces it."""

    content: bytes
    ranges: tuple[_Range, ...]
    by_xmp: bool  # whether the file's XMP has hdrgm
    by_iso: bool

    def around(self, weight: Array, turn: tuple[int, bool] = (0, False)) -> "GainMap | None":
        """The map without a boost where an image has changed.

        Args:
            weight: The opacity of the change in [0, 1], of the upright image. The map stays as it is for all pixels
                where it is 0, within one level, and is neutral where it is 1 except close to such pixels.
            turn: Quarter turns and mirroring of `base.warp.turned` that made the image upright.

        Returns:
            The new map; itself if nothing changed; None if nothing of it is left, or it cannot be decoded.
        """
        decoded = _decoded(self.content)
        if decoded is None:
            return None
        pixels = turned(decoded.pixels, *turn)
        change = _on_map(weight, (pixels.shape[1], pixels.shape[0]))[..., None]
        if turn == (0, False) and not change.any():
            return self
        neutral = self._neutral(decoded)
        wanted = np.where(change > 0, np.rint(pixels + change * (neutral - pixels)), pixels).astype(np.uint8)
        if np.all(np.abs(wanted - neutral) <= 1):
            return None
        decoded = decoded.turned(wanted, sideways=turn[0] % 2 == 1)
        return dataclasses.replace(self, content=_encoded(decoded, change[..., 0] == 0, self.content, turn))

    def _neutral(self, decoded: "_Decoded") -> NDArray[np.float32]:
        channels = np.array([one.neutral for one in self.ranges], dtype=np.float32)
        if decoded.mode == "L":
            return channels[:1]
        red, green, blue = np.broadcast_to(channels, 3)
        if decoded.mode == "RGB":
            return np.array([red, green, blue])
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        return np.array([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402], dtype=np.float32)

    def joined(self, primary: bytes) -> bytes:
        """The JPEG with the map behind it, announced as it was in the file that it comes from.

        The JPEG's own XMP stays, with the new entries; it has to be free of those that no longer hold
        (`base.xmp.without_claims`). What lies behind the JPEG's end is cut off.
        """
        pieces = tuple(segments(primary))
        main, extended = xmp_of(primary, pieces)
        packet = next(iter(main), b"")
        if self.by_xmp:
            packet = xmp.without_property(xmp.merged(packet, extended), _CONTAINER, "Directory")
            packet = xmp.with_property(packet or None, _HDRGM, "hdrgm", "Version", "1.0")
            packet = xmp.united(packet, _DIRECTORY.format(len(self.content)).encode())
            packet, extended = xmp.split(packet, _MOST_PACKET)
        begin = b"\xff\xd8" + b"".join(primary[one.start : one.end] for one in pieces if _is_first(one, primary))
        begin += segment(Marker.APP1, xmp.HEAD + packet) if packet else b""
        begin += b"".join(segment(Marker.APP1, one) for one in extended)
        begin += segment(Marker.APP2, _ISO_VERSION) if self.by_iso else b""
        rest = b"".join(primary[one.start : one.end] for one in pieces[1:] if not _is_ours(one, primary))
        place = len(begin) + 4 + len(MPF)  # from which offsets count
        size = len(begin) + len(segment(Marker.APP2, _index(0, 0, 0))) + len(rest)
        return begin + segment(Marker.APP2, _index(size, len(self.content), size - place)) + rest + self.content


def read(file: File) -> GainMap | None:
    """The gain map of a JPEG, if it has one; other images that lie in the file are none."""
    for one in file.behind:
        by_iso, by_xmp = _iso_ranges(one.iso), _xmp_ranges(one.stated)
        if by_iso or by_xmp or one.stated.get("apdi:AuxiliaryImageType") == _APPLE:
            ranges = by_iso or by_xmp or (_Range(0, 1, 1),)  # Apple's values begin at no boost
            content = file.content[one.start : one.end]
            return GainMap(content=content, ranges=ranges, by_xmp=bool(by_xmp), by_iso=bool(by_iso))
    return None


def _iso_ranges(data: bytes) -> tuple[_Range, ...]:
    """Ranges in ISO 21496-1's metadata; none if there is no more than a version."""
    if len(data) < 5 or data[:2] != b"\0\0":
        return ()
    channels, shared = (3 if data[4] & _MANY_CHANNELS else 1), bool(data[4] & _ONE_DENOMINATOR)
    begin, size = (17, 20) if shared else (21, 40)
    if len(data) < begin + size * channels:
        return ()
    ranges: list[_Range] = []
    for at in range(begin, begin + size * channels, size):
        if shared:
            below = struct.unpack_from(">I", data, 5)[0]
            low, high, gamma = ((one, below) for one in struct.unpack_from(">2iI", data, at))
        else:
            numbers = struct.unpack_from(">iIiI2I", data, at)
            low, high, gamma = numbers[:2], numbers[2:4], numbers[4:]
        if not (low[1] and high[1] and gamma[1]):
            return ()
        ranges.append(_Range(low[0] / low[1], high[0] / high[1], gamma[0] / gamma[1]))
    return tuple(ranges)


def _xmp_ranges(stated: Mapping[str, str]) -> tuple[_Range, ...]:
    """Ranges in a map's XMP; none without the highest boost, which has to be there."""
    try:
        values = [
            [float(one) for one in stated.get(f"hdrgm:{name}", usual).strip("[]").split(";")]
            for name, usual in (("GainMapMin", "0"), ("GainMapMax", ""), ("Gamma", "1"))
        ]
    except ValueError:
        return ()
    if not all(len(one) in (1, 3) and all(map(math.isfinite, one)) for one in values):
        return ()
    channels = max(map(len, values))
    every = [one if len(one) == channels else one * channels for one in values]
    return tuple(_Range(low, high, max(0.0, gamma)) for low, high, gamma in zip(*every, strict=True))


class _Decoded(NamedTuple):
    """Pixels ``[height, width, channels]`` as they are stored, and how."""

    pixels: NDArray[np.uint8]
    mode: str  # "L", "YCbCr" or "RGB"
    tables: list[list[int]]
    sampling: int  # Pillow's number

    def turned(self, pixels: NDArray[np.uint8], *, sideways: bool) -> "_Decoded":
        """Other pixels, turned by an odd number of quarters or not, stored likewise."""
        tables = [np.reshape(one, (8, 8)).T.ravel().tolist() for one in self.tables] if sideways else self.tables
        sampling = 2 if sideways and self.sampling == 1 else self.sampling  # none is halved in height alone
        return _Decoded(pixels, self.mode, tables, sampling)


def _decoded(content: bytes) -> _Decoded | None:
    """A JPEG of one channel or three; None if it is another, too large or damaged."""
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
            if math.prod(image.size) > _MOST_PIXELS:
                return None
            is_rgb = image.info.get("adobe_transform") == 0
            if image.mode == "RGB" and not is_rgb:
                image.draft("YCbCr", image.size)  # no rounding to RGB and back
            if image.mode not in ("L", "RGB", "YCbCr"):
                return None
            pixels = np.asarray(image)
            tables: dict[int, list[int]] = image.quantization  # pyrefly: ignore[missing-attribute]
            sampling = max(0, JpegImagePlugin.get_sampling(image)) if image.mode != "L" else 0
            return _Decoded(pixels.reshape(*pixels.shape[:2], -1), image.mode, list(tables.values()), sampling)
    except (OSError, ValueError, SyntaxError):
        return None


def _on_map(weight: Array, size: tuple[int, int]) -> NDArray[np.float32]:
    """Shares of the change for the pixels of a map: 0 where one of the pixels that they have an effect on has none.

    Readers place a map's pixels differently, so the effect is taken to reach half a pixel of the map further.
    """
    height, width = weight.shape
    kernel = [1 + 2 * math.ceil(1.5 * max(1.0, full / part)) for full, part in zip((width, height), size, strict=True)]
    levels = cv2.multiply(weight, 255.0, dtype=cv2.CV_8U)
    least = cv2.erode(levels, cv2.getStructuringElement(cv2.MORPH_RECT, kernel))
    columns, rows = (
        np.minimum(((np.arange(part) + 0.5) * full / part).astype(np.intp), full - 1)
        for full, part in zip((width, height), size, strict=True)
    )
    return least[np.ix_(rows, columns)].astype(np.float32) / 255


def _encoded(wanted: _Decoded, same: NDArray[np.bool_], before: bytes, turn: tuple[int, bool]) -> bytes:
    """A map's JPEG with the segments that it had; as coarse as it was, or finer until it stays within a level."""
    jpeg, mode = b"", wanted.mode
    image = Image.frombytes(mode, wanted.pixels.shape[1::-1], wanted.pixels.tobytes())
    for divisor, sampling in ((1, wanted.sampling), (2, wanted.sampling), (4, 0), (8, 0), (255, 0)):
        tables = [[max(1, min(255, one) // divisor) for one in table] for table in wanted.tables]
        options: dict[str, Any] = {"subsampling": sampling} if mode != "L" else {}
        options |= {"keep_rgb": True} if mode == "RGB" else {}
        file = io.BytesIO()
        image.save(file, "JPEG", qtables=tables, **options)
        jpeg = file.getvalue()
        result = _decoded(jpeg) if mode != "RGB" else _decoded(_with_head(jpeg, before, turn))
        if result is not None and cv2.absdiff(result.pixels, wanted.pixels)[same].max(initial=0) <= 1:
            break
    return _with_head(jpeg, before, turn)


def _with_head(jpeg: bytes, before: bytes, turn: tuple[int, bool]) -> bytes:
    """A JPEG with the metadata of another."""
    head = b"".join(
        before[one.start : one.end]
        for one in itertools.takewhile(lambda one: one.kind[0] != Marker.SOS, segments(before))
        if (Marker.APP0 <= one.kind[0] <= Marker.APP15 or one.kind[0] == Marker.COM)
        and not (one.of(before).startswith(MPF) or (turn != (0, False) and one.of(before).startswith(_EXIF)))
    )
    pixels = next(one.start for one in segments(jpeg) if one.kind[0] == Marker.DQT)
    return b"\xff\xd8" + head + jpeg[pixels:]


def _is_first(one: Piece, content: bytes) -> bool:
    """Whether a segment goes before the announcement of a map: JFIF and EXIF, whose readers look for them there."""
    return one.kind[0] == Marker.APP0 or (one.kind[0] == Marker.APP1 and content.startswith(_EXIF, one.begin))


def _is_ours(one: Piece, content: bytes) -> bool:
    """Whether a segment is written anew."""
    if one.kind[0] == Marker.APP1:
        return content.startswith((_EXIF, xmp.HEAD, xmp.EXTENSION), one.begin)
    return one.kind[0] == Marker.APP0 or (one.kind[0] == Marker.APP2 and content.startswith((MPF, ISO), one.begin))


def _index(first: int, second: int, offset: int) -> bytes:
    """The data of an MPF segment for two images of such lengths, the second at an offset."""
    entries = struct.pack(">3I2H3I2H", 0x030000, first, 0, 0, 0, 0, second, offset, 0, 0)
    tags = struct.pack(">H2HI4s2H2I2H2II", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2, 0xB002, 7, len(entries), 50, 0)
    return MPF + struct.pack(">2sHI", b"MM", 42, 8) + tags + entries

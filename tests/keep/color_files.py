"""Test images in several color spaces, and minimal writers of TIFF, XMP, ICC profiles, PNG chunks and boxes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from tests.keep.pairs import encoded

SIZE = (240, 180)
BOX = (150, 100, 190, 140)  # bounds of the disc that the editor painted

PRIMARIES = {  # red, green and blue with the white point D65, and gamma
    "adobe": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), 2.2),
    "linear": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), 1.0),
    "p3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), 2.4),
}

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
Tags = dict[int, tuple[int, list[int]]]  # tags of a TIFF by number: type and values

_CODES = {1: "B", 3: "H", 4: "I", 13: "I"}
_WHITE, _D50 = (0.3127, 0.3290), np.array([0.9642, 1, 0.8249])


def patches(seed: int = 3, size: tuple[int, int] = SIZE) -> Image.Image:
    """Patches of many colors, none of them very saturated, with a little noise."""
    generator = np.random.default_rng(seed)
    width, height = size
    low = Image.fromarray(generator.integers(40, 215, (height // 24, width // 24, 3), dtype=np.uint8))
    image = low.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, r = generator.integers(0, width), generator.integers(0, height), int(generator.integers(3, 15))
        color = tuple(int(value) for value in generator.integers(40, 215, 3))
        (draw.rectangle if generator.random() < 0.5 else draw.ellipse)((x - r, y - r, x + r, y + r), fill=color)
    noisy = np.asarray(image) + generator.normal(0, 3, (height, width, 3))
    return Image.fromarray(noisy.clip(30, 225).astype(np.uint8))


def edited(image: Image.Image, color: tuple[int, int, int] = (225, 40, 50)) -> Image.Image:
    """The image with a disc."""
    made = image.copy()
    ImageDraw.Draw(made).ellipse(BOX, fill=color)
    return made


def inside() -> NDArray[np.bool_]:
    """Far inside the disc."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.hypot(x - 170, y - 120) < 15


def far() -> NDArray[np.bool_]:
    """Far outside the disc."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.hypot(x - 170, y - 120) > 32


def in_space(image: Image.Image, profile: bytes, *, back: bool = False) -> Image.Image:
    """Converted by LittleCMS from sRGB to the color space of a profile, or back."""
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, *((own, srgb) if back else (srgb, own)), outputMode="RGB")


def in_srgb(image: Image.Image) -> NDArray[np.float64]:
    """The colors that a color-managed viewer displays."""
    profile = image.info.get("icc_profile")
    shown = image.convert("RGB") if profile is None else in_space(image.convert("RGB"), profile, back=True)
    return np.asarray(shown, dtype=np.float64)


def rgb_profile(name: str) -> bytes:
    *primaries, gamma = PRIMARIES[name]
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    matrix = np.linalg.inv(cone) @ np.diag((cone @ _D50) / (cone @ _xyz(_WHITE))) @ cone @ _to_xyz(primaries)
    tags = [(key, _place(matrix[:, at])) for at, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))]
    return profile_of(b"RGB ", [*tags, *((key, _curve(gamma)) for key in (b"rTRC", b"gTRC", b"bTRC"))])


def gray_profile(gamma: float) -> bytes:
    return profile_of(b"GRAY", [(b"kTRC", _curve(gamma))])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def box(kind: bytes, content: bytes) -> bytes:
    """A box of a file such as HEIC."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return png[:33] + chunk(kind, content) + png[33:]


def chunks(png: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by name, in file order, parsed as specified."""
    found, place = dict[bytes, bytes](), 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", png, place + 8 + length) == (zlib.crc32(kind + body),)
        found[kind] = body
        place += length + 12
    return found


def gray_png(levels: NDArray[np.integer], bits: int, clear: int) -> bytes:
    """A gray PNG of 1, 2, 4, 8 or 16 bits with one transparent level."""
    height, width = levels.shape
    spread = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(spread.astype(np.uint8).reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = ((b"IHDR", header), (b"tRNS", struct.pack(">H", clear)), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff_of(
    first: Tags, *others: Tags, children: int = 0, order: str = "<", big: bool = False, pixels: bytes = bytes(70_000)
) -> bytes:
    """A TIFF of directories in a chain; the last ``children`` of them are children of the first (tag 330)."""
    pointer, entry, short = ("Q", 20, 8) if big else ("I", 12, 4)
    all_tags, places = [first, *others], list[int]()
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,))
    )
    place = len(head) + short
    sizes = [len(tags) + (children > 0 and at == 0) for at, tags in enumerate(all_tags)]
    for count in sizes:
        places.append(place)
        place += (8 if big else 2) + entry * count + short
    if children:
        all_tags[0] = first | {330: (16 if big else 4, places[len(places) - children :])}
    body, data = b"", b""
    chained = len(places) - children
    for at, tags in enumerate(all_tags):
        body += struct.pack(order + ("Q" if big else "H"), len(tags))
        for tag in sorted(tags):
            kind, values = tags[tag]
            packed = struct.pack(f"{order}{len(values)}{_CODES.get(kind, 'Q')}", *values)
            if len(packed) > short:
                where, data = place + len(data), data + packed
                packed = struct.pack(order + pointer, where)
            body += struct.pack(order + "HH" + pointer, tag, kind, len(values)) + packed.ljust(short, b"\0")
        body += struct.pack(order + pointer, places[at + 1] if at + 1 < chained else 0)
    return head + struct.pack(order + pointer, places[0]) + body + data + pixels


def tiff(
    data: NDArray[np.integer],
    *,
    photometric: int,
    planar: bool = False,
    bits: int | None = None,
    kind: int = 1,
    more: Tags | None = None,
    order: str = "<",
) -> bytes:
    """An uncompressed TIFF of ``[height, width, channels]`` in one strip, or one strip per channel."""
    (height, width, channels), begin = data.shape, 1000
    raw = data.astype(data.dtype.newbyteorder(order))
    planes = [raw[..., at].tobytes() for at in range(channels)] if planar else [raw.tobytes()]
    tags: Tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits or 8 * data.dtype.itemsize] * channels),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [begin + sum(map(len, planes[:at])) for at in range(len(planes))]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(plane) for plane in planes]),
        284: (3, [2 if planar else 1]),
        339: (3, [kind] * channels),
    }
    return tiff_of(tags | (more or {}), order=order, pixels=b"").ljust(begin, b"\0") + b"".join(planes)


def packet(attributes: str = "", elements: str = "") -> bytes:
    """A packet of XMP with one description."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="any">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:dc="{DC}" xmlns:tiff="{TIFF}" {attributes}>'
        f'{elements}</rdf:Description></rdf:RDF></x:xmpmeta>\n   \n<?xpacket end="w"?>'
    ).encode()


def with_xmp(image: Image.Image, kind: str, stated: bytes) -> bytes:
    """A file with a packet of XMP."""
    options = dict[str, Any](xmp=stated)
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", stated.decode(), zip=True)
        options = {"pnginfo": info}
    elif kind == "TIFF":
        options = {"tiffinfo": {700: stated}}
    return encoded(image, kind, **options)


def _xyz(place: tuple[float, float]) -> NDArray[np.float64]:
    x, y = place
    return np.array([x / y, 1, (1 - x - y) / y])


def _to_xyz(primaries: object) -> NDArray[np.float64]:
    columns = np.array([_xyz(place) for place in primaries]).T  # type: ignore[attr-defined]
    return columns * np.linalg.solve(columns, _xyz(_WHITE))


def _place(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(65536 * float(value))) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def profile_of(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """An ICC profile of version 2.4."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    every = [(b"desc", text + bytes(-len(text) % 4)), (b"cprt", b"text\0\0\0\0none\0\0\0\0"), (b"wtpt", _place(_D50))]
    every += tags
    table, body, start = struct.pack(">I", len(every)), b"", 132 + 12 * len(every)
    for key, value in every:
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value
    head = struct.pack(">I4xI", start + len(body), 0x02400000) + b"mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    return head.ljust(68, b"\0") + _place(_D50)[8:].ljust(60, b"\0") + table + body

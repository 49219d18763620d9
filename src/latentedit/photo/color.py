"""Conversion between the color space that a file names and sRGB: exact for matrix profiles, 8 bits for tables."""

import dataclasses
import functools
import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[Any]  # ``[height, width, 3 or 4]``, 8 or 16 bits; the fourth channel is alpha
GrayValues = NDArray[np.floating[Any]]  # ``[height, width, 3]`` on a scale of 0 to 255
PRINT = ("CMYK", "LAB")  # modes of Pillow
_SRGB_LEVELS = 1.0  # a space without a color further from sRGB's is taken for sRGB, as many of that name are
_OWN_LEVELS = 8.0  # a color outside of sRGB keeps nothing of its excess once it is changed by so much
_STRIP_VALUES = 3_000_000  # converted together, for each takes many bytes on the way
_NODES = 65536  # nodes of a curve: one per 16-bit value
_GRID = np.linspace(0, 1, _NODES)
_D50 = np.array([0.9642, 1.0, 0.8249])  # white of ICC profiles
# Responses of the cones by Bradford, for XYZ.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# ITU-T H.273: x and y of white, red, green and blue; parameters of an ICC curve.
_SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BT2020_XY = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
_P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_CICP_XY = {1: _SRGB_XY, 9: _BT2020_XY, 12: _P3_XY}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CICP_CURVES = {4: (2.2,), 5: (2.8,), 8: (1.0,), 13: _SRGB_CURVE, **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE)}
_GAMMA_OF_SRGB = (0.45, 0.46)  # values of gAMA: 0.45455 stands for sRGB's curve by the PNG specification
_MOST_SHARED = 16  # times the size of a profile that its tags may have together; some share their bytes
# Errors that a bad profile raises.
_DAMAGE = (KeyError, ValueError, ArithmeticError, struct.error, ImageCms.PyCMSError, OSError)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Space:
    """An RGB color space."""

    matrix: NDArray[np.float64]  # from its linear values to those of sRGB, ``[3, 3]``; unused with tables
    curves: NDArray[np.float64]  # linear values for encoded values from 0 to 1, ``[3, 65536]``
    tables: tuple[Any, Any] | None = None  # LittleCMS transforms to sRGB and back

    def to_srgb(self, pixels: NDArray[Any]) -> GrayValues:
        """Colors of 8 or 16 bits, ``[height, width, 3]``, as sRGB levels; not clipped to its gamut."""
        top = np.iinfo(pixels.dtype).max
        if self.tables is not None:
            return _through(self.tables[0], pixels * (255 / top))
        lines = self.curves[:, :: (_NODES - 1) // top].astype(np.float32)
        linear = np.stack([line[pixels[..., at]] for at, line in enumerate(lines)], axis=-1)
        linear = linear @ self.matrix.T.astype(np.float32)
        size = np.abs(linear)  # negative values are encoded as their opposites
        encoded = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)
        return np.float32(255) * np.copysign(encoded, linear)

    def from_srgb(self, levels: GrayValues) -> GrayValues:
        """Encoded values on a scale of 0 to 255 for sRGB levels, clipped to the gamut."""
        if self.tables is not None:
            return _through(self.tables[1], levels)
        values = levels / np.float32(255)
        size = np.abs(values)
        decoded = np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
        linear = np.copysign(decoded, values) @ np.linalg.inv(self.matrix).T
        own = [np.interp(linear[..., at], curve, 255 * _GRID) for at, curve in enumerate(self.curves)]
        return np.stack(own, axis=-1).astype(np.float32)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """The description of colors in a file, by Pillow's names; without anything, they are sRGB."""

    icc_profile: bytes = b""
    cicp: bytes = b""  # four bytes of ITU-T H.273: primaries, transfer, matrix, range
    srgb: int | None = None  # rendering intent
    gamma: float = 0.0  # exponent of the encoding; 0 if unknown
    chromaticity: tuple[float, ...] = ()  # x and y of white, red, green and blue

    @classmethod
    def of(cls, info: Mapping[Any, Any]) -> "Colors":
        """The description among the metadata of a Pillow image."""
        profile = info.get("icc_profile")  # in a TIFF, it may be text
        return cls(
            icc_profile=profile if isinstance(profile, bytes) else b"", cicp=info.get("cicp", b""),
            srgb=info.get("srgb"), gamma=info.get("gamma", 0.0), chromaticity=tuple(info.get("chromaticity", ())),
        )  # fmt: skip

    @property
    def profile(self) -> bytes | None:
        """The ICC profile, or one made from the other statements; None if there is none."""
        if self.cicp and not self.shows_more:
            return _made_of(_CICP_XY[self.cicp[0]], _CICP_CURVES[self.cicp[1]])
        if self.icc_profile:
            return self.icc_profile
        if self.srgb is not None or not (self.gamma or self.chromaticity):
            return None
        is_srgb = not self.gamma or _GAMMA_OF_SRGB[0] < self.gamma < _GAMMA_OF_SRGB[1]
        return _made_of(self.chromaticity or _SRGB_XY, _SRGB_CURVE if is_srgb else (1 / self.gamma,))

    @property
    def space(self) -> Space | None:
        """The color space; None for sRGB, and if the profile is missing or damaged."""
        profile = self.profile
        return None if profile is None else _space(profile)[0]

    @property
    def is_damaged(self) -> bool:
        """Whether the profile cannot be used."""
        profile = self.profile
        return profile is not None and _space(profile)[1]

    @property
    def shows_more(self) -> bool:
        """Whether cICP names an unsupported space, such as one of high dynamic range."""
        return bool(self.cicp) and not (self.cicp[0] in _CICP_XY and self.cicp[1] in _CICP_CURVES)


def stated(image: Image.Image, cicp: bytes, name: str) -> tuple[Colors, bytes, tuple[str, ...]]:
    """The colors of an opened image, in whose file these four numbers of cICP are, or none.

    Returns them with an RGB profile or none, the gray profile that it was made from, and problems.
    """
    colors, notes, gray_profile = Colors.of(image.info), list[str](), b""
    made = profile = colors.icc_profile
    if image.format in ("HEIF", "AVIF"):
        if nclx := image.info.get("nclx_profile"):
            cicp = bytes([int(nclx["color_primaries"]) & 255, int(nclx["transfer_characteristics"]) & 255, 0, 1])
        elif image.format == "HEIF":
            cicp = b""
        cicp = b"" if profile or 2 in cicp[:2] else cicp  # 2 stands for unspecified
    colors = dataclasses.replace(colors, cicp=cicp or colors.cicp)
    is_gray = profile[16:20] == b"GRAY"
    if image.mode in PRINT:
        made = b""
        notes.append(f"{name} has colors for print ({image.mode}); they were converted to sRGB")
    elif colors.is_damaged or is_gray:
        if is_gray or image.mode[0] in "1LI":
            gray_profile, made = profile, of_gray(profile) or b""
        if not is_gray or not made:
            notes.append(f"the color profile of {name} is damaged; its colors were taken for sRGB")
    if colors.shows_more:
        text = "of high dynamic range, or unknown (cICP); they were taken for sRGB"
        notes.append(f"the colors of {name} are {text}")
    return dataclasses.replace(colors, icc_profile=made), gray_profile, tuple(notes)


def of_gray(profile: bytes) -> bytes | None:
    """An RGB profile equivalent to a gray one; None if that is damaged."""
    try:
        curve = _tags(profile)[b"kTRC"]
        _curve(curve)
        return _packed(_SRGB_XY, curve)
    except _DAMAGE:
        return None


def srgb_image(image: Image.Image, profile: bytes) -> Image.Image | None:
    """A CMYK or Lab image in sRGB; None if the profile is damaged or of another kind."""
    try:
        given = ImageCms.createProfile("LAB") if image.mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except _DAMAGE:
        return None


def shown(image: Image.Image) -> Image.Image:
    """An RGB or RGBA image in sRGB; the same object if it is already."""
    space = Colors.of(image.info).space
    if space is None or image.mode not in ("RGB", "RGBA"):
        return image
    pixels = np.array(image)
    for strip in np.array_split(pixels[..., :3], 1 + pixels.size // _STRIP_VALUES):
        strip[:] = np.rint(space.to_srgb(strip)).clip(0, 255)
    return Image.fromarray(pixels)


def levels(pixels: Pixels, space: Space | None = None, ground: Any = 255.0) -> GrayValues:
    """Colors in sRGB ``[height, width, 3]`` from 0 to 255, beyond for wide gamuts; transparent parts on a ground."""
    colors = pixels[..., :3].astype(np.float32) if space is None else space.to_srgb(pixels[..., :3])
    if space is None and pixels.dtype != np.uint8:
        colors /= np.float32(np.iinfo(pixels.dtype).max / 255)
    if pixels.shape[2] == 3:
        return colors
    alpha = pixels[..., 3:].astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return colors * alpha + np.asarray(ground, dtype=np.float32) * (1 - alpha)


def opacity_of(pixels: Pixels) -> GrayValues | None:
    """Alpha in [0, 1], ``[height, width]``; None without."""
    return None if pixels.shape[2] == 3 else pixels[..., 3] / np.float32(np.iinfo(pixels.dtype).max)


def put_on(own: NDArray[Any], moved: GrayValues, space: Space | None) -> GrayValues:
    """Differences that turn colors into sRGB levels, in the own space; unchanged ones keep their excess beyond sRGB."""
    values = own / np.float32(np.iinfo(own.dtype).max / 255)
    if space is None:
        return moved - values
    seen = space.to_srgb(own).clip(0, 255)
    kept = (1 - np.abs(moved - seen).max(axis=2, keepdims=True) / _OWN_LEVELS).clip(0, 1)
    return space.from_srgb(moved) - values + kept * (values - space.from_srgb(seen))


@functools.lru_cache(maxsize=16)
def _space(profile: bytes) -> tuple[Space | None, bool]:
    """The space (None for sRGB), and whether the profile is damaged."""
    try:
        tags = _tags(profile)
        if profile[16:20] != b"RGB ":
            raise ValueError("a profile of other colors")
        if any(key.startswith(b"A2B") for key in tags):
            own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            there = ImageCms.buildTransform(own, srgb, "RGB", "RGB")
            back = ImageCms.buildTransform(srgb, own, "RGB", "RGB")
            found = Space(np.eye(3), np.stack([_GRID] * 3), (there, back))
        else:
            colorants = np.array([struct.unpack(">3i", tags[key][8:20]) for key in (b"rXYZ", b"gXYZ", b"bXYZ")]).T
            matrix = np.linalg.inv(_colorants(_SRGB_XY)) @ (colorants / 65536)
            np.linalg.inv(matrix)
            with np.errstate(all="ignore"):
                found = Space(matrix, np.stack([_curve(tags[key]) for key in (b"rTRC", b"gTRC", b"bTRC")]))
    except _DAMAGE:
        return None, True
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(1, -1, 3)
    return (found if np.abs(found.to_srgb(grid) - grid).max() > _SRGB_LEVELS else None), False


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if not 0 < count <= 200 or profile[36:40] != b"acsp":
        raise ValueError("no profile")
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * at) for at in range(count)]
    if sum(length for *_, length in entries) > _MOST_SHARED * len(profile):
        raise ValueError("the same bytes are said to be many tags")
    return {key: profile[start : start + length] for key, start, length in entries}


def _curve(tag: bytes) -> NDArray[np.float64]:
    """Parse an ICC curve: linear values at the nodes."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        values = np.frombuffer(tag, ">u2", count, 12)
        if count > 1:
            found = np.interp(_GRID, np.linspace(0, 1, count), values / 65535)
        else:
            found = _GRID ** (float(values[0]) / 256 if count else 1.0)
    elif tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        count = (1, 3, 4, 5, 7)[kind] if kind < 5 else 0
        g, *rest = (value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12))
        a, b, c, d, e, f = [*rest, *(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)[len(rest) :]]
        if kind in (1, 2):  # below -b / a the curve is flat, at c
            c, d, e, f = 0.0, -b / a, c, c
        found = np.where(d <= _GRID, (a * _GRID + b).clip(0) ** g + e, c * _GRID + f)
    else:
        raise ValueError("no curve")
    found = np.maximum.accumulate(found.clip(0, 1))
    if not found[-1] > found[0]:
        raise ValueError("a curve that is flat, or no number")
    return found


def _through(transform: Any, levels: GrayValues) -> GrayValues:
    image = Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
    return np.asarray(ImageCms.applyTransform(image, transform), dtype=np.float32)


def _colorants(places: Sequence[float]) -> NDArray[np.float64]:
    """XYZ of the primaries under D50, ``[3, 3]``, from x and y of white, red, green and blue."""
    white, *colors = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(places[::2], places[1::2], strict=True))
    columns = np.array(colors).T
    adapted = np.linalg.inv(_CONES) @ np.diag((_CONES @ _D50) / (_CONES @ white)) @ _CONES
    return adapted @ columns @ np.diag(np.linalg.solve(columns, white))


def _made_of(places: Sequence[float], curve: Sequence[float]) -> bytes | None:
    """A profile of these chromaticities (white first) and curve parameters; None if they are impossible."""
    try:
        return _packed(places, b"para\0\0\0\0" + struct.pack(">HH", 3 if len(curve) > 1 else 0, 0) + _fixed(curve))
    except _DAMAGE:
        return None


def _fixed(values: Iterable[float]) -> bytes:
    """ICC's s15Fixed16 numbers."""
    return b"".join(struct.pack(">i", round(65536 * float(value))) for value in values)


def _packed(places: Sequence[float], curve: bytes) -> bytes:
    """An ICC profile with these chromaticities and one curve for all channels."""

    def text(words: str) -> bytes:
        return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(words), 28) + words.encode("utf-16-be")

    colorants = zip((b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), (_D50, *_colorants(places).T), strict=True)
    entries = {b"desc": text("as the image says"), b"cprt": text("none")}
    entries |= {key: b"XYZ \0\0\0\0" + _fixed(values) for key, values in colorants}
    entries |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = struct.pack(">I", len(entries)), b"", 132 + 12 * len(entries)
    for key, value in entries.items():
        table += struct.pack(">4sII", key, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    kind = struct.pack(">I4xI", start + len(body), 0x04000000) + b"mntrRGB XYZ "
    head = kind + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp"
    return head.ljust(68, b"\0") + _fixed(_D50).ljust(60, b"\0") + table + body

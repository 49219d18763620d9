"""The metadata that a result carries of its original's file: one value, made once, and what formats hold of it."""

import dataclasses
import html
import re
from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import Base

from latentedit.photo import xmp
from latentedit.photo.color import Colors
from latentedit.photo.containers import XMP_KEY
from latentedit.photo.exif import without_orientation
from latentedit.photo.gainmap import GainMap
from latentedit.photo.parts import Parts
from latentedit.photo.photoshop import IPTC_AS_XMP, datasets, iptc_of
from latentedit.photo.provenance import Declaration

Form = Literal["gray", "palette", "bilevel"]
_KEY = "carried"  # among the metadata of Pillow images
_PLACES_FOR_IPTC = ("JPEG", "TIFF")
_PLACES_FOR_DPI = ("PNG", "JPEG", "TIFF", "BMP")
_LISTS = {5: "Alt", 25: "Bag", 80: "Seq", 116: "Alt", 120: "Alt"}  # kinds of the properties that are lists
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # which XML cannot hold
_DATE = 55  # number of the dataset
_PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JpegCoding:
    """How the pixels of a JPEG were coded, in Pillow's terms."""

    qtables: dict[int, list[int]]
    subsampling: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """All that an image's file holds beside its pixels, as it holds for the upright image.

    "xmp", "exif" and "resources" (Photoshop's, with IPTC) are packets; "gain_map" holds where nothing changes;
    "notes" lists problems that were worked around.
    """

    colors: Colors = dataclasses.field(default_factory=Colors)
    gray_profile: bytes = b""  # from which that of the colors was made
    dpi: tuple[float, float] | None = None  # across and down
    aspect: tuple[int, int] | None = None  # pixels across and down to the same length, if not square and without unit
    exif: bytes = b""
    xmp: bytes = b""
    resources: bytes = b""
    comment: bytes = b""
    png_header: bytes = b""  # depth and color type, with which some of the chunks hold
    chunks: tuple[tuple[bytes, bytes], ...] = ()  # kinds and data of a PNG's chunks that are copied
    jpeg: JpegCoding | None = None
    gain_map: GainMap | None = None
    form: Form | None = None  # form of an image that has not three colors
    palette: tuple[tuple[int, ...], ...] = ()  # red, green, blue and alpha of each entry
    turn: tuple[int, bool] = (0, False)  # quarter turns and mirroring that made the image upright
    parts: Parts = dataclasses.field(default_factory=dict)  # the file's inventory
    declares: Declaration | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: Mapping[Any, Any]) -> "Carried":
        """The metadata of a Pillow image: its own by Pillow's names, which may have been changed, and ours."""
        known, packet = info.get(_KEY), info.get("xmp") or info.get(XMP_KEY) or b""
        comment = info.get("comment") or b""
        return dataclasses.replace(
            known if isinstance(known, Carried) else cls(),
            colors=Colors.of(info), dpi=info.get("dpi"), exif=info.get("exif") or b"",
            xmp=packet.encode() if isinstance(packet, str) else packet,
            comment=comment.encode() if isinstance(comment, str) else comment,
        )  # fmt: skip

    @property
    def info(self) -> dict[str | tuple[int, int], Any]:
        """The metadata of a Pillow image, by Pillow's names where there are some, from which `of` makes it again."""
        texts = {"exif": self.exif, "xmp": self.xmp, "comment": self.comment, "dpi": self.dpi, "aspect": self.aspect}
        stated = {field.name: getattr(self.colors, field.name) for field in dataclasses.fields(Colors)}
        info: dict[str | tuple[int, int], Any] = {_KEY: self}  # Pillow's type of a dictionary of metadata
        found = {key: value for key, value in (texts | stated).items() if value or key == "srgb"}
        return info | {key: value for key, value in found.items() if value is not None}

    @property
    def declares_ai(self) -> bool:
        """Whether the file declares that AI made it, or a part of it."""
        return self.declares is not None and self.declares.ai is True

    def into(self, kind: str, *, gray: bool = False) -> "Carried":
        """The metadata that a file of a format can hold, in the format's own places, with one channel or three."""
        colors, exif, packet = self.colors, self.exif, self.xmp
        if gray and self.gray_profile:
            colors = dataclasses.replace(colors, icc_profile=self.gray_profile)
        elif kind != "PNG":  # which alone holds the other statements
            colors = Colors(icc_profile=colors.profile or b"")
        if kind == "BMP":
            return Carried(dpi=self.dpi)
        if kind not in _PLACES_FOR_IPTC:
            packet = self._packet_with_iptc
        dpi = self.dpi if kind in _PLACES_FOR_DPI and self.aspect is None else None  # the aspect takes its place
        if dpi is None and self.dpi is not None and not exif:
            exif = _resolution(self.dpi)
        if kind == "AVIF" and exif:  # Pillow writes it anew if it has an orientation, which moves the makers' notes
            exif = without_orientation(exif)
        return dataclasses.replace(self, colors=colors, dpi=dpi, exif=exif, xmp=packet)

    @property
    def _packet_with_iptc(self) -> bytes:
        """The XMP with what IPTC says."""
        listed: dict[int, list[str]] = {}
        for record, number, value in datasets(iptc_of(self.resources)):
            if record == 2 and number in IPTC_AS_XMP:
                try:
                    text = value.decode()
                except UnicodeDecodeError:
                    text = value.decode("latin-1")
                if number == _DATE:
                    text = re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", text)
                listed.setdefault(number, []).append(html.escape(_CONTROL.sub("", text)))
        if not listed:
            return self.xmp
        lines = list[str]()
        for number, texts in listed.items():
            name, kind = IPTC_AS_XMP[number], _LISTS.get(number)
            language = ' xml:lang="x-default"' if kind == "Alt" else ""
            items = "".join(f"<rdf:li{language}>{text}</rdf:li>" for text in texts)
            lines.append(f"<{name}>{f'<rdf:{kind}>{items}</rdf:{kind}>' if kind else texts[0]}</{name}>")
        own = _PACKET.format("".join(lines)).encode()
        return xmp.united(self.xmp, own) if self.xmp else own


def _resolution(dpi: tuple[float, float]) -> bytes:
    """EXIF with nothing else, for formats that have no other place for it."""
    exif = Image.Exif()
    exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = *dpi, 2
    return exif.tobytes()

"""Statements of an image file on its own making: content credentials (C2PA), the IPTC's source type, China's AI label.

Nothing is verified here: signatures are not checked, and pixels tell nothing.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Literal

from latentedit.core.files import parse_json
from latentedit.photo.containers import AI_LABEL, File, Marker, data_of, taken_apart
from latentedit.photo.xmp import properties, with_property

Role = Literal["original", "edited"]
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
WITH_AI = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# The terms whose definitions name generative AI or a trained model. Not these: "algorithmicMedia" is a formula without
# training data, "algorithmicallyEnhanced" a correction that makes no content, "humanEdits" made without generation.
_AI = {
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "trainedAlgorithmicData",  # C2PA's own
}
_STORE = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"  # begins the credentials in any container
# A source type as text of CBOR with its length in one byte, or of JSON; then the generator's name as text of CBOR.
_URI = re.compile(rb"(?:\x78([\x20-\xff])|\")(https?://[\w.]{1,40}/(?:newscodes/)?digitalsourcetype/[\w-]{1,80})")
_GENERATOR = re.compile(rb"claim_generator_info.{1,3}?\x64name(?:([\x60-\x77])|\x78(.))(.{1,255})", re.DOTALL)
_MOST_BYTES = 32_000_000  # most bytes of credentials and of a packet
_MOST_PACKETS = 20
_MOST_LETTERS = 60  # letters of a name
_LABELS = {"1": "AI", "2": "possibly AI", "3": "suspected AI"}  # GB 45438-2025; only makers of AI content write 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A file's statement of its own making. Nothing of it is verified.

    Args:
        ai: true if it says that AI made the image or a part of it, false if it names another source; null if it says
            neither.
        words: the same in one line.
        source_types: the IPTC's terms, such as "trainedAlgorithmicMedia", of all steps that the file tells of.
        credentials: whether it has content credentials (C2PA).
        generator: the program that signed these; empty if unknown.
    """

    ai: bool | None
    words: str
    source_types: tuple[str, ...]
    credentials: bool
    generator: str


def declared(file: File) -> Declaration | None:
    """The statement of an image file; None if there is none."""
    credentials, packets = _credentials(file), [*itertools.islice(_packets(file), _MOST_PACKETS)]
    signed, generator = ([], "") if credentials is None else (_source_types(credentials), _generator(credentials))
    stated = [properties(packet) for packet in packets]
    written = [_term(one[key]) for one in stated for key in one if re.fullmatch(r"\w+:DigitalSource(file)?Type", key)]
    texts: list[str | bytes] = [one[key] for one in stated for key in one if key.endswith(":AIGC")]
    texts += [text for key, text in file.texts if key == AI_LABEL and text is not None]
    label = next(filter(None, map(_label, texts)), "")
    types = tuple(dict.fromkeys((*signed, *written)))
    if credentials is None and not types and not label:
        return None
    ai = True if label == "AI" or _AI.intersection(types) else False if types else None
    shown = [one for one in types if one in _AI] or types
    term = shown[-1] if shown else ""  # the file's own comes after those of its ingredients
    seal = f"content credentials of {generator}" if generator else "content credentials"
    sources = {
        term: ai is True,
        f"{seal}; signature not checked": credentials is not None,
        "XMP": term in written and term not in signed,
        "China's AIGC label": bool(label),
    }
    where = ", ".join(text for text, holds in sources.items() if text and holds)
    what = "AI" if ai else term or label
    words = f"declares {what} ({where})" if what else f"has {where}"
    return Declaration(ai=ai, words=words, source_types=types, credentials=credentials is not None, generator=generator)


def marked(xmp: bytes | None) -> bytes:
    """The XMP packet, or a new one, that declares a part made by AI; as it is if it declares AI already."""
    before = declared(taken_apart(xmp)) if xmp else None
    if xmp and before is not None and before.ai:
        return xmp
    return with_property(xmp, IPTC, "Iptc4xmpExt", "DigitalSourceType", WITH_AI)


def _term(uri: str) -> str:
    """The last part of a source type."""
    return _printable(re.split("[/:]", uri.strip().rstrip("/"))[-1])


def _printable(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MOST_LETTERS]


def _credentials(file: File) -> bytes | None:
    """The content credentials as JUMBF; empty if they are in another form, None if there are none."""
    content, has_any = file.content, any(one.kind in (b"caBX", b"C2PA") for one in file.pieces)
    if file.is_jpeg:
        parts = data_of(content, file.pieces, Marker.APP11)
        # Each part repeats the head of the box. JP, number, order, then the box; a few bytes too many do no harm.
        content = b"".join(part[16 if index else 8 :] for index, part in enumerate(parts) if part.startswith(b"JP"))
        has_any = b"jumb" in content and b"c2pa" in content
    at = content.find(_STORE)
    if at < 8:
        return b"" if has_any else None
    size = int.from_bytes(content[max(0, at - 12) : at - 8], "big")
    return content[at : at + min(size, _MOST_BYTES)]


def _source_types(credentials: bytes) -> list[str]:
    found: list[str] = []
    for match in itertools.islice(_URI.finditer(credentials), 1000):
        uri = match[2] if match[1] is None else match[2][: match[1][0]]  # letters may follow, too
        found.append(_term(uri.decode("ascii", "replace")))
    return found


def _generator(credentials: bytes) -> str:
    """The name in the last claim, which is the file's own; earlier ones are those of its ingredients."""
    name = ""
    for short, long, text in _GENERATOR.findall(credentials):
        name = text[: (short[0] - 0x60) if short else long[0]].decode("utf-8", "replace")
    return _printable(name)


def _packets(file: File) -> Iterator[bytes]:
    """The XMP packets that name a source type or label."""
    is_listed = file.is_png or file.is_jpeg  # in all other formats, they are stored as they are
    found = file.packets if is_listed else _between(file.content, b"<x:xmpmeta", b"</x:xmpmeta>")
    names = (b"DigitalSource", b":AIGC")
    return (one for one in found if len(one) <= _MOST_BYTES and any(name in one for name in names))


def _between(content: bytes, begin: bytes, end: bytes) -> Iterator[bytes]:
    at = content.find(begin)
    while at >= 0 and (last := content.find(end, at)) >= 0:
        yield content[at : last + len(end)]
        at = content.find(begin, last)


def _label(text: str | bytes) -> str:
    """The meaning of a label, a JSON object; empty if there is none."""
    try:
        value = parse_json(text)
        return _LABELS.get(str(value["Label"]), "")
    except (ValueError, TypeError, KeyError):
        return ""

"""What an image file says of its own making: content credentials (C2PA), the IPTC's source type, China's AI label.

Nothing is verified here: signatures are not checked, and pixels tell nothing.
"""

import contextlib
import dataclasses
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from latentedit_keep.floor.files import parse_json
from latentedit_keep.photo.containers import PNG_SIGNATURE, chunks, segments
from latentedit_keep.photo.inventory import raw_profile, text_of
from latentedit_keep.photo.xmp import EXTENSION, HEAD, merged, properties, with_property

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
_APP1, _APP11 = b"\xe1", b"\xeb"
_PNG_XMP, _PNG_LABEL = b"XML:com.adobe.xmp\0", b"AIGC\0"
_RAW_XMP = b"Raw profile type xmp\0", b"Raw profile type APP1\0"  # ImageMagick's
_MOST_BYTES = 32_000_000  # of credentials and of a packet
_MOST_PACKETS = 20
_MOST_LETTERS = 60  # of a name
_LABELS = {"1": "AI", "2": "possibly AI", "3": "suspected AI"}  # GB 45438-2025; only makers of AI content write 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a file says of its own making. Nothing of it is verified.

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


def declared(content: bytes) -> Declaration | None:
    """What an image file declares, from its bytes; None if it says nothing."""
    credentials, packets = _credentials(content), [*itertools.islice(_packets(content), _MOST_PACKETS)]
    signed, generator = ([], "") if credentials is None else (_source_types(credentials), _generator(credentials))
    stated = [properties(packet) for packet in packets]
    written = [_term(one[key]) for one in stated for key in one if re.fullmatch(r"\w+:DigitalSource(file)?Type", key)]
    texts = [one[key] for one in stated for key in one if key.endswith(":AIGC")]
    label = next(filter(None, map(_label, (*texts, *_png_texts(content, _PNG_LABEL)))), "")
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


def declaration_of(info: Mapping[Any, Any]) -> Declaration | None:
    """What the file of an image declares, from the image's metadata."""
    found = info.get("declares")  # a text in a PNG may have this name
    return found if isinstance(found, Declaration) else None


def declares_ai(info: Mapping[Any, Any]) -> bool:
    """Whether the file of an image declares that AI made it, or a part of it."""
    found = declaration_of(info)
    return found is not None and found.ai is True


def marked(xmp: bytes | None) -> bytes:
    """The XMP packet, or a new one, that declares a part made by AI; as it is if it declares AI already."""
    before = None if xmp is None else declared(xmp)
    if xmp is not None and before is not None and before.ai:
        return xmp
    return with_property(xmp, IPTC, "Iptc4xmpExt", "DigitalSourceType", WITH_AI)


def _term(uri: str) -> str:
    """The last part of a source type."""
    return _printable(re.split("[/:]", uri.strip().rstrip("/"))[-1])


def _printable(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MOST_LETTERS]


def _credentials(content: bytes) -> bytes | None:
    """The content credentials as JUMBF; empty if they are in another form, None if there are none."""
    has_any = any(one.kind in (b"caBX", b"C2PA") for one in chunks(content))
    if content.startswith(b"\xff\xd8"):
        parts = [one.of(content) for one in segments(content) if one.kind == _APP11]
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
        uri = match[2] if match[1] is None else match[2][: match[1][0]]  # what follows may be letters, too
        found.append(_term(uri.decode("ascii", "replace")))
    return found


def _generator(credentials: bytes) -> str:
    """The name in the last claim, which is the file's own; earlier ones are those of its ingredients."""
    name = ""
    for short, long, text in _GENERATOR.findall(credentials):
        name = text[: (short[0] - 0x60) if short else long[0]].decode("utf-8", "replace")
    return _printable(name)


def _packets(content: bytes) -> Iterator[bytes]:
    """The XMP packets that name a source type or label."""
    if content.startswith(PNG_SIGNATURE):
        raw = (raw_profile(text) for key in _RAW_XMP for text in _png_texts(content, key))
        found = itertools.chain(_png_texts(content, _PNG_XMP), (one.removeprefix(HEAD) for one in raw))
    elif content.startswith(b"\xff\xd8"):
        parts = [one.of(content) for one in segments(content) if one.kind == _APP1]
        extended = [part for part in parts if part.startswith(EXTENSION)]
        found = (merged(part.removeprefix(HEAD), extended) for part in parts if part.startswith(HEAD))
    else:  # stored as it is in all other formats
        found = _between(content, b"<x:xmpmeta", b"</x:xmpmeta>")
    names = (b"DigitalSource", b":AIGC")
    return (one for one in found if len(one) <= _MOST_BYTES and any(name in one for name in names))


def _between(content: bytes, begin: bytes, end: bytes) -> Iterator[bytes]:
    at = content.find(begin)
    while at >= 0 and (last := content.find(end, at)) >= 0:
        yield content[at : last + len(end)]
        at = content.find(begin, last)


def _png_texts(content: bytes, key: bytes) -> Iterator[bytes]:
    """The texts of a keyword."""
    for one in chunks(content) if content.startswith(PNG_SIGNATURE) else ():
        if one.kind in (b"iTXt", b"tEXt", b"zTXt") and content.startswith(key, one.begin):
            with contextlib.suppress(zlib.error):
                yield text_of(one.kind, one.of(content), _MOST_BYTES)


def _label(text: str | bytes) -> str:
    """The meaning of a label, a JSON object; empty if there is none."""
    try:
        value = parse_json(text)
        return _LABELS.get(str(value["Label"]), "")
    except (ValueError, TypeError, KeyError):
        return ""

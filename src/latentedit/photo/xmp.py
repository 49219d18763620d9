"""XMP packets as bytes: what they say, without what no longer holds, taken apart and put together for JPEG."""

import codecs
import functools
import hashlib
import html
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from latentedit.photo.warp import Size

HEAD = b"http://ns.adobe.com/xap/1.0/\0"  # begins the segment of a JPEG with the packet
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"  # begins the segments of extended XMP
MOST_EXTENDED_BYTES = 64_000_000
_PORTION = 65_400  # bytes of extended XMP in a segment, which has 65,533 with signature, GUID, length and offset
_HEAD = 40  # bytes of GUID, length and offset
_DEEPEST = 60  # levels of elements; the walks here, and those of minidom, recurse
# Most elements and bytes that are read: Lightroom's largest packets, with long histories and brushes, have a tenth.
MOST_NODES = 100_000  # elements, attributes, comments; each takes 1 kB of memory, 100 times its size
MOST_BYTES = 8_000_000  # the time for a text grows with its square
_NODE = re.compile("<[^/]|=\\s*[\"']")  # beginning of an element, or of an attribute's value, in any XML
_LONG_NAMESPACE = re.compile(
    "xmlns[^\\s=<>]*\\s*=\\s*(?:\"[^\"]{1000}|'[^']{1000})"
)  # the parser repeats it at each name
_DECLARES = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_REFERENCE = "\uf7fe#"  # stands for "&#": minidom would write line breaks in attributes as spaces
_XMLNS = "http://www.w3.org/2000/xmlns/"
_XML = "http://www.w3.org/XML/1998/namespace"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_GOOGLE = "http://ns.google.com/photos/1.0/"
_DEPTH = "http://ns.google.com/photos/dd/1.0/"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
).encode()
_USUAL = {
    _RDF: "rdf",
    _XML: "xml",
    _NOTE: "xmpNote",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/bj/": "xmpBJ",
    "http://ns.adobe.com/xap/1.0/g/": "xmpG",
    "http://ns.adobe.com/xap/1.0/g/img/": "xmpGImg",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "hdrgm",
    "http://ns.apple.com/HDRGainMap/1.0/": "HDRGainMap",
    "http://ns.apple.com/pixeldatainfo/1.0/": "apdi",
    _GOOGLE + "container/": "Container",
    _GOOGLE + "container/item/": "Item",
    _GOOGLE + "camera/": "GCamera",
    _GOOGLE + "panorama/": "GPano",
    _GOOGLE + "depthmap/": "GDepth",
    _GOOGLE + "image/": "GImage",
    _GOOGLE + "audio/": "GAudio",
    _GOOGLE + "focus/": "GFocus",
}
# Namespace -> names of properties that point to data outside the packet, or describe data that is left out.
_CLAIMS = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": ".*",
    "http://ns.apple.com/HDRGainMap/1.0/": ".*",
    "http://ns.apple.com/pixeldatainfo/1.0/": ".*",
    _GOOGLE + "container/": ".*",
    _GOOGLE + "container/item/": ".*",
    _GOOGLE + "camera/": "Motion.*|MicroVideo.*",
    _GOOGLE + "depthmap/": ".*",
    _GOOGLE + "image/": ".*",
    _GOOGLE + "audio/": ".*",
    _GOOGLE + "focus/": "Data",
    "http://ns.oplus.com/photos/1.0/camera/": ".*",  # motion photos of Oppo and OnePlus
    "http://ns.xiaomi.com/photos/1.0/camera/": "XMPMeta",  # places of images behind the JPEG
    _NOTE: "HasExtendedXMP",
    "http://ns.adobe.com/xap/1.0/": "Thumbnails",
    "http://purl.org/dc/terms/": "provenance",  # a C2PA manifest
}
_SIZES = {
    ("http://ns.adobe.com/tiff/1.0/", "ImageWidth"): 0,
    ("http://ns.adobe.com/tiff/1.0/", "ImageLength"): 1,
    ("http://ns.adobe.com/exif/1.0/", "PixelXDimension"): 0,
    ("http://ns.adobe.com/exif/1.0/", "PixelYDimension"): 1,
}
_ORIENTATION = ("http://ns.adobe.com/tiff/1.0/", "Orientation")

Node = Any  # a node of minidom, whose types say little


class _Property(NamedTuple):
    owner: Node  # its rdf:Description
    node: Node  # an attribute, or an element

    @property
    def name(self) -> tuple[str, str]:
        return self.node.namespaceURI or "", self.node.localName

    @property
    def key(self) -> str:
        return _usual(self.node)

    @property
    def is_attribute(self) -> bool:
        return self.node.nodeType == self.node.ATTRIBUTE_NODE

    def remove(self) -> None:
        if self.is_attribute:
            self.owner.removeAttributeNode(self.node)
        else:
            self.owner.removeChild(self.node)


@functools.lru_cache(maxsize=4)  # a file's packet is asked for several times
def properties(xmp: bytes) -> Mapping[str, str]:
    """Properties of a packet: "prefix:name" with the usual prefix of the namespace -> text; none if it is unreadable.

    Lists are ``[one; two]``, in order or, where order means nothing, sorted; structures are ``{name: value; ...}``,
    sorted, so that the ways in which RDF can say the same give the same text.
    """
    document = _parsed(xmp)
    if document is None:
        return {}
    return {one.key: _text(one.node.value) if one.is_attribute else _value(one.node) for one in _listed(document)}


def without_claims(xmp: bytes, size: Size | None = None) -> bytes:
    """The packet without properties that point to other data in the file; empty if none is left.

    An orientation becomes 1; sizes become the given one, or are left out. An unreadable packet stays as it is if it
    is not too large and names none of the namespaces with such properties, and becomes empty otherwise.
    """
    document = _parsed(xmp)
    if document is None:
        return b"" if is_large(xmp) or any(space.encode() in xmp for space in (*_CLAIMS, _DEPTH)) else xmp
    for one in _listed(document):
        if _claims(one) or (size is None and one.name in _SIZES):
            one.remove()
        elif one.name in _SIZES and size is not None:
            _set(one, str(size[_SIZES[one.name]]))
        elif one.name == _ORIENTATION:
            _set(one, "1")
    if not _listed(document):
        return b""
    _forget_unused(document)
    return _bytes(document)


def directory(xmp: bytes) -> list[dict[str, str]]:
    """The entries of a Container:Directory, the image itself first: "Length", "Semantic" and so on, as texts."""
    document = _parsed(xmp)
    items = [] if document is None else document.getElementsByTagNameNS(_GOOGLE + "container/", "Item")
    return [{one.localName: one.value for one in _attributes(item)} for item in items]


def merged(main: bytes, extended: Iterable[bytes]) -> bytes:
    """The packet with the properties of its extended XMP.

    Args:
        main: The packet of the file's first XMP segment.
        extended: The data of the segments of extended XMP, in any order, each beginning with `EXTENSION`. Those with
            another GUID than the packet's are ignored, as is what is incomplete or does not fit its checksum.
    """
    guid = properties(main).get("xmpNote:HasExtendedXMP", "").upper().encode()
    parts: dict[int, bytes] = {}
    total = 0
    for data in (one.removeprefix(EXTENSION) for one in extended):
        if guid and len(data) > _HEAD and data[:32].upper() == guid:
            total, place = int.from_bytes(data[32:36], "big"), int.from_bytes(data[36:40], "big")
            parts[place] = data[_HEAD:]
    if not 0 < total <= min(MOST_EXTENDED_BYTES, sum(map(len, parts.values()))):
        return main
    content = b"".join(parts[place] for place in sorted(parts))
    if hashlib.md5(content, usedforsecurity=False).hexdigest().upper().encode() != guid:
        return main
    joined = united(main, content)
    return main if joined is main else without_property(joined, _NOTE, "HasExtendedXMP")


def united(main: bytes, other: bytes) -> bytes:
    """The packet with the properties of another that it does not have; unchanged if one of them is unreadable."""
    document, source = _parsed(main), _parsed(other)
    if document is None or source is None:
        return main
    known, root = {one.name for one in _listed(document)}, _description(document).parentNode
    for one in _listed(source):
        if one.name in known:
            one.remove()
    above = _scope(_root(source))
    for owner in {id(one.owner): one.owner for one in _listed(source)}.values():
        used = {one.prefix or "" for one in (owner, *_attributes(owner), *_nodes(owner))}
        for space in sorted(used & above.keys() - _declared(owner).keys()):
            owner.setAttributeNS(_XMLNS, f"xmlns:{space}" if space else "xmlns", above[space])
        root.appendChild(document.importNode(owner, True))
    return _bytes(document)


def split(xmp: bytes, most: int) -> tuple[bytes, list[bytes]]:
    """A packet of at most so many bytes, and the data of the segments with the rest, for `merged`.

    The largest properties go first; those that point to other data stay, as readers look for them in the packet.
    Empty, and without a rest, if this cannot be done.
    """
    document, extended = (None, None) if len(xmp) <= most else (_parsed(xmp), _parsed(xmp))
    if document is None or extended is None:
        return (xmp if len(xmp) <= most else b""), []
    stay, go = _listed(document), _listed(extended)
    sizes = [len(_text(one.node.value if one.is_attribute else one.node.toxml()).encode()) for one in stay]
    too_many = len(_bytes(document)) + 150 - most  # 150 bytes for the property that names the rest
    for size, index in sorted(((size, index) for index, size in enumerate(sizes)), reverse=True):
        moves = too_many > 0 and not _claims(stay[index])
        (stay if moves else go)[index].remove()
        too_many -= size if moves else 0
    rest = extended.documentElement.toxml().replace(_REFERENCE, "&#").encode()
    guid = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    _add(document, _NOTE, "xmpNote", "HasExtendedXMP", guid)
    main = _bytes(document)
    if len(main) > most or len(rest) > MOST_EXTENDED_BYTES:
        return b"", []
    head = EXTENSION + guid.encode() + len(rest).to_bytes(4, "big")
    places = range(0, len(rest), _PORTION)
    return main, [head + place.to_bytes(4, "big") + rest[place : place + _PORTION] for place in places]


def with_property(xmp: bytes | None, namespace: str, prefix: str, name: str, value: str) -> bytes:
    """The packet with a simple property set; a new packet if there is none, or an unreadable one."""
    document = _parsed(without_property(xmp, namespace, name) if xmp else _EMPTY) or _parsed(_EMPTY)
    _add(document, namespace, prefix, name, value)
    return _bytes(document)


def without_property(xmp: bytes, namespace: str, name: str) -> bytes:
    """The packet without a property; unchanged if it has none, or is unreadable."""
    document = _parsed(xmp)
    found = [] if document is None else [one for one in _listed(document) if one.name == (namespace, name)]
    for one in found:
        one.remove()
    return _bytes(document) if found else xmp


def is_large(xmp: bytes) -> bool:
    """Whether a packet is too large to be read, which is known before a tree is built."""
    if len(xmp) > MOST_BYTES:
        return True
    text = xmp.decode(_encoding(xmp), "replace")
    too_many = next(itertools.islice(_NODE.finditer(text), MOST_NODES, None), None)
    return too_many is not None or _LONG_NAMESPACE.search(text) is not None


def _encoding(xmp: bytes) -> str:
    return "utf-16" if xmp.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _parsed(xmp: bytes) -> Node | None:
    """The document; None if it is too large, no XML, has declarations of its own, no RDF, or is nested too deeply."""
    if is_large(xmp):
        return None
    try:
        text = xmp.decode(_encoding(xmp)).strip("\0 \t\r\n")
        # The declaration may name another encoding, in which other things could be hidden.
        text = re.sub(r"\A<\?xml\s[^>]*>\s*", "", text)
        if _DECLARES.search(text):
            return None
        document: Node = minidom.parseString(text.replace("&#", _REFERENCE).encode())
    except (ExpatError, ValueError):
        return None
    level: list[Node] = [document]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in node.childNodes]
    return document if not level and _root(document) is not None else None


def _bytes(document: Node) -> bytes:
    return "\n".join(node.toxml() for node in document.childNodes).replace(_REFERENCE, "&#").encode()


def _root(document: Node) -> Node | None:
    """The element rdf:RDF."""
    return next(iter(document.getElementsByTagNameNS(_RDF, "RDF")), None)


def _elements(node: Node) -> list[Node]:
    return [child for child in node.childNodes if child.nodeType == child.ELEMENT_NODE]


def _attributes(node: Node) -> list[Node]:
    """All but declarations of namespaces."""
    return [one for one in node.attributes.values() if one.namespaceURI != _XMLNS and one.name != "xmlns"]


def _declared(node: Node) -> dict[str, str]:
    """The prefixes that an element declares, and their namespaces."""
    every = node.attributes.values()
    return {one.localName if one.prefix else "": one.value for one in every if "xmlns" in (one.prefix, one.name)}


def _listed(document: Node) -> list[_Property]:
    """The properties, always in the same order."""
    owners = [one for one in _elements(_root(document)) if (one.namespaceURI, one.localName) == (_RDF, "Description")]
    return [
        _Property(owner, node)
        for owner in owners
        for node in (*_attributes(owner), *_elements(owner))
        if node.namespaceURI not in (_RDF, _XML) and (node.namespaceURI or node.localName not in ("about", "ID"))
    ]


def _claims(one: _Property) -> bool:
    """Whether a property points to other data in the file."""
    space, name = one.name
    return space.startswith(_DEPTH) or re.fullmatch(_CLAIMS.get(space, "(?!)"), name) is not None


def _usual(node: Node) -> str:
    prefix = _USUAL.get(node.namespaceURI or "", node.prefix or "")
    return f"{prefix}:{node.localName}" if prefix else node.localName


def _text(value: str) -> str:
    """Text with its references resolved."""
    return html.unescape(value.replace(_REFERENCE, "&#")) if _REFERENCE in value else value


def _value(element: Node) -> str:
    """The text of a property's element, of a structure or of an entry of a list."""
    inner, stated = _elements(element), {_usual(one): _text(one.value) for one in _attributes(element)}
    language = stated.pop("xml:lang", "")
    stated = {key: text for key, text in stated.items() if key not in ("rdf:parseType", "rdf:about")}
    if len(inner) == 1 and inner[0].namespaceURI == _RDF and inner[0].localName in ("Alt", "Bag", "Seq"):
        entries = [_value(one) for one in _elements(inner[0])]
        return f"[{'; '.join(sorted(entries) if inner[0].localName == 'Bag' else entries)}]"
    if len(inner) == 1 and (inner[0].namespaceURI, inner[0].localName) == (_RDF, "Description"):
        return _value(inner[0])
    stated |= {_usual(one): _value(one) for one in inner}
    if not stated:
        text = _text("".join(one.data for one in element.childNodes if one.nodeType in (3, 4))).strip()
    elif stated.keys() <= {"rdf:resource"}:
        text = stated["rdf:resource"]
    else:
        text = f"{{{'; '.join(f'{key}: {stated[key]}' for key in sorted(stated))}}}"
    return f"{language}: {text}" if language else text


def _set(one: _Property, value: str) -> None:
    if one.is_attribute:
        one.node.value = value
        return
    for child in tuple(one.node.childNodes):
        one.node.removeChild(child)
    one.node.appendChild(one.node.ownerDocument.createTextNode(value))


def _scope(node: Node) -> dict[str, str]:
    """The prefixes that hold at an element, and their namespaces."""
    found: dict[str, str] = {}
    while node is not None and node.nodeType == node.ELEMENT_NODE:
        found, node = _declared(node) | found, node.parentNode
    return found


def _description(document: Node) -> Node:
    """The first rdf:Description, made if there is none."""
    root = _root(document)
    assert root is not None  # or the document was not parsed
    for one in _elements(root):
        if (one.namespaceURI, one.localName) == (_RDF, "Description"):
            return one
    made = document.createElementNS(_RDF, f"{root.prefix}:Description" if root.prefix else "Description")
    root.appendChild(made)
    made.setAttributeNS(_RDF, f"{root.prefix or 'rdf'}:about", "")
    return made


def _add(document: Node, namespace: str, prefix: str, name: str, value: str) -> None:
    """Set an attribute of the first description."""
    owner = _description(document)
    scope = _scope(owner)
    while scope.get(prefix, namespace) != namespace:
        prefix += "_"
    if prefix not in scope:
        owner.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
    value = re.sub(r"[\t\r\n]", lambda found: f"{_REFERENCE}{ord(found[0])};", value)
    owner.setAttributeNS(namespace, f"{prefix}:{name}", value)


def _nodes(node: Node) -> list[Node]:
    """All elements within, and their attributes."""
    return [one for element in node.getElementsByTagName("*") for one in (element, *_attributes(element))]


def _forget_unused(document: Node) -> None:
    """Take out declarations of the namespaces of claims that nothing uses: some readers search for them as text."""
    used = {node.namespaceURI for node in _nodes(document)}
    for element in document.getElementsByTagName("*"):
        for prefix, space in _declared(element).items():
            if prefix and space not in used and (space in _CLAIMS or space.startswith(_DEPTH)):
                element.removeAttribute(f"xmlns:{prefix}")

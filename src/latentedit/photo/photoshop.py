"""Photoshop's resources in a file, and IPTC, which is one of them."""

from collections.abc import Iterator

IPTC = 1028  # number of the resource
# Photoshop's resources that show the image, repeat what lies elsewhere, or are read as parts of their own.
COPIES = {1033: "thumbnail (Photoshop)", 1036: "thumbnail (Photoshop)", 1039: "", 1058: "", 1059: "", 1060: ""}
# Datasets of IPTC's second record -> the XMP properties that mean the same, by the IPTC Photo Metadata Standard.
IPTC_AS_XMP = {
    5: "dc:title", 25: "dc:subject", 40: "photoshop:Instructions", 55: "photoshop:DateCreated",
    80: "dc:creator", 85: "photoshop:AuthorsPosition", 90: "photoshop:City", 92: "Iptc4xmpCore:Location",
    95: "photoshop:State", 100: "Iptc4xmpCore:CountryCode", 101: "photoshop:Country",
    103: "photoshop:TransmissionReference", 105: "photoshop:Headline", 110: "photoshop:Credit",
    115: "photoshop:Source", 116: "dc:rights", 120: "dc:description", 122: "photoshop:CaptionWriter",
}  # fmt: skip


def resources_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of Photoshop's resources, in a segment APP13 without its head."""
    at = 0
    if data.startswith(b"\x1c"):  # IPTC alone
        yield IPTC, data
    while data[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR") and at + 12 <= len(data):
        number, name = int.from_bytes(data[at + 4 : at + 6], "big"), data[at + 6]
        begin = at + 6 + (1 + name + 1) // 2 * 2
        size = int.from_bytes(data[begin : begin + 4], "big")
        content = data[begin + 4 : begin + 4 + size]
        if len(content) < size:
            return
        yield number, content
        at = begin + 4 + (size + 1) // 2 * 2


def resource(number: int, content: bytes) -> bytes:
    """A resource of Photoshop without a name."""
    head = b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(content).to_bytes(4, "big")
    return head + content + b"\0" * (len(content) % 2)


def lasting(resources: bytes) -> bytes:
    """Photoshop's resources without thumbnails and without what is read elsewhere."""
    return b"".join(resource(*one) for one in resources_of(resources) if one[0] not in COPIES)


def iptc_of(resources: bytes) -> bytes:
    """The datasets of IPTC among Photoshop's resources; empty if there are none."""
    return next((content for number, content in resources_of(resources) if number == IPTC), b"")


def with_iptc(resources: bytes, iptc: bytes) -> bytes:
    """Photoshop's resources, and IPTC as one of them if they have none."""
    return resources if not iptc or iptc_of(resources) else resources + resource(IPTC, iptc)


def datasets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and content of IPTC's datasets."""
    at = 0
    while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
        size, begin = int.from_bytes(data[at + 3 : at + 5], "big"), at + 5
        if size & 0x8000:  # the length of the length
            begin, size = at + 5 + (size & 0x7FFF), int.from_bytes(data[at + 5 : at + 5 + (size & 0x7FFF)], "big")
        if begin + size > len(data):
            return
        yield data[at + 1], data[at + 2], data[begin : begin + size]
        at = begin + size

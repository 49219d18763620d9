"""XMP packets: what they claim of other data, taken apart for JPEG, compared by what they say."""

import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from latentedit.photo import xmp
from tests.keep.color_files import DC, RDF, packet
from tests.keep.pairs import some

NOTE = "http://ns.adobe.com/xmp/note/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"


PHONE = packet(
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:cam="http://ns.google.com/photos/1.0/camera/" '
    'xmlns:C="http://ns.google.com/photos/1.0/container/" xmlns:I="http://ns.google.com/photos/1.0/container/item/" '
    f'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" xmlns:n="{NOTE}" n:HasExtendedXMP="AB" '
    'xmlns:terms="http://purl.org/dc/terms/" terms:provenance="self#jumbf=c2pa" '
    'hdrgm:Version="1.0" cam:MotionPhoto="1" cam:MicroVideoOffset="9" cam:BurstID="b" GPano:ProjectionType="flat" '
    'tiff:Orientation="6" tiff:ImageWidth="4000"',
    '<C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><C:Item I:Length="7" I:Semantic="GainMap"/></rdf:li>'
    "</rdf:Seq></C:Directory><tiff:ImageLength>3000</tiff:ImageLength><dc:format>image/jpeg</dc:format>",
)


def test_claims_leave_and_the_rest_stays():
    left = xmp.without_claims(PHONE, size=(3000, 4000))
    assert xmp.properties(left) == {
        "GCamera:BurstID": "b",
        "GPano:ProjectionType": "flat",
        "dc:format": "image/jpeg",
        "tiff:Orientation": "1",
        "tiff:ImageWidth": "3000",
        "tiff:ImageLength": "4000",
    }
    assert b"hdr-gain-map" not in left
    assert b"container" not in left
    assert left.startswith(b"<?xpacket begin")
    assert left.endswith(b'<?xpacket end="w"?>')
    assert "tiff:ImageWidth" not in xmp.properties(xmp.without_claims(PHONE))


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("http://ns.apple.com/HDRGainMap/1.0/", "HDRGainMapVersion"),
        ("http://ns.google.com/photos/1.0/depthmap/", "Data"),
        ("http://ns.google.com/photos/1.0/image/", "Data"),
        ("http://ns.google.com/photos/1.0/audio/", "Data"),
        ("http://ns.google.com/photos/1.0/focus/", "Data"),
        ("http://ns.google.com/photos/dd/1.0/device/", "Revision"),
        ("http://ns.google.com/photos/dd/1.0/container/", "Directory"),
        ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
        ("http://ns.adobe.com/tiff/1.0/", "ImageWidth"),
    ],
)
def test_claims_go_by_namespace_and_an_empty_packet_is_none(space: str, name: str):
    other = f'xmlns:any="{space}"'
    assert xmp.without_claims(packet(f'{other} any:{name}="1"')) == b""
    assert xmp.without_claims(packet(other, f"<any:{name}><rdf:Seq><rdf:li>1</rdf:li></rdf:Seq></any:{name}>")) == b""
    assert xmp.properties(xmp.without_claims(packet(f'{other} any:{name}="1" dc:format="2"'))) == {"dc:format": "2"}


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"no XML",
        PHONE[:-90],
        b'<!DOCTYPE r [<!ENTITY a "b">]>' + PHONE,
        b"<?xml version='1.0'?><!doctype r []>" + PHONE,
        PHONE.replace(b'"flat"', b'"\xff"'),
        b"<a/>",
        packet(elements="<dc:a>" * 2000 + "</dc:a>" * 2000),
        "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE r [<!ENTITY a 'b'>]><r>&a;</r>".encode("utf-16"),
    ],
)
def test_unreadable_packets_claim_nothing(bad: bytes):
    assert xmp.properties(bad) == {}
    assert xmp.without_claims(bad) == (b"" if b"hdr-gain-map" in bad else bad)
    assert xmp.merged(bad, []) == xmp.without_property(bad, DC, "format") == bad
    assert xmp.properties(xmp.with_property(bad, DC, "dc", "format", "any")) == {"dc:format": "any"}
    assert xmp.split(bad + b" " * 100, 100 + len(bad) - 1) == (b"", [])


def test_two_ways_to_say_the_same_are_the_same():
    short = packet(
        'dc:source="a&#xA;b"', '<dc:rights rdf:parseType="Resource"><dc:x>1</dc:x><dc:y>2</dc:y></dc:rights>'
    )
    long = packet("", '<dc:rights><rdf:Description dc:y="2" dc:x="1"/></dc:rights><dc:source>a\nb</dc:source>')
    assert xmp.properties(short) == xmp.properties(long) == {"dc:source": "a\nb", "dc:rights": "{dc:x: 1; dc:y: 2}"}
    lists = packet(
        "",
        (
            "<dc:subject><rdf:Bag><rdf:li>b</rdf:li><rdf:li>a</rdf:li></rdf:Bag></dc:subject>"
            "<dc:creator><rdf:Seq><rdf:li>b</rdf:li><rdf:li>a</rdf:li></rdf:Seq></dc:creator>"
            '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">t</rdf:li></rdf:Alt></dc:title>'
            '<dc:relation rdf:resource="http://example.com"/>'
        ),
    )
    assert xmp.properties(lists) == {
        "dc:subject": "[a; b]",
        "dc:creator": "[b; a]",
        "dc:title": "[x-default: t]",
        "dc:relation": "http://example.com",
    }


def test_references_in_attributes_survive():
    left = xmp.without_claims(packet('dc:source="one&#xA;two &amp; &lt;three&gt; &#233;" tiff:Orientation="8"'))
    assert description(left).get(f"{{{DC}}}source") == "one\ntwo & <three> é"


def description(content: bytes) -> ET.Element:
    return some(ET.fromstring(content.decode().split("?>", 1)[1]).find(f".//{{{RDF}}}Description"))


def test_the_bytes_tell_the_encoding():
    declared = '<?xml version="1.0" encoding="utf-16"?>' + packet('dc:format="é"').decode()
    assert xmp.properties(declared.encode("utf-16")) == xmp.properties(declared.encode()) == {"dc:format": "é"}


def test_a_property_is_set_replaced_and_removed():
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    taken = packet('xmlns:Iptc4xmpExt="urn:another"', "<dc:format>old</dc:format>")
    marked = xmp.with_property(taken, IPTC, "Iptc4xmpExt", "DigitalSourceType", source)
    marked = xmp.with_property(marked, DC, "dc", "format", 'a "new" <one>\nof two lines')
    stated = {"Iptc4xmpExt:DigitalSourceType": source, "dc:format": 'a "new" <one>\nof two lines'}
    assert xmp.properties(marked) == stated
    assert f"{{{IPTC}}}DigitalSourceType" in description(marked).attrib
    assert xmp.properties(xmp.without_property(marked, DC, "format")) == {"Iptc4xmpExt:DigitalSourceType": source}
    assert xmp.properties(xmp.with_property(None, DC, "dc", "format", "x")) == {"dc:format": "x"}


def test_united_keeps_what_the_first_states():
    other = packet(
        'dc:format="other" dc:source="more"', "<dc:creator><rdf:Seq><rdf:li>me</rdf:li></rdf:Seq></dc:creator>"
    )
    joined = xmp.properties(xmp.united(packet('dc:format="first"'), other))
    assert joined == {"dc:format": "first", "dc:source": "more", "dc:creator": "[me]"}
    outer = f'<r:RDF xmlns:r="{RDF}" xmlns:a="urn:a"><r:Description a:b="1"/></r:RDF>'
    assert xmp.properties(xmp.united(packet(), outer.encode())) == {"a:b": "1"}


def long_packet() -> bytes:
    elements = "".join(f"<dc:n{index}>{chr(97 + index % 26) * 3000}</dc:n{index}>" for index in range(60))
    return packet(
        'dc:short="s&#xA;t" xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" h:Version="1.0" h:Long="'
        + "l" * 4000
        + '"',
        elements,
    )


def test_long_packets_are_split_and_merged_again():
    whole = long_packet()
    main, rest = xmp.split(whole, 65_502)
    assert len(main) <= 65_502
    assert 2 <= len(rest) <= 3
    assert all(len(data) <= 65_533 and data.startswith(xmp.EXTENSION) for data in rest)
    assert {"hdrgm:Version", "hdrgm:Long"} <= xmp.properties(main).keys()
    assert xmp.properties(xmp.merged(main, reversed(rest))) == xmp.properties(whole)
    assert xmp.split(whole, len(whole)) == (whole, [])


def broken(change: str, rest: list[bytes]) -> Any:
    head = len(xmp.EXTENSION)
    if change == "missing":
        return rest[:-1]
    if change == "other":
        return [data[:head] + b"0" * 32 + data[head + 32 :] for data in rest]
    if change == "damaged":
        return [rest[0][:-1] + b"!", *rest[1:]]
    return [data[: head + 32] + b"\xff" * 4 + data[head + 36 :] for data in rest]  # a length of 4 GB


@pytest.mark.parametrize("change", ["missing", "other", "damaged", "length"])
def test_extended_xmp_that_does_not_hold_is_ignored(change: str):
    main, rest = xmp.split(long_packet(), 65_502)
    assert xmp.merged(main, broken(change, rest)) == main


LARGE = {
    "elements": lambda size: packet(elements="<a/>" * (size // 4)),
    "attributes": lambda size: packet(" ".join(f"dc:a{index}='1'" for index in range(size // 12))),
    "nested": lambda size: packet(elements="<a>" * (size // 7) + "</a>" * (size // 7)),
    "comments": lambda size: packet(elements="<!---->" * (size // 7)),
    "instructions": lambda size: packet(elements="<?a?>" * (size // 5)),
    "character data": lambda size: packet(elements="<dc:a>" + "<![CDATA[a]]>" * (size // 13) + "</dc:a>"),
    "namespaces": lambda size: packet(" ".join(f'xmlns:a{index}="u:{index}"' for index in range(size // 20))),
    "a long namespace": lambda size: packet(f'xmlns:q = "{"n" * 5000}"', "<q:b/>" * (size // 40)),
    "text": lambda size: packet(elements="<dc:a>" + "line\n" * (size // 5) + "</dc:a>"),
    "one attribute": lambda size: packet(f'dc:a="{"b" * size}"'),
    "UTF-16": lambda size: LARGE["attributes"](size).decode().encode("utf-16"),
}  # fmt: skip


@pytest.mark.slow_except("one attribute")
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_packet_is_refused_before_a_tree_is_built(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    large = LARGE[kind](9_000_000 if kind in ("text", "one attribute") else 2_000_000)
    monkeypatch.setattr(xmp.minidom, "parseString", lambda *_: pytest.fail("a tree was built"))
    assert xmp.is_large(large)
    assert xmp.properties(large) == {}
    assert xmp.without_claims(large) == b""


@pytest.mark.slow
def test_a_long_history_is_read_and_kept() -> None:
    entry = '<rdf:li a:action="saved" a:instanceID="xmp.iid:{0}" a:when="2026-01-01" a:software="L" a:changed="/"/>'
    strokes = "".join(f"<rdf:li>d 0.{index} 0.5</rdf:li>" for index in range(20_000))
    rows = "".join(entry.format(index) for index in range(5_000))
    stated = f"<a:H><rdf:Seq>{rows}</rdf:Seq></a:H><a:B><rdf:Seq>{strokes}</rdf:Seq></a:B>"
    whole = packet('xmlns:a="urn:a" tiff:Orientation="6" dc:rights="me"', stated)
    assert len(whole) > 900_000
    kept = xmp.properties(xmp.without_claims(whole.decode().encode("utf-16")))
    assert (kept["dc:rights"], kept["tiff:Orientation"], kept["a:H"].count("saved")) == ("me", "1", 5_000)
    assert kept["a:B"].count("; ") == 19_999


def test_namespaces_of_the_root_are_known_in_what_is_united() -> None:
    outer = f'<r:RDF xmlns:r="{RDF}" xmlns:a="urn:a" xmlns:b="urn:b"><r:Description a:x="1"/>'
    outer += "<r:Description><a:y><b:z>2</b:z></a:y></r:Description></r:RDF>"
    assert xmp.properties(xmp.united(packet(), outer.encode())) == {"a:x": "1", "a:y": "{b:z: 2}"}


@pytest.mark.slow
def test_the_time_for_names_and_namespaces_grows_with_their_number_alone() -> None:
    many = packet(" ".join(f'xmlns:a{index}="u:{index}" dc:a{index}="1"' for index in range(4_000)), "<dc:b/>" * 4_000)
    begin = time.process_time()
    assert len(xmp.properties(xmp.without_claims(many))) == 4_001
    xmp.united(packet(), many)
    assert time.process_time() - begin < 15  # 0.5 s here; 50 s where each name is looked up among all

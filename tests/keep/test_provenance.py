"""Declarations of files on their own making, and the mark of an AI edit."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from latentedit import check, keep
from latentedit.keeping.api import KeepRecord
from latentedit.photo.containers import segment, taken_apart
from latentedit.photo.provenance import Declaration
from latentedit.photo.provenance import declared as declared_by
from latentedit.photo.xmp import properties
from tests.commands import Command
from tests.keep.color_files import box, packet, with_chunk, with_xmp
from tests.keep.pairs import encoded, scene, some, with_object

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
_AI = _TERMS + "trainedAlgorithmicMedia"


def _cbor(value: Any) -> bytes:
    """Texts, lists and objects in CBOR (RFC 8949)."""
    head = {str: 0x60, list: 0x80, dict: 0xA0}[type(value)]
    data = value.encode() if isinstance(value, str) else value
    size = bytes([head + len(data)]) if len(data) < 24 else bytes([head + 24, len(data)])
    parts = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
    return size + (data if isinstance(value, str) else b"".join(map(_cbor, parts)))


def _credentials(uri: str = _AI, generator: str = "Acme Painter", rest: int = 0) -> bytes:
    """A JUMBF store as C2PA lays it out, without a signature."""
    about = box(b"jumd", b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\0")
    # Letters follow the address: the type of the next text, and its name.
    actions = _cbor({"actions": [{"action": "c2pa.created", "digitalSourceType": uri, "when": "now"}]})
    claim = _cbor({"instanceID": "x", "claim_generator_info": {"name": generator, "version": "1.2"}})
    padding = box(b"free", bytes(rest))
    return box(b"jumb", about + padding + box(b"cbor", actions) + box(b"cbor", claim))


def _with_credentials(kind: str, store: bytes) -> bytes:
    content = encoded(scene(48), kind if kind != "HEIF" else "PNG")
    if kind == "JPEG":  # in portions, each with the head of the box
        portions = [store[8:][at : at + 60_000] for at in range(0, len(store) - 8, 60_000)]
        parts = [b"JP\0\1" + struct.pack(">I", n) + store[:8] + one for n, one in enumerate(portions, start=1)]
        return content[:2] + b"".join(segment(0xEB, one) for one in parts) + content[2:]
    if kind == "PNG":
        return with_chunk(content, b"caBX", store)
    if kind == "WEBP":
        chunk = b"C2PA" + struct.pack("<I", len(store)) + store + bytes(len(store) % 2)
        return content[:4] + struct.pack("<I", len(content) - 8 + len(chunk)) + content[8:] + chunk
    if kind == "TIFF":
        return encoded(scene(48), "TIFF", tiffinfo={52545: store})
    name = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    return box(b"ftyp", b"heic") + box(b"uuid", name + bytes(4) + b"manifest\0" + bytes(8) + store)


def declared(content: bytes) -> Declaration | None:
    return declared_by(taken_apart(content))


def _declared(content: bytes) -> Declaration:
    return some(declared(content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize("rest", [0, 150_000])
def test_content_credentials_are_found_in_every_container(kind: str, rest: int) -> None:
    found = _declared(_with_credentials(kind, _credentials(rest=rest)))
    assert (found.ai, found.source_types, found.generator) == (True, ("trainedAlgorithmicMedia",), "Acme Painter")
    seal = "content credentials of Acme Painter; signature not checked"
    assert found.words == f"declares AI (trainedAlgorithmicMedia, {seal})"
    other = _declared(_with_credentials(kind, _credentials(_TERMS + "digitalCapture")))
    assert (other.ai, other.words) == (False, f"declares digitalCapture ({seal})")


@pytest.mark.parametrize("rest", range(59_800, 60_000, 20))
def test_an_address_on_two_segments_of_a_jpeg_is_read(rest: int) -> None:
    assert _declared(_with_credentials("JPEG", _credentials(rest=rest))).source_types == ("trainedAlgorithmicMedia",)


def test_credentials_without_a_source_say_nothing_of_ai() -> None:
    found = _declared(_with_credentials("PNG", b"unreadable"))
    assert (found.ai, found.credentials, found.words) == (None, True, "has content credentials; signature not checked")


@pytest.mark.slow_except(
    "attribute-algorithmicallyEnhanced-False",
    "attribute-digitalCapture-False",
    "element-compositeSynthetic-True",
    "element-trainedAlgorithmicMedia-True",
)
@pytest.mark.parametrize(
    ("term", "ai"),
    [
        ("trainedAlgorithmicMedia", True), (_COMPOSITE, True), ("compositeSynthetic", True),
        ("algorithmicMedia", False), ("algorithmicallyEnhanced", False), ("digitalCapture", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["attribute", "element"])
def test_source_types_are_read_from_xmp_under_any_prefix(term: str, ai: bool, form: str) -> None:
    found = [_declared(_with_xmp(kind, _TERMS + term, form)) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]
    assert {(one.ai, one.source_types, one.credentials) for one in found} == {(ai, (term,), False)}
    assert found[0].words == (f"declares AI ({term}, XMP)" if ai else f"declares {term} (XMP)")


def _with_packet(kind: str, stated: bytes) -> bytes:
    return with_xmp(Image.fromarray(scene(48)), kind, stated)


def _with_xmp(kind: str, uri: str, form: str = "attribute") -> bytes:
    space, name = 'xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"', "a:DigitalSourceType"
    element = packet(space, f"<{name}>{uri}</{name}>")
    return _with_packet(kind, element if form == "element" else packet(f'{space} {name}="{uri}"'))


@pytest.mark.parametrize(("label", "ai", "what"), [("1", True, "AI"), ("2", None, "possibly AI"), ("9", None, "")])
def test_the_label_of_china_is_read(label: str, ai: bool | None, what: str) -> None:
    text = json.dumps({"Label": label, "ContentProducer": "x"}).replace('"', "&quot;")
    space = 'xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
    found = declared(_with_packet("JPEG", packet(space, f"<TC260:AIGC>{text}</TC260:AIGC>")))
    assert (found and found.ai) is ai
    assert (found.words if found else "") == (f"declares {what} (China's AIGC label)" if what else "")


def test_settings_of_generators_and_damaged_files_declare_nothing() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps({"text": _AI}))
    info.add_text("parameters", packet(f'xmlns:a="b" a:DigitalSourceType="{_AI}"').decode())
    info.add_text("declares", "AI")
    assert declared(encoded(scene(48), "PNG", pnginfo=info)) is None
    whole = _with_credentials("JPEG", _credentials())
    for end in range(0, len(whole), 7):
        declared(whole[:end])  # raises nothing


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    places = tmp_path / "photo.png", tmp_path / "edited.png"
    Image.fromarray(scene()).save(places[0])
    Image.fromarray(with_object(scene())).save(places[1])
    return places


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_a_result_with_an_ai_edit_declares_it(pair: tuple[Path, Path], ending: str) -> None:
    pair[1].write_bytes(with_chunk(pair[1].read_bytes(), b"caBX", _credentials()))
    keep(*pair).save(output := pair[0].with_name(f"kept.{ending}"))
    found = _declared(output.read_bytes())
    assert (found.ai, found.source_types, found.credentials) == (True, (_COMPOSITE,), False)


def test_the_mark_stands_with_the_other_xmp_and_only_on_what_differs(pair: tuple[Path, Path]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet('dc:format="x"').decode())
    Image.fromarray(scene()).save(pair[0], pnginfo=info)
    stated, unsaid = keep(*pair, ai=True), keep(*pair)
    names = {"dc:format": "x", "Iptc4xmpExt:DigitalSourceType": _TERMS + _COMPOSITE}
    assert properties(stated.kept.carried.xmp) == names
    assert unsaid.kept.carried.xmp == unsaid.original.carried.xmp
    same = keep(pair[0], pair[0], ai=True)
    assert (same.found, same.kept.carried.xmp) == ("identical", unsaid.original.carried.xmp)
    assert stated.composed(strength=0).kept.carried.xmp == unsaid.original.carried.xmp
    assert properties(stated.composed(strength=0.5).kept.carried.xmp) == names
    assert KeepRecord.from_json(stated.record.to_json(), "it").ai


def test_an_original_wholly_by_ai_still_states_so(pair: tuple[Path, Path]) -> None:
    pair[0].with_suffix(".webp").write_bytes(_with_xmp("WEBP", _AI))
    result = keep(pair[0].with_suffix(".webp"), with_object(scene(48), (24, 24), 8), ai=True)
    assert (result.found, result.kept.carried.xmp) == ("local change", result.original.carried.xmp)
    pair[0].write_bytes(with_chunk(pair[0].read_bytes(), b"caBX", _credentials()))
    kept = keep(*pair).kept  # its credentials are left out
    assert properties(kept.carried.xmp) == {"Iptc4xmpExt:DigitalSourceType": _TERMS + _COMPOSITE}


def test_a_format_without_xmp_is_reported(pair: tuple[Path, Path]) -> None:
    with pytest.warns(UserWarning, match=r"kept\.bmp does not say that AI took part"):
        keep(*pair, ai=True).save(pair[0].with_name("kept.bmp"))


def test_both_sides_are_reported(pair: tuple[Path, Path], command: Command) -> None:
    pair[1].write_bytes(with_chunk(pair[1].read_bytes(), b"caBX", _credentials()))
    stated = check(*pair).report.values["declares"]
    assert (stated["original"], stated["edited"]["ai"]) == (None, True)
    line = "edited      declares AI (trainedAlgorithmicMedia, content credentials of Acme Painter"
    assert line in command("check", *pair).out
    done = command("keep", *pair, "-o", pair[0].with_name("k.png"))
    assert line in done.out
    assert "original    " not in done.out


@pytest.mark.parametrize("kind", ["xmp", "APP1"])
@pytest.mark.parametrize("chunk_kind", [b"zTXt", b"tEXt"])
def test_the_declaration_in_imagemagicks_form_is_read(kind: str, chunk_kind: bytes, pair: tuple[Path, Path]) -> None:
    stated = packet(f'xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" a:DigitalSourceType="{_AI}"')
    head = b"http://ns.adobe.com/xap/1.0/\0" if kind == "APP1" else b""
    text = f"\n{kind}\n{len(stated):8}\n{(head + stated).hex()}\n".encode()
    data = b"\0" + zlib.compress(text) if chunk_kind == b"zTXt" else text
    pair[1].write_bytes(
        with_chunk(pair[1].read_bytes(), chunk_kind, f"Raw profile type {kind}".encode() + b"\0" + data)
    )
    assert _declared(pair[1].read_bytes()).ai
    keep(*pair).save(output := pair[0].with_name("k.png"))
    assert _declared(output.read_bytes()).source_types == (_COMPOSITE,)

"""Parts of HEIC and AVIF files, from their boxes."""

import re

from latentedit.photo.containers import Piece, boxes
from latentedit.photo.parts import Found, depth

_AUXILIARIES = {
    b"hdrgainmap": "HDR gain map", b"disparity": "depth map", b"auxid:2": "depth map", b"aux:depth": "depth map",
    b"portraiteffectsmatte": "portrait matte", b"semantic": "segmentation matte", b"stylesdeltamap": "style map",
}  # fmt: skip
_PICTURES = (b"hvc1", b"av01", b"grid", b"iovl", b"jpeg", b"avc1", b"vvc1", b"j2k1", b"unci", b"iden")


def parts_of_meta(content: bytes, meta: Piece) -> Found:
    """Parts that a box "meta" lists: depth, auxiliary and further images, thumbnails, credentials."""
    images, hidden = set[int](), set[int]()
    for one in boxes(content, meta.begin + 4, meta.end):
        data = one.of(content)
        if one.kind == b"iprp":
            if b"pixi" in data:
                at = data.index(b"pixi") + 9
                yield from depth(*data[at : at + 1] or (8,))
            for found in re.finditer(rb"auxC....((?:urn|https?)[ -~]{4,120})", data, re.DOTALL):
                is_alpha = b"auxid:1" in found[1] or b"alpha" in found[1]
                name = next((name for key, name in _AUXILIARIES.items() if key in found[1]), "further image")
                yield from () if is_alpha else [(name, b"")]
        elif one.kind == b"iinf":
            kinds = re.findall(rb"infe[\1\2\3]...(?:..|....)\0\0([a-z0-9 ]{4})", data, re.DOTALL)
            if b"tmap" in kinds:
                yield "HDR gain map", b""
            for entry in boxes(content, one.begin + (6 if data[:1] == b"\0" else 8), one.end):
                is_long = content[entry.begin] > 2
                number, body = _number_at(content, entry.begin + 4, is_long=is_long)
                is_shown = not content[entry.begin + 3] & 1
                images |= {number} if is_shown and content[body + 2 : body + 6] in _PICTURES else set()
            if b"c2pa" in data:
                yield "content credentials", b""
        elif one.kind == b"pitm":
            hidden.add(int.from_bytes(data[4:], "big"))
        elif one.kind == b"iref":
            for entry in boxes(content, one.begin + 4, one.end):
                is_long = data[0] > 0
                first, at = _number_at(content, entry.begin, is_long=is_long)
                others = {
                    _number_at(content, place, is_long=is_long)[0]
                    for place in range(at + 2, entry.end, 4 if is_long else 2)
                }
                hidden |= {first} if entry.kind in (b"thmb", b"auxl") else others if entry.kind == b"dimg" else set()
                if entry.kind == b"thmb":
                    yield "thumbnail (HEIF)", b""
    if images - hidden:
        yield "further image", b""


def _number_at(content: bytes, place: int, *, is_long: bool) -> tuple[int, int]:
    """The number of an item, in two bytes or four, and the place behind it."""
    end = place + (4 if is_long else 2)
    return int.from_bytes(content[place:end], "big"), end

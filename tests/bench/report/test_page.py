"""A page holds what it is given, asks nobody for anything, and its tables have their boxes."""

import base64
import re

from latentedit_bench.report.page import page, picture_uri

TABLE = "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"


def test_a_page_holds_what_it_is_given_and_asks_for_nothing() -> None:
    told = page("a <b> & c", f"<h1>1 < 2 {{{{ x }}}}</h1>{TABLE}{TABLE}")
    assert told.startswith("<!DOCTYPE html>")
    assert "<title>a &lt;b&gt; &amp; c</title>" in told
    assert "<h1>1 < 2 {{ x }}</h1>" in told, "trusted, and no template"
    assert told.count('<div class="table" tabindex="0"><table>') == told.count("</table></div>") == 2
    assert "default-src 'none'" in told
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)""", told) == []
    assert "://" not in told
    assert "@import" not in told


def test_a_picture_is_in_its_address() -> None:
    kind, _, content = picture_uri(b"\x89PNG\x00", "image/webp").partition(";base64,")
    assert kind == "data:image/webp"
    assert base64.b64decode(content) == b"\x89PNG\x00"
    assert picture_uri(b"").startswith("data:image/png;")

"""The viewer's HTML: the element with its data, the script that shows it, and a page of its own around one of them.

The data are JSON in a script element that no browser runs, and the script puts texts into the page as text only, so
that nothing in a caption or a name is ever taken for HTML.
"""

import base64
import functools
import hashlib
import html
import json
import string
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from latentedit.core.errors import OutputError
from latentedit_keep.files import check_place

_SCRIPTS = ("png.js", "layers.js", "viewer.js")
"""In this order; each uses what the ones before it define."""

_STYLE_PLACE = '"viewer.css"'
"""In the script: where the style sheet's text goes."""

_WITHOUT_SCRIPT = "These pictures are shown with JavaScript, by browsers of 2023 and later."

_PAGE_STYLE = "body{margin:0;background:#fff}@media(prefers-color-scheme:dark){body{background:#17191c}}"

_FRAME_HEIGHT_PX = 680
"""Of the viewer in a notebook's cell: picture, slider and buttons of a square picture at 1,000 px width."""


def is_page(path: str | Path) -> bool:
    """The name is that of a page."""
    return Path(path).suffix.lower() == ".html"


def check_page(path: str | Path, *, source: str | Path | None = None) -> None:
    """Find out whether a page could be written to a place, before any work is spent on it.

    Args:
        source: the picture that is edited, which must not be overwritten.

    Raises:
        OutputError: another ending than .html, a folder that is missing or cannot be written to, a name that is a
            folder, or the source itself.
    """
    if not is_page(path):
        raise OutputError(f"the page of a viewer ends in .html; got {Path(path).name!r}. Choose another name")
    check_place(path, source=source)


def viewer_element(data: Mapping[str, Any]) -> str:
    """One viewer, for a page that has `viewer_script` once.

    Args:
        data: of `View.data`.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    data_script = f'<script type="application/json">{text}</script>'
    return f"<latentedit-viewer>{data_script}<p>{_WITHOUT_SCRIPT}</p></latentedit-viewer>"


@functools.cache
def viewer_script() -> str:
    """The content of the script element that makes viewers work, wherever it stands in the page."""
    script = "".join(_resource(name) for name in _SCRIPTS).replace(_STYLE_PLACE, json.dumps(_resource("viewer.css")))
    return f'"use strict";\n(() => {{\n{script}}})();\n'


def viewer_page(data: Mapping[str, Any]) -> str:
    """A page that shows one viewer and asks nothing of anybody."""
    script = viewer_script()
    return string.Template(_resource("page.html")).substitute(
        title=html.escape(str(data["title"])),
        style=_PAGE_STYLE,
        style_hash=_hash(_PAGE_STYLE),
        script=script,
        script_hash=_hash(script),
        element=viewer_element(data),
    )


def viewer_iframe(page: str, title: str) -> str:
    """The page inside another one, which it can neither read nor change."""
    return (
        f'<iframe title="{html.escape(title)}" srcdoc="{html.escape(page)}" sandbox="allow-scripts allow-downloads" '
        f'style="display:block;width:100%;height:{_FRAME_HEIGHT_PX}px;border:0"></iframe>'
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _resource(name: str) -> str:
    return resources.files("latentedit.api.viewer").joinpath(name).read_text("utf-8")

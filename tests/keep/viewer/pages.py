"""Views for tests, and the contents of their pages."""

import base64
import io
import json
import re
from typing import Any

from PIL import Image

from latentedit.viewer import View, ViewerFrame
from tests.editors.edits import noise

HOSTILE = '</script><img src=x onerror=alert(1)> & "quoted" <!-- <script>'


def changed(source: Image.Image, box: tuple[int, int, int, int], seed: int) -> Image.Image:
    """The source with other noise in a box (left, top, right, bottom)."""
    image = source.copy()
    image.paste(noise(source.size, source.mode, seed).crop(box), box[:2])
    return image


def view_of(strengths: list[float], *, size: tuple[int, int] = (40, 30), mode: str = "RGB", **more: Any) -> View:
    """A view with another change at each strength; strength 0 is the source."""
    source = noise(size, mode)
    box = (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2)
    frames = [ViewerFrame(strength=one, image=changed(source, box, 1 + place)) for place, one in enumerate(strengths)]
    return View(source=source, frames=frames, **more)


def data_of(page: str) -> dict[str, Any]:
    """The data of the page's only viewer."""
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def opened(text: str) -> Image.Image:
    """An image stored in a page."""
    return Image.open(io.BytesIO(base64.b64decode(text)))


def rebuilt(report: dict[str, Any], layer: dict[str, Any]) -> Image.Image:
    """A whole image from the source and its layer, as the script assembles it."""
    source = opened(report["source"]["rgb"])
    if report["alpha"]:
        source.putalpha(opened(report["source"]["alpha"]))
    if not layer["rgb"]:
        return source
    left, top, width, height = layer["box"]
    part = opened(layer["rgb"])
    if report["alpha"]:
        box = (left, top, left + width, top + height)
        part.putalpha(opened(layer["alpha"]) if layer["alpha"] else source.getchannel("A").crop(box))
    source.paste(part, (left, top))
    return source

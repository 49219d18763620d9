"""The viewer's HTML: images as data, the script that shows them, and a page around one viewer.

The data is JSON in a script element that browsers do not run, and the script inserts every text as a text node, so
captions and names are never interpreted as HTML. The source is stored once; of every other image only the box in which
it differs, without loss.
"""

import base64
import functools
import hashlib
import html
import io
import json
import math
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from latentedit.core.errors import OutputError, ShapeError
from latentedit.core.files import check_place
from latentedit.photo.decoding import to_eight_bit
from latentedit.photo.saving import WRITABLE

MOST_PIXELS = 4_000_000  # most pixels of one image; larger ones are shown reduced
MOST_PIXELS_TOGETHER = 24_000_000  # most pixels of all boxes of a page: about 50 MB of photographs
_SCRIPTS = ("png.js", "layers.js", "viewer.js")  # each uses what the previous ones define
_WITHOUT_SCRIPT = "This viewer needs JavaScript and a browser of 2023 or later."
_PAGE_STYLE = "body{margin:0;background:#fff}@media(prefers-color-scheme:dark){body{background:#17191c}}"
_Box = tuple[int, int, int, int]  # left, top, width, height


def is_page(path: str | Path) -> bool:
    """Whether a file name is that of an HTML page."""
    return Path(path).suffix.lower() == ".html"


def check_page(path: str | Path, *, source: str | Path | None = None, sheets: bool = False) -> None:
    """Raise an `OutputError` if a page (or a sheet) could not be written there, or would overwrite the source image."""
    endings = (".html", *WRITABLE) if sheets else (".html",)
    if Path(path).suffix.lower() not in endings:
        raise OutputError(f"the suffix of {Path(path).name!r} is not supported here. Use {', '.join(endings)}")
    check_place(path, source=source)


def viewer_element(data: Mapping[str, Any]) -> str:
    """One viewer with the data of `View.data`, for a page that contains `viewer_script` once."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = f'<script type="application/json">{text}</script>'
    return f"<latentedit-viewer>{script}<p>{_WITHOUT_SCRIPT}</p></latentedit-viewer>"


@functools.cache
def viewer_script() -> str:
    """The script that defines the viewer element."""
    script = "".join(resource(name) for name in _SCRIPTS).replace('"viewer.css"', json.dumps(resource("viewer.css")))
    return f'"use strict";\n(() => {{\n{script}}})();\n'


def viewer_page(data: Mapping[str, Any]) -> str:
    """A page with one viewer that loads nothing from elsewhere."""
    parts = {"style": _PAGE_STYLE, "script": viewer_script()}
    hashes = {f"{name}_hash": _hash(text) for name, text in parts.items()}
    title, element = html.escape(str(data["title"])), viewer_element(data)
    return string.Template(resource("page.html")).substitute(parts | hashes, title=title, element=element)


def layers_of(images: Sequence[Image.Image], *, quality: int | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Images of one size as layers, the source first, and what they have in common: size, alpha channel, and notes."""
    # A layer has a "box" and the files "rgb" and "alpha" in base64, empty where they equal the source's: WebP if a
    # quality from 0 to 100 is given, otherwise PNG.
    sizes = sorted({image.size for image in images})
    if len(sizes) > 1:
        raise ShapeError(f"the images of a view must have one size; got {sizes}. Resize them to the source's")
    deep = next((image.mode for image in images if image.mode[0] in "IF"), "")
    notes = [f"Shown with 8 bits per channel; the image has mode {deep}."] if deep else []
    alpha = any("A" in to_eight_bit(image).mode for image in images)
    mode = "RGBA" if alpha else "RGB"
    images = [image if image.mode == mode else image.convert(mode) for image in map(to_eight_bit, images)]
    (width, height), boxes = images[0].size, [_box(images[0], image) for image in images[1:]]
    together = width * height + sum(box[2] * box[3] for box in boxes)
    scale = math.sqrt(min(1, MOST_PIXELS / (width * height), MOST_PIXELS_TOGETHER / together))
    if scale < 1:
        size = max(1, int(width * scale)), max(1, int(height * scale))
        images = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
        boxes = [_box(images[0], image) for image in images[1:]]
        why = f"at {width} x {height} the image is too large for a page."
        notes.append(f"Shown and saved at {size[0]} x {size[1]} pixels: {why}")
    source, size = images[0], images[0].size
    layers = [_layer(source, (0, 0, *size), alpha=alpha, quality=quality)]
    for image, box in zip(images[1:], boxes, strict=True):
        differs = alpha and ImageChops.difference(source.getchannel("A"), image.getchannel("A")).getbbox() is not None
        layers.append(_layer(image, box, alpha=differs, quality=quality))
    return layers, {"size": size, "alpha": alpha, "notes": notes}


def _box(source: Image.Image, image: Image.Image) -> _Box:
    """The box in which two images differ; empty if they are equal."""
    left, top, right, bottom = ImageChops.difference(source, image).getbbox(alpha_only=False) or (0, 0, 0, 0)
    return left, top, right - left, bottom - top


def _layer(image: Image.Image, box: _Box, *, alpha: bool, quality: int | None) -> dict[str, Any]:
    left, top, width, height = box
    if not width:
        return {"box": box, "rgb": "", "alpha": ""}
    part = image.crop((left, top, left + width, top + height))
    # Color and alpha are stored in two files because browsers premultiply colors by alpha, which loses levels.
    rgb = _encoded(Image.merge("RGB", part.split()[:3]), quality)
    return {"box": box, "rgb": rgb, "alpha": _encoded(part.getchannel("A"), None) if alpha else ""}


def _encoded(image: Image.Image, quality: int | None) -> str:
    file = io.BytesIO()
    image.save(file, "PNG" if quality is None else "WEBP", quality=quality)  # PNG ignores it
    return in_base64(file.getvalue())


def in_base64(content: bytes) -> str:
    """Bytes as text for a page."""
    return base64.b64encode(content).decode("ascii")


def _hash(text: str) -> str:
    return "sha256-" + in_base64(hashlib.sha256(text.encode("utf-8")).digest())


def resource(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files("latentedit.viewer").joinpath(name).read_text("utf-8")

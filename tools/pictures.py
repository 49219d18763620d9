"""The pictures that pages show: copied from a page's scratch folder or from ``results/``, without records and small."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from tools.running import ROOT

PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 400_000

_SHOWN = re.compile(r"[(\"](?:\.\./)*pictures/([\w./-]+)[)\"]")


def shown(page: str) -> list[Path]:
    """What a page refers to below ``docs/pictures``."""
    return [Path(place) for place in dict.fromkeys(_SHOWN.findall(page))]


def collect(page: str, name: str, scratch: Path) -> list[Path]:
    """Copy what a page shows from ``pictures/NAME/``, and what was drawn anew in ``results/``, where it has changed.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: the page shows what none of its commands made.
    """
    changed: list[Path] = []
    for place in shown(page):
        if place.parts[0] == name:
            source = _made(scratch / place.relative_to(name))
        elif place.parts[0] == "results" and (made := [one for one in _candidates(ROOT / place) if one.exists()]):
            source = made[0]
        else:
            continue
        if _copy(source, PICTURES / place):
            changed.append(place)
    return changed


def _candidates(wanted: Path) -> tuple[Path, Path]:
    """The file, and the PNG that it may be made from."""
    return wanted, wanted.with_suffix(".png")


def _made(wanted: Path) -> Path:
    """The file, or the PNG that it is to be made from."""
    for candidate in _candidates(wanted):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"no command made {wanted}")


def _copy(source: Path, target: Path) -> bool:
    """Whether the target was written; a picture of the same pixels stays as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".png":
        if target.exists() and target.read_bytes() == source.read_bytes():
            return False
        shutil.copy(source, target)
    else:
        with Image.open(source) as opened:
            picture = opened.convert("RGB")
        if target.exists() and _alike(picture, target):
            return False
        target.write_bytes(_encoded(picture, target.suffix))
    if target.stat().st_size > MOST_BYTES:
        raise ValueError(f"{target} takes {target.stat().st_size} bytes; {MOST_BYTES} are allowed")
    return True


def _encoded(picture: Image.Image, suffix: str) -> bytes:
    """The smallest of the ways to write it: plots are smaller, and sharper, without loss."""
    ways: list[dict[str, Any]] = [{"format": "PNG", "optimize": True}]
    if suffix == ".webp":
        ways = [{"format": "WEBP", "method": 6, **kind} for kind in ({"quality": 88}, {"lossless": True})]
    streams = [io.BytesIO() for _ in ways]
    for stream, way in zip(streams, ways, strict=True):
        picture.save(stream, **way)
    return min((stream.getvalue() for stream in streams), key=len)


def _alike(picture: Image.Image, target: Path) -> bool:
    """Whether the target shows the picture, but for what its compression loses."""
    now = _encoded(picture, target.suffix)
    with Image.open(target) as opened, Image.open(io.BytesIO(now)) as again:
        if opened.size != again.size:
            return False
        return ImageChops.difference(opened.convert("RGB"), again.convert("RGB")).getbbox() is None

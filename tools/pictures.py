"""The pictures that pages show: copied from a page's scratch folder or from ``results/``, without records and small."""

import io
import re
import shutil
from pathlib import Path

from PIL import Image

from tools.running import ROOT

PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 400_000

_SHOWN = re.compile(r"[(\"](?:\.\./)*pictures/([\w./-]+)[)\"]")


def shown(page: str) -> list[Path]:
    """What a page refers to below ``docs/pictures``."""
    return [Path(place) for place in dict.fromkeys(_SHOWN.findall(page))]


def collect(page: str, name: str, scratch: Path) -> None:
    """Copy what a page shows from ``pictures/NAME/``, and what was drawn anew in ``results/``, where it has changed.

    Raises:
        FileNotFoundError: the page shows what none of its commands made.
    """
    for place in shown(page):
        wanted = {name: scratch / Path(*place.parts[1:]), "results": ROOT / place}.get(place.parts[0])
        if wanted is not None:
            made = next((one for one in (wanted, wanted.with_suffix(".png")) if one.exists()), None)
            if made is not None:
                _copy(made, PICTURES / place)
            elif place.parts[0] == name:
                raise FileNotFoundError(f"no command made {wanted}")


def _copy(source: Path, target: Path) -> None:
    """A PNG becomes what the target is; a picture of the same pixels stays as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".png":
        shutil.copy(source, target)
    elif not target.exists() or _pixels(target.read_bytes()) != _pixels(_encoded(source, target.suffix)):
        target.write_bytes(_encoded(source, target.suffix))
    if target.stat().st_size > MOST_BYTES:
        raise ValueError(f"{target} takes {target.stat().st_size} bytes; {MOST_BYTES} are allowed")


def _encoded(source: Path, suffix: str) -> bytes:
    """The smallest of the ways to write it: plots are smaller, and sharper, without loss."""
    found: list[bytes] = []
    for way in ({"quality": 88}, {"lossless": True}) if suffix == ".webp" else ({"optimize": True},):
        stream = io.BytesIO()
        Image.open(source).convert("RGB").save(stream, suffix.removeprefix("."), **way)
        found.append(stream.getvalue())
    return min(found, key=len)


def _pixels(encoded: bytes) -> tuple[tuple[int, int], bytes]:
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    return picture.size, picture.tobytes()

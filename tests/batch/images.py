"""Tiny images in files."""

from pathlib import Path

from PIL import Image


def write_image(path: Path, size: tuple[int, int] = (6, 4), color: object = (10, 20, 30), mode: str = "RGB") -> Path:
    """An image of one color, in a folder that is created if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)  # type: ignore[arg-type]
    return path

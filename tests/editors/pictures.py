"""Pictures that tell their place in a series, and the frames of an animation as they were written."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence


def plain(index: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """A picture whose one colour tells its place."""
    return Image.new("RGB", size, (10 + 3 * index, 200 - 2 * index, 90))


def series(count: int, size: tuple[int, int] = (40, 40)) -> tuple[list[Image.Image], list[str]]:
    return [plain(index, size) for index in range(count)], [f"{index}\nread {index}" for index in range(count)]


def frames_of(path: Path, mode: str = "RGB") -> list[np.ndarray]:
    with Image.open(path) as file:
        return [np.asarray(frame.convert(mode)) for frame in ImageSequence.Iterator(file)]

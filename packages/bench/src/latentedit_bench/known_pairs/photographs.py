"""Photographs that come with installed libraries, split before anything was measured, and portraits at any size."""

import functools
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core.errors import MissingDependencyError, to_install
from latentedit_bench.known_pairs.drawn_pictures import DRAWN, drawn
from latentedit_keep.warp import cv2

Half = Literal["calibration", "test"]

Pixels = NDArray[np.uint8]
"""``[height, width, 3]``."""

PHOTOGRAPHS: dict[Half, tuple[str, ...]] = {
    "calibration": (
        "skimage/data/chelsea.png",
        "sklearn/datasets/images/china.jpg",
        "skimage/data/motorcycle_left.png",
        "skimage/data/retina.jpg",
        "skimage/data/camera.png",
        "skimage/data/gravel.png",
        "skimage/data/coins.png",
        "skimage/data/text.png",
        *DRAWN,
    ),
    "test": (
        "skimage/data/astronaut.png",
        "skimage/data/coffee.png",
        "skimage/data/rocket.jpg",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "sklearn/datasets/images/flower.jpg",
        "skimage/data/brick.png",
        "skimage/data/grass.png",
        "skimage/data/moon.png",
        "skimage/data/page.png",
        "skimage/data/cell.png",
        "skimage/data/clock_motion.png",
    ),
}
"""Files of Matplotlib, scikit-learn and scikit-image, and what is drawn; no photograph is in both halves."""

GRAIN_LEVELS = 1.5
"""Standard deviation of the noise that an enlarged photograph is given, as a sensor would."""


_LEAST_WINDOW = 0.6


@functools.cache
def photograph(name: str) -> Pixels:
    """One of `PHOTOGRAPHS`, in colour.

    Raises:
        MissingDependencyError: its library is not installed.
    """
    package, _, rest = name.partition("/")
    if package == "drawn":
        return np.rint(drawn(rest)).clip(0, 255).astype(np.uint8)
    with Image.open(_libraries()[package] / rest) as image:
        return np.asarray(image.convert("RGB"))


def _libraries() -> dict[str, Path]:
    """Where the libraries lie that bring photographs."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
        import skimage  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        import sklearn  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name}, which brings photographs, is not installed. {to_install('latentedit-bench[photographs]')}"
        ) from error
    modules = {"matplotlib": mpl, "skimage": skimage, "sklearn": sklearn}
    return {name: Path(str(module.__file__)).parent for name, module in modules.items()}


def scaled(pixels: Pixels, side: int, generator: np.random.Generator) -> Pixels:
    """A photograph with this longer side; one that grows gets grain, or it would be smoother than any camera's."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    if factor <= 1:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grown = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grain = generator.normal(0, GRAIN_LEVELS, (size[1], size[0], 1)) + generator.normal(0, 0.5, grown.shape)
    return np.rint(grown + grain).clip(0, 255).astype(np.uint8)


def cropped(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """A window of at least six tenths of each side."""
    height, width = pixels.shape[:2]
    rows, columns = (round(side * float(generator.uniform(_LEAST_WINDOW, 1))) for side in (height, width))
    top, left = int(generator.integers(height - rows + 1)), int(generator.integers(width - columns + 1))
    return pixels[top : top + rows, left : left + columns]

"""A synthetic photograph-like image, and the changes of an editor."""

import io
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 160
Found = TypeVar("Found")
WHERE = np.zeros((SIDE, SIDE), dtype=np.uint8)  # a mask around the object
WHERE[48:92, 68:112] = 255


def some(value: Found | None) -> Found:
    """A value that is there."""
    assert value is not None
    return value


def scene(side: int = SIDE, seed: int = 3, width: int | None = None) -> NDArray[np.uint8]:
    """Blobs, edges and fine texture in color, ``[side, width, 3]``."""
    width = side if width is None else width
    generator = np.random.default_rng(seed)
    image = np.full((side, width, 3), 120, dtype=np.float32)
    for _ in range(40):
        center = generator.integers(0, width), generator.integers(0, side)
        radius = int(generator.integers(4, max(6, side // 5)))
        color = [float(level) for level in generator.integers(40, 215, 3)]
        cv2.circle(image, [int(one) for one in center], radius, color, -1, cv2.LINE_AA)
    texture = cv2.GaussianBlur(generator.normal(0, 18, (side, width)).astype(np.float32), (0, 0), 1.0)
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + 2 * texture[..., None]
    return np.rint(image).clip(20, 235).astype(np.uint8)


def with_object(image: NDArray[np.uint8], center: tuple[int, int] = (90, 70), radius: int = 18) -> NDArray[np.uint8]:
    """A disc of another color, antialiased."""
    edited = image.copy()
    cv2.circle(edited, center, radius, (230, 60, 40), -1, cv2.LINE_AA)
    return edited


def moved(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image in an editor's frame; the matrix maps its pixels to those of the new image."""
    flags = cv2.INTER_LANCZOS4
    return cv2.warpAffine(image, matrix[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def similarity(
    shift: tuple[float, float], zoom: float = 1.0, degrees: float = 0.0, side: int = SIDE
) -> NDArray[np.float64]:
    """Zoom and rotation about the center, then a shift; 3 x 3."""
    middle = (SIDE - 1) / 2
    cos, sin = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = middle + np.array(shift) - linear @ np.array([middle, middle])
    return matrix


def cast(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Warmer, darker, flatter."""
    toned = 255 * np.array([1.03, 0.98, 0.94]) * (image / 255.0) ** 1.12
    return np.rint(0.95 * (toned - 128) + 128).clip(0, 255).astype(np.uint8)


def as_jpeg(image: NDArray[Any], quality: int = 90) -> NDArray[np.uint8]:
    """Rounded to 8 bits, encoded and decoded again."""
    content = encoded(np.rint(image).clip(0, 255).astype(np.uint8), "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(content)))


def encoded(image: Image.Image | NDArray[Any], kind: str, **options: Any) -> bytes:
    """The content of a file in a format of Pillow."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()

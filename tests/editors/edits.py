"""Images of noise: uniform, or about one color for the color model."""

import numpy as np
from PIL import Image


def noise(size: tuple[int, int] = (40, 30), mode: str = "RGB", seed: int = 0) -> Image.Image:
    """An image of uniform noise."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)))
    return Image.fromarray(values.astype(np.uint8))


def noisy(
    seed: int = 0,
    size: tuple[int, int] = (8, 8),
    mode: str = "RGB",
    *,
    mean: tuple[int, int, int] = (200, 76, 76),
    deviation: float = 8,
) -> Image.Image:
    """A noisy image of one color; red by default."""
    noise = np.random.default_rng(seed).normal(0, deviation, (size[1], size[0], 3))
    image = Image.fromarray((np.array(mean) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.random.default_rng(seed).integers(1, 255, size[::-1], dtype=np.uint8)))
    return image


def gray(seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """A noisy gray image, far enough from black and white that no change of color clips."""
    return noisy(seed, size, mode, mean=(128, 128, 128), deviation=4)


def levels(image: Image.Image) -> np.ndarray:
    """Pixel values as signed integers."""
    return np.asarray(image).astype(int)

"""Images that the color model knows, and what several tests do with them."""

import numpy as np
from PIL import Image


def noisy(
    seed: int = 0,
    size: tuple[int, int] = (8, 8),
    mode: str = "RGB",
    *,
    mean: tuple[int, int, int] = (200, 76, 76),
    deviation: float = 8,
) -> Image.Image:
    """A noisy image of one color; red unless another is said."""
    noise = np.random.default_rng(seed).normal(0, deviation, (size[1], size[0], 3))
    image = Image.fromarray((np.array(mean) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.random.default_rng(seed).integers(1, 255, size[::-1], dtype=np.uint8)))
    return image


def gray(seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """A noisy gray image, so far from black and white that no change of color clips it."""
    return noisy(seed, size, mode, mean=(128, 128, 128), deviation=4)


def levels(image: Image.Image) -> np.ndarray:
    """What can be subtracted."""
    return np.asarray(image).astype(int)

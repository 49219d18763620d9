"""Pictures that a model of portraits should not know: of photographs, textures, text, noise and plain shapes."""

import random
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from latentedit_bench.known_pairs.photographs import PHOTOGRAPHS, Half, photograph

SIDE = 192
"""Of pictures that are drawn here, in pixels."""

TEXTURES = ("brick.png", "grass.png", "gravel.png", "moon.png", "hubble_deep_field.jpg", "ihc.png", "coins.png")
"""Names of the photographs that show a texture."""

_SCAN = "skimage/data/page.png"

_WORDS = "the of and a to in is that it was for on are as with his they at be this from have or by one had not but what"


def photographs(count: int, seed: int, half: Half = "test") -> list[Image.Image]:
    """Photographs of things and people: each whole first, then squares of all of its side down to a quarter.

    Raises:
        MissingDependencyError: a library that brings them is not installed.
    """
    return _crops([name for name in PHOTOGRAPHS[half] if _last(name) not in TEXTURES and name != _SCAN], count, seed)


def textures(count: int, seed: int, half: Half = "test") -> list[Image.Image]:
    """Photographs of textures in the same way.

    Raises:
        MissingDependencyError: a library that brings them is not installed.
    """
    return _crops([name for name in PHOTOGRAPHS[half] if _last(name) in TEXTURES], count, seed)


def text_pages(count: int, seed: int) -> list[Image.Image]:
    """Lines of words in one ink on one paper; every third one of a scanned page.

    Raises:
        MissingDependencyError: the library that brings the scan is not installed.
    """
    scans = _crops([_SCAN], count - count * 2 // 3, seed)
    return [*scans, *(_page(random.Random(f"text/{seed}/{index}")) for index in range(count - len(scans)))]


def noises(count: int, seed: int) -> list[Image.Image]:
    """White noise, grey noise and noise whose amplitude falls as 1 / frequency, by turns."""
    return [_noise(index % 3, np.random.default_rng((seed, index))) for index in range(count)]


def shapes(count: int, seed: int) -> list[Image.Image]:
    """A plain colour, a gradient, or discs on a plain ground, by turns; discs twice as often."""
    return [_shape(index % 4, np.random.default_rng((seed, index))) for index in range(count)]


def scrambled(picture: Image.Image, generator: random.Random) -> Image.Image:
    """A picture in sixteen or sixty-four squares, each elsewhere."""
    cells = generator.choice((4, 8))
    pixels = np.asarray(picture)
    side = len(pixels) // cells
    squares = [
        pixels[y : y + side, x : x + side] for y in range(0, cells * side, side) for x in range(0, cells * side, side)
    ]
    generator.shuffle(squares)
    return Image.fromarray(np.vstack([np.hstack(squares[row * cells : (row + 1) * cells]) for row in range(cells)]))


STRANGE: Mapping[str, Callable[[int, int], list[Image.Image]]] = {
    "photographs": photographs,
    "textures": textures,
    "text pages": text_pages,
    "noise": noises,
    "plain, gradients, discs": shapes,
}
"""Kind to so many pictures of it, from a seed."""


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _crops(names: list[str], count: int, seed: int) -> list[Image.Image]:
    found: list[Image.Image] = []
    for index in range(count):
        name, turn = names[index % len(names)], index // len(names)
        picture = Image.fromarray(photograph(name))
        if turn:
            generator = random.Random(f"{name}/{seed}/{turn}")
            side = round(min(picture.size) * generator.choice((1.0, 0.7, 0.5, 0.35, 0.25)))
            left, top = generator.randint(0, picture.width - side), generator.randint(0, picture.height - side)
            picture = picture.crop((left, top, left + side, top + side))
        found.append(picture)
    return found


def _page(generator: random.Random) -> Image.Image:
    dark, light = (tuple(generator.randint(low, low + 60) for _ in range(3)) for low in (0, 190))
    paper, ink = (light, dark) if generator.random() < 0.8 else (dark, light)
    page = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(page)
    line = generator.randint(11, 20)
    for top in range(4, SIDE, line):
        draw.text((4, top), " ".join(generator.choices(_WORDS.split(), k=12)), fill=ink)
    return page


def _noise(kind: int, generator: np.random.Generator) -> Image.Image:
    if kind == 2:
        frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
        frequency[0, 0] = 1.0
        waves = np.fft.fft2(generator.normal(size=(3, SIDE, SIDE))) / frequency
        waves[:, 0, 0] = 0
        field = np.fft.ifft2(waves).real.transpose(1, 2, 0)
        levels = 128 + 48 * field / field.std()
    else:
        levels = generator.integers(0, 256, (SIDE, SIDE, 3 if kind == 0 else 1)).repeat(1 if kind == 0 else 3, axis=2)
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))


def _shape(kind: int, generator: np.random.Generator) -> Image.Image:
    ground, other = generator.integers(0, 256, 3), generator.integers(0, 256, 3)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    share: NDArray[np.floating] = np.zeros((SIDE, SIDE))
    if kind == 1:
        angle = generator.uniform(0, 2 * np.pi)
        share = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) / np.sqrt(2) + 0.5
    elif kind > 1:
        for _ in range(generator.integers(1, 4)):
            center, radius = generator.uniform(0.2, 0.8, 2), generator.uniform(0.08, 0.45)
            share = np.maximum(share, np.hypot(x - center[0], y - center[1]) < radius)
    levels = ground + share[..., None] * (other - ground)
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))

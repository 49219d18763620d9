"""Pictures with little detail that are drawn: few photographs that come with libraries are smooth."""

from collections.abc import Callable

import numpy as np

from latentedit_keep.warp import Picture, cv2, smoothed

_HEIGHT, _WIDTH = 480, 640


def _dusk(generator: np.random.Generator) -> Picture:
    """A smooth sky over a black ridge, a lit tower."""
    height = np.linspace(0, 1, _HEIGHT, dtype=np.float32)[:, None, None]
    picture = np.array([28, 34, 62]) * (1 - height) + np.array([196, 128, 84]) * height**2
    picture = np.repeat(picture.astype(np.float32), _WIDTH, axis=1)
    ridge = 0.8 * _HEIGHT + 12 * np.cumsum(generator.normal(0, 0.25, _WIDTH))
    ground = np.arange(_HEIGHT)[:, None] > ridge
    picture = np.where(smoothed(ground.astype(np.float32), 0.7)[..., None] > 0.5, np.float32(14), picture)
    tower = np.zeros((_HEIGHT, _WIDTH), dtype=np.float32)
    for step in range(14):
        cv2.line(tower, (400 + step % 2 * 24, 400 - 20 * step), (424 - step % 2 * 24, 380 - 20 * step), 1.0, 2)
    lit = np.array([230, 214, 170], dtype=np.float32)
    return _mixed(picture, lit, smoothed(tower, 0.6)) + _grain(generator, 0.9)


def _defocused(generator: np.random.Generator) -> Picture:
    """Nothing is sharp."""
    picture = np.full((_HEIGHT, _WIDTH, 3), 140, dtype=np.float32)
    for _ in range(25):
        centre = int(generator.integers(_WIDTH)), int(generator.integers(_HEIGHT))
        grey = float(generator.uniform(60, 200))
        colour = [grey + float(one) for one in generator.uniform(-15, 15, 3)]
        cv2.circle(picture, centre, int(generator.integers(20, 120)), colour, -1)
    return smoothed(picture, 9.0) + _grain(generator, 0.7)


def _stars(generator: np.random.Generator) -> Picture:
    """Points and smudges of light on black."""
    light = np.zeros((_HEIGHT, _WIDTH, 3), dtype=np.float32)
    for sigma, count, strength in ((0.8, 220, 300.0), (2.0, 60, 900.0), (7.0, 12, 6000.0)):
        points = np.zeros_like(light)
        rows, columns = generator.integers(_HEIGHT, size=count), generator.integers(_WIDTH, size=count)
        points[rows, columns] = strength * generator.exponential(1, (count, 1)) * generator.uniform(0.6, 1, (count, 3))
        light += smoothed(points, sigma)
    return 9 + light + _grain(generator, 2.5)


def _graphics(generator: np.random.Generator) -> Picture:
    """Flat areas with sharp edges."""
    picture = np.full((_HEIGHT, _WIDTH, 3), 235, dtype=np.float32)
    for index in range(18):
        colour = [float(one) for one in generator.uniform(20, 235, 3)]
        x, y = int(generator.integers(_WIDTH)), int(generator.integers(_HEIGHT))
        size = int(generator.integers(15, 110))
        if index % 2:
            cv2.circle(picture, (x, y), size, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x, y), (x + 2 * size, y + size), colour, -1)
    return picture


def _paper(generator: np.random.Generator) -> Picture:
    """Dark writing on paper that is lit from one side."""
    page = np.full((_HEIGHT, _WIDTH, 3), 228, dtype=np.uint8)
    for row in range(40, _HEIGHT - 20, 34):
        word = "".join(chr(int(one)) for one in generator.integers(97, 123, 30))
        cv2.putText(page, word, (24, row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (40, 38, 36), 2, cv2.LINE_AA)
    light = np.linspace(0.55, 1, _WIDTH, dtype=np.float32)[None, :, None]
    return smoothed(page.astype(np.float32), 0.9) * light + _grain(generator, 1.5)


def _mixed(picture: Picture, colour: Picture, mask: Picture) -> Picture:
    return picture + (colour - picture) * mask[..., None]


def _grain(generator: np.random.Generator, levels: float) -> Picture:
    return generator.normal(0, levels, (_HEIGHT, _WIDTH, 1)).astype(np.float32)


_KINDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "dusk": _dusk,
    "defocused": _defocused,
    "stars": _stars,
    "graphics": _graphics,
    "paper": _paper,
}

DRAWN = tuple(f"drawn/{name}" for name in _KINDS)


def drawn(name: str) -> Picture:
    """The picture of this name, without what comes before the slash; ``[480, 640, 3]``, always the same."""
    return _KINDS[name](np.random.default_rng(len(name)))

"""True edits: what a picture looks like after one thing in it was changed and nothing else."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_bench.known_pairs.photographs import Pixels, scaled
from latentedit_keep.warp import cv2

Plane = NDArray[np.floating[Any]]
"""``[height, width]``."""

Picture = NDArray[np.floating[Any]]
"""``[height, width, 3]`` in [0, 255]."""

Generator = np.random.Generator


def blob(shape: tuple[int, int], share: float, generator: Generator) -> Plane:
    """A smooth outline somewhere in the picture that covers about this share of it; 1 inside, antialiased."""
    height, width = shape
    radius = math.sqrt(share * height * width / math.pi)
    angles = np.linspace(0, 2 * math.pi, 180, endpoint=False)
    wave = np.ones_like(angles)
    for order in range(1, 6):
        wave += generator.normal(0, 0.22 / order) * np.cos(order * angles + generator.uniform(0, 2 * math.pi))
    wave = np.clip(wave, 0.35, 2.0)
    stretch = math.exp(generator.normal(0, 0.25))
    x = generator.uniform(0.1, 0.9) * width + radius * wave * stretch * np.cos(angles)
    y = generator.uniform(0.1, 0.9) * height + radius * wave / stretch * np.sin(angles)
    fine = 4
    canvas = np.zeros((height * fine, width * fine), dtype=np.uint8)
    points = np.stack([x, y], axis=1) * fine
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 255)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def blurred(plane: NDArray[np.floating[Any]], sigma: float) -> NDArray[np.floating[Any]]:
    """Under a Gaussian of this many pixels."""
    return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.01))


def paste(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """An object of another photograph."""
    mask = blob(picture.shape[:2], share, generator)
    return _mix(picture, _cover(other, picture.shape[:2], generator), mask)


def paste_with_shadow(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """The same, with the soft shadow that it throws."""
    mask = blob(picture.shape[:2], share, generator)
    side = max(picture.shape[:2])
    shift = np.array([[1, 0, generator.uniform(-0.05, 0.05) * side], [0, 1, generator.uniform(0.01, 0.05) * side]])
    thrown = cv2.warpAffine(mask, shift, (picture.shape[1], picture.shape[0]))
    depth = generator.uniform(0.25, 0.5)
    shaded = picture * (1 - depth * blurred(thrown, generator.uniform(0.008, 0.03) * side))[..., None]
    return _mix(shaded, _cover(other, picture.shape[:2], generator), mask)


def draw_object(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """A flat object of one colour, shaded a little."""
    del other
    mask = blob(picture.shape[:2], share, generator)
    height, width = mask.shape
    slope = generator.uniform(-25, 25, 2)
    light = slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)[None]
    return _mix(picture, generator.uniform(20, 235, 3) + light[..., None], mask)


def recolour(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """Another colour on what is there; its brightness stays, but for a little."""
    del other
    mask = blob(picture.shape[:2], share, generator)
    grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    colour = generator.uniform(0.3, 1.7, 3)
    colour = colour / (colour @ np.array([0.299, 0.587, 0.114])) * generator.uniform(0.75, 1.3)
    return _mix(picture, grey[..., None] * colour.astype(np.float32), mask)


def remove(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """What was there is gone: the surroundings grow in, with their grain."""
    del other
    mask = blob(picture.shape[:2], share, generator)
    hole = (cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0).astype(np.uint8)
    small = 256 / max(256, *mask.shape)
    size = (max(8, round(mask.shape[1] * small)), max(8, round(mask.shape[0] * small)))
    low = cv2.resize(np.rint(picture).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    gone = cv2.inpaint(low, cv2.resize(hole, size, interpolation=cv2.INTER_NEAREST), 5, cv2.INPAINT_TELEA)
    filled = cv2.resize(gone, mask.shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    fine = picture - blurred(picture, 1.5)
    grain = np.roll(fine, (int(0.37 * mask.shape[0]), int(0.23 * mask.shape[1])), axis=(0, 1))
    return _mix(picture, filled + 0.6 * grain, mask)


def relight(picture: Picture, other: Pixels, share: float, generator: Generator) -> Picture:
    """More or less light on a part, with a wide fade."""
    del other
    side = math.sqrt(share * picture.shape[0] * picture.shape[1])
    mask = blurred(blob(picture.shape[:2], share, generator), generator.uniform(0.08, 0.2) * side)
    gain = math.exp(generator.choice([-1, 1]) * generator.uniform(0.25, 0.6))
    return picture * (1 + (gain - 1) * mask)[..., None]


CHANGES: dict[str, Callable[[Picture, Pixels, float, Generator], Picture]] = {
    "paste": paste,
    "paste with shadow": paste_with_shadow,
    "drawn": draw_object,
    "recolour": recolour,
    "remove": remove,
    "relight": relight,
}
"""By name: a picture, another photograph, the share of the picture and a generator to the edited picture."""


def make_global(picture: Picture, other: Pixels, generator: Generator) -> Picture:
    """A change of the whole picture, as editors make on request: night, painting, another hue, drawing, weather."""
    kind = generator.integers(5)
    if kind == 0:  # night
        return picture * np.array([0.25, 0.3, 0.45], np.float32) + _light_spots(picture.shape[:2], generator)
    if kind == 1:  # a painting: flat areas of fewer colours, brush strokes
        flat = picture
        for _ in range(3):
            flat = cv2.bilateralFilter(flat, 9, 60, 7)
        step = 40.0
        strokes = blurred(generator.normal(0, 1, picture.shape[:2]).astype(np.float32), 2.0)
        return np.round(flat / step) * step + 90 * strokes[..., None]
    if kind == 2:  # the negative of hues: red for blue, inverted green
        return np.stack([picture[..., 2], 255 - picture[..., 1], picture[..., 0]], axis=-1)
    if kind == 3:  # snow and fog
        fog = blurred(generator.uniform(0, 1, picture.shape[:2]).astype(np.float32), 0.05 * max(picture.shape))
        fog = (fog - fog.min()) / max(float(np.ptp(fog)), 1e-6) * 0.5 + 0.35
        return picture * (1 - fog)[..., None] + 235 * fog[..., None]
    texture = _cover(other, picture.shape[:2], generator)  # seen through another picture
    return 0.5 * picture + 0.5 * texture


def true_mask(original: Picture, edited: Picture) -> Plane:
    """Where a true edit changed a picture: differences of 1 to 6 levels count more and more; small gaps are closed."""
    difference = np.abs(edited - original).max(axis=2)
    mask = np.clip((difference - 1) / 5, 0, 1).astype(np.float32)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc)


def _mix(picture: Picture, other: Picture, mask: Plane) -> Picture:
    return picture + (other.astype(np.float32) - picture) * mask[..., None]


def _cover(other: Pixels, shape: tuple[int, int], generator: Generator) -> Picture:
    """A photograph that covers a frame."""
    factor = max(shape[0] / other.shape[0], shape[1] / other.shape[1])
    grown = scaled(other, math.ceil(factor * max(other.shape[:2])) + 2, generator)
    return grown[: shape[0], : shape[1]].astype(np.float32)


def _light_spots(shape: tuple[int, int], generator: Generator) -> Picture:
    spots = np.zeros(shape, dtype=np.float32)
    for _ in range(12):
        spots = np.maximum(spots, blob(shape, 0.001, generator))
    return 150 * blurred(spots, 0.01 * max(shape))[..., None] * np.array([1, 0.9, 0.6], np.float32)

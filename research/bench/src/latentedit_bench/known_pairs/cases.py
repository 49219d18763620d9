"""Synthetic pairs of an original and an edited image with known changes and known damage."""

import dataclasses
import functools
import importlib.util
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core import MissingDependencyError, to_install
from latentedit.photo import Array
from latentedit.pixels import LOCAL, Found
from latentedit_bench.domains.base import scalable
from latentedit_bench.known_pairs.damages import Damage, Pixels, as_pixels, blurred, draw_damage, draw_more, grain
from latentedit_bench.known_pairs.opencv import cv2

Half = Literal["calibration", "test"]
Plane = NDArray[np.floating[Any]]  # ``[height, width]``

PHOTOGRAPHS: dict[Half, tuple[str, ...]] = {
    "calibration": (
        "skimage/data/chelsea.png", "sklearn/datasets/images/china.jpg", "skimage/data/motorcycle_left.png",
        "skimage/data/retina.jpg", "skimage/data/camera.png", "skimage/data/gravel.png", "skimage/data/coins.png",
        "skimage/data/text.png",
    ),
    "test": (
        "skimage/data/astronaut.png", "skimage/data/coffee.png", "skimage/data/rocket.jpg",
        "skimage/data/hubble_deep_field.jpg", "skimage/data/ihc.png",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg", "sklearn/datasets/images/flower.jpg",
        "skimage/data/brick.png", "skimage/data/grass.png", "skimage/data/moon.png", "skimage/data/page.png",
        "skimage/data/cell.png", "skimage/data/clock_motion.png",
    ),
}  # fmt: skip
"""Files of Matplotlib, scikit-learn and scikit-image; no photograph is in both halves."""

SEEDS: dict[Half, int] = {"calibration": 0, "test": 4}
"""The test half gets a new seed for every new measurement, because the previous rows were inspected."""

FOUND: dict[str, tuple[Found, ...]] = {  # findings that are right for each kind of case
    "local": LOCAL,
    "unchanged": ("nothing", "identical"),
    "reframed": ("reframed",),
    "global": ("redrawn", "background replaced"),
    "different": ("different images",),
}

DRAWN = "portrait"  # instead of the name of a photograph; each case has a different one
CHANGES = ("paste", "paste with shadow", "drawn", "recolor", "remove", "relight")
_GRAIN_LEVELS = 1.5  # standard deviation of noise in enlarged photographs, otherwise smoother than any camera's
_LUMA = np.array([0.299, 0.587, 0.114])
_CYCLE = (*("local",) * 13, "unchanged", "unchanged", "reframed", "global", "global", "different")
_PHOTOGRAPH_SIDES = (256, 320, 400, 480, 512, 640)
_PORTRAIT_SIDES = (128, 256, 512, 1024)
_PORTRAITS_SHARE = 0.2
_REMOVED_SHARE = 0.5  # share of drawn objects whose original and truth are swapped: the original has the strong edges
_LEAST_CHANGED = 0.003  # share of the image; an invisible change, such as more light on black, is drawn again


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One pair with its truth."""

    index: int  # within its half
    kind: str  # a key of `FOUND`
    what: str  # the change, in a word
    image: str  # name of the photograph, or `DRAWN`
    original: Pixels
    truth: Pixels  # the original after the edit and nothing else
    mask: Plane  # where that differs, in [0, 1]
    edited: Pixels  # the editor's output, of any size
    damage: Damage | None  # damage to the whole image; None for a different image
    grain: str = ""  # the editor's change of the grain, and its strength


def make_case(
    half: Half,
    index: int,
    *,
    side: int | None = None,
    kind: str = "",
    seed: int | None = None,
    least: float = 0.01,
    more: bool = False,
) -> Case:
    """The same case for the same arguments on every machine; if a side is given, only photographs.

    ``more`` adds the damage of `draw_more`; if the editor draws grain, half of the originals have grain of their own.
    """
    seed = SEEDS[half] if seed is None else seed
    generator = np.random.default_rng([seed, index])
    kind = kind or _CYCLE[index % len(_CYCLE)]
    name, original, truth, what = draw_edit(half, index, generator, side=side, kind=kind, seed=seed, least=least)
    own, damage = (
        np.random.default_rng([seed, index, 2]),
        draw_damage((original.shape[1], original.shape[0]), generator, reframed=kind == "reframed"),
    )
    if more:
        damage = draw_more(damage, own)
    edited = damage.apply(truth.astype(np.float32))
    if damage.grain and own.uniform() < 0.5:
        film = grain(original.astype(np.float32), damage.grain, own)
        original, truth = (as_pixels(image + film) for image in (original, truth))
    if kind == "different":
        damage, truth = None, original
    mask = true_mask(original.astype(np.float32), truth.astype(np.float32))
    return Case(
        index=index, kind=kind, what=what, image=name,
        original=original, truth=truth, mask=mask, edited=edited, damage=damage,
    )  # fmt: skip


def draw_edit(
    half: Half, index: int, generator: np.random.Generator, *, side: int | None, kind: str, seed: int, least: float
) -> tuple[str, Pixels, Pixels, str]:
    """Name of an image, the image, the same after an edit without any damage, and what was changed."""
    if side is None and kind != "different" and generator.uniform() < _PORTRAITS_SHARE:
        return DRAWN, *_portraits(half, seed, index, kind, generator)
    names = PHOTOGRAPHS[half]
    first, second = (names[place] for place in generator.choice(len(names), 2, replace=False))
    one, other = map(load_photograph, (first, second))
    return Path(first).stem, *_photographs(one, other, kind, generator, side, least)


@functools.cache
def load_photograph(name: str) -> Pixels:
    """One of `PHOTOGRAPHS`, in color."""
    package, _, rest = name.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingDependencyError(
            f"{package} (for its photographs) is not installed. {to_install('latentedit-bench[photographs]')}"
        )
    with Image.open(Path(found.origin).parent / rest) as image:
        return np.asarray(image.convert("RGB"))


def _photographs(
    first: Pixels, second: Pixels, kind: str, generator: np.random.Generator, side: int | None, least: float
) -> tuple[Pixels, Pixels, str]:
    """Original, truth and what was changed."""
    side = int(generator.choice(_PHOTOGRAPH_SIDES)) if side is None else side
    rows, columns = (round(length * float(generator.uniform(0.6, 1))) for length in first.shape[:2])
    top, left = (int(generator.integers(a - b + 1)) for a, b in zip(first.shape, (rows, columns), strict=False))
    original = scaled(first[top : top + rows, left : left + columns], side, generator)
    if kind == "different":
        return original, scaled(second, side, generator), "another photograph"
    plain = original.astype(np.float32)
    if kind == "global":
        return original, as_pixels(changed_globally(plain, second, generator)), "all of it"
    if kind != "local":
        return original, original, "nothing"
    truth, what = _changed(plain, second, generator, math.log10(least))
    if what == "drawn" and generator.uniform() < _REMOVED_SHARE:
        return as_pixels(truth), original, "drawn thing removed"
    return original, as_pixels(truth), what


def _changed(original: Array, other: Pixels, generator: np.random.Generator, least: float) -> tuple[Array, str]:
    """One change, sometimes two."""
    truth, what = original, ""
    while true_mask(original, np.rint(truth.clip(0, 255))).mean() < _LEAST_CHANGED:
        truth = original
        for _ in range(2 if generator.uniform() < 0.15 else 1):
            what = str(generator.choice(CHANGES))
            truth = changed(what, truth, other, 10 ** float(generator.uniform(least, -0.4)), generator)
    return truth, what


def _portraits(
    half: Half, seed: int, index: int, kind: str, generator: np.random.Generator
) -> tuple[Pixels, Pixels, str]:
    """A drawn portrait, the same portrait with one attribute changed, and that attribute."""
    domain = scalable("portraits")
    scene = domain.draw(half, index + 1, seed)[index]
    side = int(generator.choice(_PORTRAIT_SIDES))
    original = domain.render_at(scene, side)
    if kind == "global":
        other = load_photograph(PHOTOGRAPHS[half][int(generator.integers(len(PHOTOGRAPHS[half])))])
        return original, as_pixels(changed_globally(original.astype(np.float32), other, generator)), "all of it"
    if kind != "local":
        return original, original, "nothing"
    known = {name: values for name, values in domain.alternatives(scene).items() if name != "background"}
    for name in generator.permutation(sorted(known)):
        value = str(generator.choice(sorted(known[name])))
        truth = domain.render_at(domain.change(scene, {str(name): value}), side)
        if np.any(truth != original):
            return original, truth, str(name).replace("_", " ")
    raise AssertionError("no attribute of the portrait can be seen")


def scaled(pixels: Pixels, side: int, generator: np.random.Generator) -> Pixels:
    """A photograph scaled to a longer side, with grain if it is enlarged."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    if factor <= 1:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grown = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grain = generator.normal(0, _GRAIN_LEVELS, (size[1], size[0], 1)) + generator.normal(0, 0.5, grown.shape)
    return as_pixels(grown + grain)


def blob(shape: tuple[int, int], share: float, generator: np.random.Generator) -> Plane:
    """A smooth outline somewhere in the image that covers about this share of it; 1 inside, antialiased."""
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
    cv2.fillPoly(canvas, [np.rint(np.stack([x, y], axis=1) * fine).astype(np.int32)], 255)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def changed(what: str, image: Array, other: Pixels, share: float, generator: np.random.Generator) -> Array:
    """One of `CHANGES` on about this share of the image; "paste" takes from the other photograph."""
    mask = blob(image.shape[:2], share, generator)
    height, width = mask.shape
    if what == "paste with shadow":
        side = max(mask.shape)
        shift = np.array([[1, 0, generator.uniform(-0.05, 0.05) * side], [0, 1, generator.uniform(0.01, 0.05) * side]])
        thrown = cv2.warpAffine(mask, shift, (width, height))
        depth = generator.uniform(0.25, 0.5)
        image = image * (1 - depth * blurred(thrown, generator.uniform(0.008, 0.03) * side))[..., None]
    if what.startswith("paste"):
        new = covering(other, mask.shape, generator)
    elif what == "drawn":  # a flat object of one color, shaded a little
        slope = generator.uniform(-25, 25, 2)
        light = slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)[None]
        new = generator.uniform(20, 235, 3) + light[..., None]
    elif what == "recolor":  # brightness stays about the same
        color = generator.uniform(0.3, 1.7, 3)
        color = color / (color @ _LUMA) * generator.uniform(0.75, 1.3)
        new = (image @ _LUMA.astype(np.float32))[..., None] * color.astype(np.float32)
    elif what == "remove":
        new = _without(image, mask)
    else:  # more or less light, with a wide fade
        mask = blurred(mask, generator.uniform(0.08, 0.2) * math.sqrt(share * height * width))
        gain = math.exp(generator.choice([-1, 1]) * generator.uniform(0.25, 0.6))
        return image * (1 + (gain - 1) * mask)[..., None]
    return image + (new.astype(np.float32) - image) * mask[..., None]


def changed_globally(image: Array, other: Pixels, generator: np.random.Generator) -> Array:
    """A change of the whole image, such as editors make on request."""
    shape = image.shape[:2]
    kind = generator.integers(5)
    if kind == 0:  # night, with lights
        spots = np.zeros(shape, dtype=np.float32)
        for _ in range(12):
            spots = np.maximum(spots, blob(shape, 0.001, generator))
        lights = 150 * blurred(spots, 0.01 * max(shape))[..., None] * np.array([1, 0.9, 0.6], np.float32)
        return image * np.array([0.25, 0.3, 0.45], np.float32) + lights
    if kind == 1:  # a painting: flat areas of fewer colors, brush strokes
        for _ in range(3):
            image = cv2.bilateralFilter(image, 9, 60, 7)
        strokes = blurred(generator.normal(0, 1, shape).astype(np.float32), 2.0)
        return np.round(image / 40.0) * 40.0 + 90 * strokes[..., None]
    if kind == 2:  # other hues: red and blue swapped, green inverted
        return np.stack([image[..., 2], 255 - image[..., 1], image[..., 0]], axis=-1)
    if kind == 3:  # snow and fog
        fog = blurred(generator.uniform(0, 1, shape).astype(np.float32), 0.05 * max(image.shape))
        fog = (fog - fog.min()) / max(float(np.ptp(fog)), 1e-6) * 0.5 + 0.35
        return image * (1 - fog)[..., None] + 235 * fog[..., None]
    return 0.5 * image + 0.5 * covering(other, shape, generator)  # seen through another image


def true_mask(original: Array, edited: Array) -> Plane:
    """Where a true edit changed an image: a ramp from 1 to 6 levels, with small gaps closed."""
    difference = np.abs(edited - original).max(axis=2)
    mask = np.clip((difference - 1) / 5, 0, 1).astype(np.float32)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))


def _without(image: Array, mask: Plane) -> Array:
    """The image with the mask filled from its surroundings, with their grain."""
    hole = (cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0).astype(np.uint8)
    small = 256 / max(256, *mask.shape)
    size = (max(8, round(mask.shape[1] * small)), max(8, round(mask.shape[0] * small)))
    low = cv2.resize(np.rint(image).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    gone = cv2.inpaint(low, cv2.resize(hole, size, interpolation=cv2.INTER_NEAREST), 5, cv2.INPAINT_TELEA)
    filled = cv2.resize(gone, mask.shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    fine = image - blurred(image, 1.5)
    return filled + 0.6 * np.roll(fine, (int(0.37 * mask.shape[0]), int(0.23 * mask.shape[1])), axis=(0, 1))


def covering(other: Pixels, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """A photograph that covers a frame."""
    factor = max(shape[0] / other.shape[0], shape[1] / other.shape[1])
    grown = scaled(other, math.ceil(factor * max(other.shape[:2])) + 2, generator)
    return grown[: shape[0], : shape[1]].astype(np.float32)

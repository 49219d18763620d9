"""Plain pairs with known changes: grainy scenes of sky, fog, night, snow and walls, soft photographs, tiny images.

They have little that could be aligned but their grain, which an editor may keep, smooth away or replace, also in a part
of the image only. Scenes are drawn: a gradient, clouds, and things in front of it, one of which may be the change.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit.photo import Array
from latentedit_bench.known_pairs.cases import (
    CHANGES,
    PHOTOGRAPHS,
    Case,
    Half,
    Plane,
    blob,
    changed,
    load_photograph,
    true_mask,
)
from latentedit_bench.known_pairs.damages import Damage, Pixels, as_pixels, blurred, draw_damage, grain
from latentedit_bench.known_pairs.opencv import cv2

TREATMENTS = ("kept", "smoothed", "replaced", "smoothed in part", "replaced in part")
GRAIN_LEVELS = (1.5, 8.0)
SOFT_PX = (10.0, 18.0)  # sigma of the blur of soft photographs
TINY_PX = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

_GROUNDS = {  # colors at the top and at the bottom
    "sky": ((90, 140, 205), (185, 210, 230)), "dusk": ((60, 70, 120), (230, 160, 110)),
    "fog": ((168, 172, 175), (196, 198, 198)), "night": ((12, 14, 26), (34, 38, 58)),
    "snow": ((205, 214, 226), (240, 243, 246)), "wall": ((172, 158, 138), (190, 178, 160)),
}  # fmt: skip
_THINGS = ("bird", "moon", "house", "pole")
_SIDES = (320, 512, 768, 1024)
_ON_PLAIN = tuple(name for name in CHANGES if name != "remove")  # nothing can be removed from a plain ground
_THING_SHARES = (0.006, 0.04)  # shares of the image
_MOST = 0.2  # share of any other change
_SEEN = (8.0, 2.5)  # levels, and strengths of the grain, that half of a change differs by; others are drawn again
_TINY_STEP = (40, 120)  # levels by which a tiny image changes
_TINY_SHARE = 0.4  # largest share of its pixels that change, if it has more than two


def plain_case(half: Half, index: int, *, stratum: str, kind: str, seed: int, least: float) -> Case:
    """One of the strata grain, soft and tiny; kinds are unchanged, local and different."""
    generator = np.random.default_rng([seed, index, 7])
    if stratum == "tiny":
        return _tiny(half, index, kind, generator, least)
    side, other, tall = int(generator.choice(_SIDES)), float(generator.uniform(0.6, 1)), generator.uniform() < 0.3
    shape = (side, round(side * other)) if tall else (round(side * other), side)
    scene, lowest = (_scene, GRAIN_LEVELS[0]) if stratum == "grain" else (_soft, 0.0)
    sigma = float(generator.uniform(lowest, GRAIN_LEVELS[1] if stratum == "grain" else GRAIN_LEVELS[1] / 2))
    name, ground, full, thing = scene(half, shape, generator, rich=kind == "different")
    what, before, after = "nothing", full, full
    if kind == "local":
        mask = np.zeros(shape)
        while mask.mean() < least or _faint(before, after, mask > 0.5, sigma):
            what, before, after = _edit(half, ground, full, thing, generator, least)
            mask = true_mask(before, after)
    own = grain(before, sigma, generator)
    original, truth = as_pixels(before + own), as_pixels(after + own)
    if kind == "different":
        what, truth, again = "another of its kind", original, True
        while again:
            other, _, after, _ = scene(half, shape, generator, rich=True)
            again = stratum == "soft" and other == name  # two parts of one photograph are no strangers
        own = grain(after, sigma, generator)  # strangers have nothing in common
    treatment, damage = str(generator.choice(TREATMENTS)), draw_damage((shape[1], shape[0]), generator)
    while damage.codec == "autoencoder":  # bundled ones know drawings only, and paint over grain in green
        damage = draw_damage((shape[1], shape[0]), generator)
    seen = after + _treated(own, treatment, after, sigma, generator)
    return Case(
        index=index, kind=kind, what=what, image=name, original=original, truth=truth,
        mask=true_mask(before, after) if kind == "local" else np.zeros(shape, dtype=np.float32),
        edited=damage.apply(seen.clip(0, 255).astype(np.float32)), damage=damage,
        grain=f"{treatment}, {'below 4' if sigma < 4 else '4 and more'} levels",
    )  # fmt: skip


def _faint(before: Array, after: Array, mask: NDArray[np.bool_], sigma: float) -> bool:
    apart = np.abs(after - before).max(axis=2)[mask]
    return apart.size == 0 or float(np.median(apart)) < max(_SEEN[0], _SEEN[1] * sigma)


def _treated(own: Array, treatment: str, image: Array, sigma: float, generator: np.random.Generator) -> Array:
    """The grain that an editor leaves, or puts in its place; a part of the image has soft borders."""
    if treatment == "kept":
        return own
    new = np.zeros_like(own)
    if treatment.startswith("replaced"):
        new = grain(image, sigma * float(generator.uniform(0.5, 1.3)), generator)
    if not treatment.endswith("part"):
        return new
    part = blob(own.shape[:2], float(generator.uniform(0.2, 0.5)), generator)
    return own + blurred(part, 0.02 * max(own.shape))[..., None] * (new - own)


def _edit(
    half: Half, ground: Array, full: Array, thing: str, generator: np.random.Generator, least: float
) -> tuple[str, Array, Array]:
    """The change, and the image before and after: half of the changes of scenes are one thing more or less."""
    if thing and generator.uniform() < 0.5:
        return (f"{thing} added", ground, full) if generator.uniform() < 0.5 else (f"{thing} removed", full, ground)
    what, share = str(generator.choice(_ON_PLAIN)), 10 ** float(generator.uniform(math.log10(least), math.log10(_MOST)))
    other = load_photograph(str(generator.choice(PHOTOGRAPHS[half])))
    return what, full, changed(what, full, other, share, generator).clip(0, 255).astype(np.float32)


def _scene(
    half: Half,  # noqa: ARG001 (drawn, not of a photograph)
    shape: tuple[int, int],
    generator: np.random.Generator,
    *,
    rich: bool,
) -> tuple[str, Array, Array, str]:
    """Name, the scene without its last thing, with it, and that thing; a rich one has a horizon and more things."""
    name = str(generator.choice(sorted(_GROUNDS)))
    top, bottom = (np.array(color) + generator.normal(0, 8, 3) for color in _GROUNDS[name])
    down = np.linspace(0, 1, shape[0])[:, None, None]
    image = np.broadcast_to(top + (bottom - top) * down, (*shape, 3)).astype(np.float32)
    clouds = blurred(
        generator.normal(0, 1, shape).astype(np.float32), float(generator.uniform(0.04, 0.12)) * max(shape)
    )
    image = image + (float(generator.uniform(0, 12)) * clouds / max(float(clouds.std()), 1e-6))[..., None]
    if rich or generator.uniform() < 0.3:
        image = _with(image, _hills(shape, generator), generator)
    before, thing = image, ""
    for _ in range(int(generator.integers(3, 6)) if rich else int(generator.integers(1, 4))):
        before, thing = image, str(generator.choice(_THINGS))
        image = _with(image, _outline(thing, shape, generator), generator)
    return name, before.clip(0, 255), image.clip(0, 255), thing


def _with(image: Array, opacity: Plane, generator: np.random.Generator) -> Array:
    """A thing in front: darker or brighter than all of the image, and about as colorful."""
    middle = image.reshape(-1, 3).mean(0)
    level = generator.uniform(30, 110) if middle.mean() > 110 else generator.uniform(middle.mean() + 60, 230)
    color = (level + generator.normal(0, 12, 3)).astype(np.float32)
    return image + opacity[..., None] * (color - image)


def _outline(thing: str, shape: tuple[int, int], generator: np.random.Generator) -> Plane:
    """Opacity of a thing somewhere, antialiased and a little soft."""
    height, width = shape
    area = float(generator.uniform(*_THING_SHARES)) * height * width
    x, y, side = generator.uniform(0.15, 0.85) * width, generator.uniform(0.15, 0.8) * height, math.sqrt(area)
    if thing == "moon":
        turns = np.linspace(0, 2 * math.pi, 90, endpoint=False)
        points = side / math.sqrt(math.pi) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    elif thing == "house":
        points = side * np.array([(-0.5, 0.55), (-0.5, -0.2), (0, -0.75), (0.5, -0.2), (0.5, 0.55)])
    elif thing == "pole":
        points = side * np.array([(-0.11, 2.3), (-0.09, -2.3), (0.09, -2.3), (0.11, 2.3)])
    else:  # two wings
        along = np.linspace(-1, 1, 41)
        upper = -np.abs(np.sin(math.pi * along)) * 0.7
        wings = np.stack([along, upper], axis=1)
        points = 1.35 * side * np.concatenate([wings, (wings * (1, 0.45) + (0, 0.32))[::-1]])
    return _filled(points + np.array([x, y]), shape, generator)


def _hills(shape: tuple[int, int], generator: np.random.Generator) -> Plane:
    """A horizon in the lower half."""
    height, width = shape
    along = np.linspace(0, 1, 60)
    ridge = np.full_like(along, float(generator.uniform(0.65, 0.85)))
    for order in range(1, 6):
        ridge += generator.normal(0, 0.05 / order) * np.sin(math.pi * (2 * order * along + generator.uniform(0, 2)))
    top = np.stack([along * width, ridge * height], axis=1)
    return _filled(np.concatenate([top, [(width, 2 * height), (0, 2 * height)]]), shape, generator)


def _filled(points: NDArray[np.floating[Any]], shape: tuple[int, int], generator: np.random.Generator) -> Plane:
    canvas = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return blurred(canvas.astype(np.float32) / 255, float(generator.uniform(0.4, 1.2)))


def _soft(
    half: Half, shape: tuple[int, int], generator: np.random.Generator, *, rich: bool
) -> tuple[str, Array, Array, str]:
    """Like `_scene`: a photograph out of focus, every second one with fog, every third one with something in focus."""
    path = str(generator.choice(PHOTOGRAPHS[half]))
    sharp = cv2.resize(_crop(load_photograph(path), generator), shape[::-1], interpolation=cv2.INTER_CUBIC)
    image = blurred(sharp.astype(np.float32), float(generator.uniform(*SOFT_PX)))
    if generator.uniform() < 0.5:
        image = 200 + float(generator.uniform(0.3, 0.7)) * (image - 200)
    if not rich and generator.uniform() < 1 / 3:
        image = image + blob(shape, float(generator.uniform(0.03, 0.12)), generator)[..., None] * (sharp - image)
    return Path(path).stem, image, image.astype(np.float32).clip(0, 255), ""


def _crop(image: Pixels, generator: np.random.Generator) -> Pixels:
    rows, columns = (round(length * float(generator.uniform(0.6, 1))) for length in image.shape[:2])
    top, left = (int(generator.integers(a - b + 1)) for a, b in zip(image.shape, (rows, columns), strict=False))
    return image[top : top + rows, left : left + columns]


def _tiny(half: Half, index: int, kind: str, generator: np.random.Generator, least: float) -> Case:
    """A photograph at the size of an icon; the editor changes nothing but a rectangle, and may write a JPEG."""
    path, side = str(generator.choice(PHOTOGRAPHS[half])), int(generator.choice(TINY_PX))
    short = max(1, round(side * float(generator.uniform(0.6, 1))))
    size = (side, short) if generator.uniform() < 0.7 else (short, side)
    original = cv2.resize(_crop(load_photograph(path), generator), size, interpolation=cv2.INTER_AREA)
    truth = original.copy()
    if kind == "local":
        share = 10 ** float(generator.uniform(math.log10(least), math.log10(_TINY_SHARE)))
        lengths = [max(1, math.ceil(length * math.sqrt(share))) for length in original.shape[:2]]
        top, left = (int(generator.integers(a - b + 1)) for a, b in zip(original.shape, lengths, strict=False))
        part = truth[top : top + lengths[0], left : left + lengths[1]]
        step = float(generator.uniform(*_TINY_STEP)) * (1 if part.mean() < 128 else -1) + generator.normal(0, 10, 3)
        part[:] = as_pixels(part + step)
    damage = Damage(
        matrix=np.eye(3), size=size, gamma=np.ones(3), gain=np.ones(3), contrast=1, saturation=1,
        codec=str(generator.choice(["none", "jpeg"])), amount=float(generator.uniform()), seed=index,
    )  # fmt: skip
    return Case(
        index=index, kind=kind, what="rectangle" if kind == "local" else "nothing", image=Path(path).stem,
        original=original, truth=truth, mask=(truth != original).any(axis=2).astype(np.float32),
        edited=damage.apply(truth.astype(np.float32)), damage=damage,
    )  # fmt: skip

"""Pairs of an original and an editor's picture of which everything is known: what changed, and what was done to it."""

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentedit_bench.domains.base import scalable
from latentedit_bench.known_pairs.changes import CHANGES, Picture, make_global, true_mask
from latentedit_bench.known_pairs.damages import Damage, draw_damage
from latentedit_bench.known_pairs.photographs import PHOTOGRAPHS, Half, Pixels, cropped, photograph, scaled

Kind = Literal["local", "unchanged", "reframed", "global", "different"]

VERDICTS: dict[Kind, str] = {
    "local": "kept",
    "unchanged": "nothing changed",
    "reframed": "reframed: nothing to keep",
    "global": "global change: kept as a global change",
    "different": "different pictures",
}
"""The right answer of each kind."""

DRAWN = "portrait"
"""What a drawn portrait is called, another one in each case, where a photograph has its name."""

_LOCAL: tuple[Kind, ...] = ("local",)
_CYCLE: tuple[Kind, ...] = (*_LOCAL * 13, "unchanged", "unchanged", "reframed", "global", "global", "different")
"""Kinds of every so many cases; the longest is the one that the command is for."""

SEEDS: dict[Half, int] = {"calibration": 0, "test": 4}
"""The test half is drawn anew, from another number, each time that the command is measured again: the rows of the times
before, from 1 to 3, have been read."""

_PHOTOGRAPH_SIDES = (256, 320, 400, 480, 512, 640)
_PORTRAIT_SIDES = (128, 256, 512, 1024)
_PORTRAITS_SHARE = 0.2
_REMOVED_SHARE = 0.5
_LEAST_CHANGED = 0.003
"""Of the picture, in every case with a change."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One pair with its truth.

    Args:
        index: within its half.
        kind: what should be found.
        what: the change, in a word.
        picture: the photograph's name, or `DRAWN`.
        original: ``[height, width, 3]``.
        truth: the original after the edit and nothing else, the same shape.
        mask: where that differs, ``[height, width]`` in [0, 1].
        edited: what the editor gives back, of any size.
        damage: what it did to all of it; None for a different picture.
    """

    index: int
    kind: Kind
    what: str
    picture: str
    original: Pixels
    truth: Pixels
    mask: NDArray[np.floating[Any]]
    edited: Pixels
    damage: Damage | None


def make_case(half: Half, index: int, *, side: int | None = None) -> Case:
    """The same case for the same arguments on every machine.

    Args:
        half: whose photographs and portraits are used.
        index: of the case.
        side: the longer side of a photograph in pixels; drawn where it is not given.
    """
    generator = np.random.default_rng([SEEDS[half], index])
    kind = _CYCLE[index % len(_CYCLE)]
    if side is None and kind != "different" and generator.uniform() < _PORTRAITS_SHARE:
        name, original, truth, what = _portrait_pair(half, index, kind, generator)
    else:
        name, original, truth, what = _photograph_pair(half, kind, generator, side)
    size = (original.shape[1], original.shape[0])
    damage = draw_damage(size, generator, reframed=kind == "reframed")
    edited = damage.apply(truth.astype(np.float32))
    if kind == "different":
        truth = original
    return Case(
        index=index,
        kind=kind,
        what=what,
        picture=name,
        original=original,
        truth=truth,
        mask=true_mask(original.astype(np.float32), truth.astype(np.float32)),
        edited=edited,
        damage=None if kind == "different" else damage,
    )


def _photograph_pair(
    half: Half, kind: Kind, generator: np.random.Generator, side: int | None
) -> tuple[str, Pixels, Pixels, str]:
    first, second = generator.choice(len(PHOTOGRAPHS[half]), 2, replace=False)
    name = PHOTOGRAPHS[half][first]
    other = photograph(PHOTOGRAPHS[half][second])
    side = int(generator.choice(_PHOTOGRAPH_SIDES)) if side is None else side
    original = scaled(cropped(photograph(name), generator), side, generator)
    short = name.rsplit("/", 1)[-1].partition(".")[0]
    if kind == "different":
        return short, original, scaled(other, side, generator), "another photograph"
    truth, what = original.astype(np.float32), "nothing"
    if kind == "global":
        truth, what = make_global(truth, other, generator), "all of it"
    elif kind == "local":
        truth, what = _changed(truth, other, generator)
        if what == "drawn" and generator.uniform() < _REMOVED_SHARE:  # its edges are stronger than what stays
            original, truth, what = np.rint(truth).clip(0, 255).astype(np.uint8), original, "drawn thing removed"
    return short, original, np.rint(truth).clip(0, 255).astype(np.uint8), what


def _changed(original: Picture, other: Pixels, generator: np.random.Generator) -> tuple[Picture, str]:
    """One change, sometimes two; drawn again where it cannot be seen, as more light on black."""
    truth, what = original, ""
    while true_mask(original, np.rint(truth.clip(0, 255))).mean() < _LEAST_CHANGED:
        truth = original
        for _ in range(2 if generator.uniform() < 0.15 else 1):
            what = str(generator.choice(list(CHANGES)))
            truth = CHANGES[what](truth, other, 10 ** float(generator.uniform(-2, -0.4)), generator)
    return truth, what


def _portrait_pair(
    half: Half, index: int, kind: Kind, generator: np.random.Generator
) -> tuple[str, Pixels, Pixels, str]:
    """A drawn portrait and the same with one attribute at another value."""
    world = scalable("portraits")
    scene = world.draw(half, index + 1, SEEDS[half])[index]
    side = int(generator.choice(_PORTRAIT_SIDES))
    original = world.render_at(scene, side)
    if kind == "global":
        other = photograph(PHOTOGRAPHS[half][int(generator.integers(len(PHOTOGRAPHS[half])))])
        truth = make_global(original.astype(np.float32), other, generator)
        return DRAWN, original, np.rint(truth).clip(0, 255).astype(np.uint8), "all of it"
    if kind != "local":
        return DRAWN, original, original, "nothing"
    known = {name: values for name, values in world.alternatives(scene).items() if name != "background"}
    for name in generator.permutation(sorted(known)):
        value = str(generator.choice(sorted(known[name])))
        truth = world.render_at(world.change(scene, {str(name): value}), side)
        if np.any(truth != original):
            return DRAWN, original, truth, str(name).replace("_", " ")
    raise AssertionError("no attribute of the portrait can be seen")

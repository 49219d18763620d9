"""Made pairs of ten kinds with a known change, for what `check` and `keep` say with certainty: see `certainty.py`."""

import dataclasses
import importlib
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from latentedit.core import MissingDependencyError, to_install
from latentedit.photo import Array, Mask, Matrix, scaling, translation
from latentedit_bench.known_pairs.cases import Half, Plane, blob, changed, covering, draw_edit
from latentedit_bench.known_pairs.damages import Damage, Pixels, as_pixels, blurred
from latentedit_bench.known_pairs.pages import drawn_page, drawn_pattern, drawn_words, reworded

_SIDES = (320, 400, 480, 560, 640)
_LEAST = 0.006  # share of the image that an object covers at least
_CODECS = {"webp": "WEBP", "avif": "AVIF", "heic": "HEIF", "jpeg": "JPEG"}  # Pillow's names
_VIEW = (760, 420)  # width and height of a screenshot
_HEADER_PX = 56


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """The arguments of `check`, and the truth."""

    kind: str  # one of `KINDS`
    what: str  # the variant, in a few words
    image: str  # the photograph, or what was drawn
    original: Pixels
    edited: Pixels
    before: Pixels  # the original before it was saved
    after: Pixels  # the same with the edit and nothing else; equal if nothing was changed
    matrix: Matrix  # from the original's pixels to the edited image's
    mask: Mask | None = None  # the editor's own; None for a box around the change
    moved: bool = False  # whether a part lies elsewhere, so that what differs in place is no change of content


def make_pair(half: Half, index: int, *, seed: int) -> Pair:
    """The same for the same arguments on every machine. Kinds take turns; of most, every third pair has no change."""
    number, place = divmod(index, len(KINDS))
    kind, draw = list(KINDS.items())[place]
    return draw(kind, half, number, np.random.default_rng([seed, index]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Edit:
    image: str
    original: Pixels
    truth: Pixels


def _drawn(
    half: Half, generator: np.random.Generator, *, side: int | None = None, changes: bool = True, most: float = 0.15
) -> _Edit:
    """A photograph or a portrait, and one or two of the usual changes of at most a share of the image, or none."""
    kind = "local" if changes else "unchanged"
    if side is None and generator.uniform() < 0.5:  # without a side there are portraits, too
        side = int(generator.choice(_SIDES))
    while True:
        seed = int(generator.integers(2**31))
        name, original, truth, _ = draw_edit(half, 0, generator, side=side, kind=kind, seed=seed, least=_LEAST)
        apart = np.abs(truth.astype(int) - original).max(axis=2)
        if not changes or ((apart > 16).mean() > _LEAST / 2 and (apart > 1).mean() < most):
            return _Edit(image=name, original=original, truth=truth)


def drawn_damage(size: tuple[int, int], generator: np.random.Generator, *, most: float = 0.04) -> Damage:
    """A shift up to 3 px, a zoom, a light cast up to some strength, another size, JPEG; each in a part of the draws."""
    factor = float(generator.choice([1.0, generator.uniform(0.8, 1.25)]))
    edited = (round(size[0] * factor), round(size[1] * factor))
    zoom, spread = float(generator.choice([1.0, generator.uniform(0.985, 1.015)])), most * int(generator.integers(2))
    moved = np.diag([zoom, zoom, 1.0])
    moved[:2, 2] = (1 - zoom) * (np.array(size) - 1) / 2 + generator.uniform(-3, 3, 2) * (generator.uniform() < 0.7)
    return Damage(
        matrix=scaling(size, edited) @ moved, size=edited, gamma=np.exp(generator.normal(0, spread, 3)),
        gain=1 + generator.normal(0, spread / 2, 3), contrast=1 + float(generator.normal(0, spread / 2)),
        saturation=1 + float(generator.normal(0, spread)), codec=str(generator.choice(["jpeg", "jpeg", "none"])),
        amount=float(generator.uniform(0.07, 0.67)), seed=0,  # qualities 93 to 75
    )  # fmt: skip


def _no_damage(size: tuple[int, int], codec: str = "none") -> Damage:
    own: dict[str, Any] = {"gamma": np.ones(3), "gain": np.ones(3), "contrast": 1.0, "saturation": 1.0}
    return Damage(matrix=np.eye(3), size=size, codec=codec, amount=0.3, seed=0, **own)


def _pair(kind: str, what: str, image: str, before: Array, after: Array, damage: Damage, **more: Any) -> Pair:
    one, other = as_pixels(before), as_pixels(after)
    return Pair(
        kind=kind, what=what, image=image, original=one, edited=damage.apply(other.astype(np.float32)),
        before=one, after=other, matrix=damage.matrix, **more,
    )  # fmt: skip


def _tint(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """Colored light on a part; without a cast, since of two halves that were lit both ways none is the original's."""
    case = _drawn(half, generator, changes=False)
    image = 26 + case.original * np.float32(200 / 255)  # so that no light is clipped
    what, (height, width) = ("half", "third", "top", "corner", "ellipse")[number % 5], image.shape[:2]
    y, x = (axis / length for axis, length in zip(np.mgrid[:height, :width], (height, width), strict=True))
    ellipse = ((x - 0.5) / 0.35) ** 2 + ((y - 0.5) / 0.3) ** 2
    lit = {"half": x < 0.5, "third": x < 1 / 3, "top": y < 0.4, "corner": (x < 0.5) & (y < 0.5), "ellipse": ellipse < 1}
    soft = blurred(lit[what].astype(np.float32), 1.0 if number % 2 else 0.025 * max(width, height))
    color = generator.permutation([1, 0.35, -0.6]) * generator.choice([-1, 1]) * generator.uniform(8, 24)
    after = image + (number % 3 != 2) * soft[..., None] * color.astype(np.float32)
    sharpness, damage = "sharp" if number % 2 else "soft", drawn_damage((width, height), generator, most=0)
    return _pair(kind, f"{what}, {sharpness}", case.image, image, after, damage)


def _codec(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """Two exports of one document, in a quarter of the edit alone; up to three changes, both ways."""
    case, codec = _drawn(half, generator, changes=number % 3 != 2), list(_CODECS)[number % 4]
    before, after = case.original, case.truth.astype(np.float32)
    for _ in range((number % 3 != 2) * int(generator.choice([0, 0, 2]))):
        after = changed("drawn", after, before, 0.012, generator)
    pixels = [before, as_pixels(after)][:: int(generator.choice([-1, 1]))]
    quality, chroma = int(generator.integers(60, 96)), str(generator.choice(["4:4:4", "4:2:0"]))
    first, second = (exported(one, codec, quality, chroma) for one in pixels)
    return Pair(
        kind=kind, what=codec, image=case.image, original=pixels[0] if generator.uniform() < 0.25 else first,
        edited=second, before=pixels[0], after=pixels[1], matrix=np.eye(3),
    )  # fmt: skip


def exported(pixels: Pixels, codec: str, quality: int, chroma: str) -> Pixels:
    """Pixels that a file of that format shows. HEIC needs pillow-heif, no dependency because of its license."""
    file, options = io.BytesIO(), {"subsampling": chroma} if codec in ("avif", "jpeg") else {}
    if codec == "heic":
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise MissingDependencyError(f"HEIC cannot be written. {to_install('pillow-heif')}") from None
    Image.fromarray(pixels).save(file, format=_CODECS[codec], quality=quality, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def _screen(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:  # noqa: ARG001 (drawn)
    """A page under a header: in a frame, scrolled, with more rows of pixels, in a window; with a new word or button."""
    what, px = ("frame", "scrolled", "rows more", "title bar")[number % 4], int(generator.integers(11, 18))
    (width, height), scroll = _VIEW, int(generator.integers(20, 140)) * (number % 4 == 1)
    words = drawn_words((width, 2 * height), px, generator)
    other = reworded("word", words, generator, rows=(200, 380)) if number % 3 == 0 else words
    whole, after = (drawn_page((width, 2 * height), px, some).copy() for some in (words, other))
    if number % 3 == 1:
        left, top = int(generator.integers(40, width - 200)), int(generator.integers(200, 380))
        after[top : top + 28, left : left + 110] = generator.integers(20, 200, 3)
    rows = height + int(generator.choice([1, 2, 40])) * (what == "rows more")
    shown = after[scroll : scroll + rows].copy()
    for page in (whole, after, shown):
        page[:_HEADER_PX] = (38, 52, 84)
    x, y = 0, int(generator.integers(24, 40)) * (what == "title bar")
    if what == "frame":
        x = y = int(generator.integers(1, 7))
        shown = np.pad(shown, [(x, x), (x, x), (0, 0)], constant_values=int(generator.choice([0, 255])))
    elif what == "title bar":  # and in half of the draws, the window stays as large
        shown = np.pad(shown, [(y, 0), (0, 0), (0, 0)], constant_values=200)[: height + y * int(generator.integers(2))]
    if generator.uniform() < 0.5:
        shown = exported(shown, "jpeg", int(generator.integers(85, 96)), "4:4:4")
    before = whole[:height]
    return Pair(
        kind=kind, what=what, image="page", original=before, edited=shown, before=before, after=after[:height],
        matrix=translation(x, y), moved=scroll > 0,
    )  # fmt: skip


def _edge(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """A thing that the right or lower edge cuts, in all of the picture or in a crop from there, exact or damaged."""
    case = _drawn(half, generator, changes=False)
    before, (height, width) = case.original.astype(np.float32), case.original.shape[:2]
    after, radius = before, float(generator.uniform(0.08, 0.2)) * min(height, width)
    if number % 3 != 2:
        y, x = np.mgrid[:height, :width]
        along = float(generator.uniform(0.2, 0.8))
        inside = np.hypot(x - width, y - along * height) if number % 2 else np.hypot(x - along * width, y - height)
        color = 60 if before[inside < radius].mean() > 128 else 200
        after = before + blurred((inside < radius).astype(np.float32), 0.8)[..., None] * (color - before)
    damage = drawn_damage((width, height), generator) if number // 2 % 2 else _no_damage((width, height))
    what = "damaged" if number // 2 % 2 else "exact"
    if number // 4 % 2:
        what, (left, top) = f"crop, {what}", (int(generator.uniform(0.01, 0.1) * side) for side in (width, height))
        size = (damage.size[0] - left, damage.size[1] - top)
        damage = dataclasses.replace(damage, matrix=translation(-left, -top) @ damage.matrix, size=size)
    return _pair(kind, what, case.image, before, after, damage)


def _sixty(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """From 50 to 75 % replaced by another picture, in a rectangle or an outline."""
    case = other = _drawn(half, generator, changes=False)
    while other.image == case.image:
        other = _drawn(half, generator, changes=False)
    shape, share = case.original.shape[:2], float(generator.uniform(0.5, 0.75))
    part = np.zeros(shape, dtype=np.float32)
    if number % 2:
        part[: math.ceil(shape[0] * math.sqrt(share)), -math.ceil(shape[1] * math.sqrt(share)) :] = 1
    while not 0.5 <= part.mean() <= 0.77:
        part = blob(shape, 1.3 * share, generator)
    before, new = case.original.astype(np.float32), covering(other.original, shape, generator)
    damage = drawn_damage((shape[1], shape[0]), generator)
    what = "rectangle" if number % 2 else "outline"
    return _pair(kind, what, case.image, before, before + part[..., None] * (new - before), damage)


def _text(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:  # noqa: ARG001 (drawn)
    """Another word, letter or full stop in a page of text, or a word less, both ways."""
    what, px = ("word", "letter", "full stop", "word removed")[number % 4], int(generator.integers(8, 25))
    size = (int(generator.integers(360, 640)), int(generator.integers(300, 480)))
    words = drawn_words(size, px, generator)
    other = reworded(what, words, generator, rows=(0, size[1])) if number % 3 != 2 else words
    pages = [drawn_page(size, px, some).astype(np.float32) for some in (words, other)]
    before, after = pages[:: int(generator.choice([-1, 1]))]
    return _pair(kind, what, "page", before, after, drawn_damage(size, generator))


def _pattern(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """A pattern that goes on beyond the picture, moved by its period, or in a third by little; with a thing on it."""
    name, across = ("brick", "keyboard", "stripes")[(number + number // 3) % 3], 2 * int(generator.integers(14, 28))
    changes, (width, height) = number % 3 != 2, (560, 420)
    before = drawn_pattern(name, (width + across, height + across), across, generator).astype(np.float32)
    after, damage = before.copy(), drawn_damage((width, height), generator)
    if changes:
        other, part = _drawn(half, generator, changes=False).original, after[:height, :width]
        part[:] = changed("paste", part, other, float(generator.uniform(0.01, 0.05)), generator)
    if generator.uniform() < 2 / 3 and not (changes and name == "stripes"):  # moved stripes put the thing elsewhere
        moved = scaling((width, height), damage.size) @ translation(*-generator.permutation([across, 0]))
        damage = dataclasses.replace(damage, matrix=moved)
    pair, own = _pair(kind, name, name, before, after, damage), ("original", "before", "after")
    return dataclasses.replace(pair, **{one: getattr(pair, one)[:height, :width] for one in own})


def _panorama(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """A strip of a picture around the change, eight times as long as wide."""
    case = _drawn(half, generator, side=900, changes=number % 3 != 2, most=0.04)
    whole = np.stack([case.original, case.truth])
    tall, changed_at = bool(number % 2), np.argwhere((case.original != case.truth).any(axis=2))
    axis = 1 if tall else 0
    wide = whole.shape[2 - axis] // 8
    middle = int(np.median(changed_at[:, axis])) if len(changed_at) else whole.shape[1 + axis] // 2
    first = min(max(0, middle - wide // 2), whole.shape[1 + axis] - wide)
    before, after = np.take(whole, range(first, first + wide), axis=1 + axis).astype(np.float32)
    damage = drawn_damage((before.shape[1], before.shape[0]), generator)
    return _pair(kind, "tall" if tall else "wide", case.image, before, after, damage)


def _kept(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """An edit through a mask: exactly the change, or a little more; outside, a JPEG, or in a third more damage."""
    case, what = _drawn(half, generator), ("exact mask", "wider mask", "damaged")[number % 3]
    size = (case.original.shape[1], case.original.shape[0])
    damage = drawn_damage(size, generator) if what == "damaged" else _no_damage(size, "jpeg")
    differs: Plane = (case.original != case.truth).any(axis=2).astype(np.float32)
    own = blurred(differs, 2.0) > 0.01 if what == "wider mask" else differs > 0
    before, after = case.original.astype(np.float32), case.truth.astype(np.float32)
    return _pair(kind, what, case.image, before, after, damage, mask=own)


def _flat(kind: str, half: Half, number: int, generator: np.random.Generator) -> Pair:
    """A picture in few colors or four grays: drawn with these, or saved with them after the edit."""
    case, what = _drawn(half, generator, changes=number % 3 != 2), ("areas", "palette", "grays")[number // 3 % 3]
    count = 4 if what == "grays" else int(generator.choice([8, 16, 64]))
    palette = Image.fromarray(case.original).convert("L" if what == "grays" else "RGB").quantize(count).convert("RGB")

    def reduced(pixels: Pixels) -> Pixels:
        own = palette.quantize(count)
        return np.asarray(Image.fromarray(pixels).quantize(palette=own, dither=Image.Dither.NONE).convert("RGB"))

    before, after = (reduced(one).astype(np.float32) for one in (case.original, case.truth))
    damage = drawn_damage((before.shape[1], before.shape[0]), generator, most=0.04 if what == "areas" else 0)
    pair = _pair(kind, what, case.image, before, after, damage)
    return pair if what == "areas" else dataclasses.replace(pair, edited=reduced(pair.edited))


KINDS: dict[str, Callable[[str, Half, int, np.random.Generator], Pair]] = {
    "tint": _tint, "codec": _codec, "screen": _screen, "edge": _edge, "sixty": _sixty, "text": _text,
    "pattern": _pattern, "panorama": _panorama, "kept": _kept, "flat": _flat,
}  # fmt: skip

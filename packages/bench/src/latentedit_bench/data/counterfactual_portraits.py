"""Portraits whose every edit has a known right answer: the renderer makes it. A fixed, versioned set, nothing stored.

Each item is a portrait of one split, a change, and the rendered portrait with that change and nothing else:

- single: one attribute. Pairs and triples: two or three.
- graded: an attribute whose values have an order, one step along it, and on the same portrait as far as it goes.
- nothing: the target says in other words what the picture shows; the right answer is the picture.
- contradiction: the source caption is wrong about one attribute, and the target says what the picture shows anyway;
  the right answer is the picture.

The kinds take turns, so the first items of the set are a balanced smaller set.
"""

import dataclasses
import functools
import itertools
import random
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.api.manifests.items import Dataset, Item
from latentedit.core.errors import ConfigError
from latentedit_portraits.attributes import NONE, VALUES, Attributes, Split, draw_split
from latentedit_portraits.captions import COLOR_OF, CaptionStyle, draw_caption, full_caption
from latentedit_portraits.render import counterfactual, render_array

NAME = "counterfactual-portraits"
VERSION = "1"

SIZES: dict[str, int] = {"calibration": 240, "test": 480}
"""Items of each split; there is no training split, for nothing is trained on edits."""

Captions = Literal["full", "partial"]
"""Whether captions name every attribute, or what changes and about half of the others."""

ORDERED = {"skin": VALUES["skin"], "eyes": ("closed", "open", "wide")}
"""Attributes whose values have an order, and it."""

_CYCLE = ("single", "single", "pair", "single", "single", "graded", "triple", "single") * 2
_TURN = (*_CYCLE[:8], "nothing", *_CYCLE[8:], "contradiction")
"""Kinds in their turn; "graded" stands for two items of one portrait."""

_SEED = 2411
_KEPT = 128
"""Portraits that are kept once drawn: pictures and answers of two batches, each of which is asked for several times."""

_PARTIAL_SHARE = 0.5


def counterfactual_portraits(split: str, *, captions: str = "full") -> Dataset:
    """The set of one split: the same items in the same order on every machine.

    Args:
        split: "calibration", to choose settings, or "test", to report.
        captions: see `Captions`; partial ones leave the model to guess, as users do.

    Raises:
        ConfigError: another split or another kind of captions.
    """
    if split not in SIZES:
        raise ConfigError(f"expected the split to be one of {', '.join(SIZES)}; got {split!r}")
    if captions not in ("full", "partial"):
        raise ConfigError(f"expected the captions to be full or partial; got {captions!r}")
    items = tuple(itertools.islice(_items(cast("Split", split), captions), SIZES[split]))
    return Dataset(name=f"{NAME}/{split}/{captions}", version=VERSION, items=items)


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """A portrait, drawn when it is asked for."""

    attributes: Attributes

    def __call__(self) -> Image.Image:
        """The picture, 128 x 128."""
        return Image.fromarray(_drawn(self.attributes))

    def fingerprint(self) -> str:
        """What is drawn."""
        return "|".join(getattr(self.attributes, name) for name in VALUES)


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedArea:
    """Where two portraits differ at all."""

    source: Attributes
    truth: Attributes

    def __call__(self) -> NDArray[np.bool_]:
        """``[128, 128]``, True where a channel differs by one level or more."""
        return (_drawn(self.source) != _drawn(self.truth)).any(axis=2)

    def fingerprint(self) -> str:
        """Both portraits."""
        return f"{Rendered(self.source).fingerprint()}/{Rendered(self.truth).fingerprint()}"


@functools.lru_cache(maxsize=_KEPT)
def _drawn(attributes: Attributes) -> NDArray[np.uint8]:
    """``[128, 128, 3]``, not to be written to."""
    drawn = render_array(attributes)
    drawn.setflags(write=False)
    return drawn


def _items(split: Split, captions: Captions) -> Iterator[Item]:
    portraits = iter(draw_split(split, 2 * SIZES[split], _SEED))
    singles = itertools.cycle(VALUES)
    ordered = itertools.cycle(ORDERED)
    for number, kind in enumerate(itertools.cycle(_TURN)):
        generator = random.Random(f"{NAME}/{VERSION}/{split}/{number}")
        if kind == "graded":
            name = next(ordered)
            source = next(item for item in portraits if getattr(item, name) in ORDERED[name][:-2])
            places = ORDERED[name]
            place = places.index(getattr(source, name))
            for steps in (1, len(places) - 1 - place):
                change = {name: places[place + steps]}
                yield _item(split, captions, kind, number, source, change, suffix=f"-{steps}")
            continue
        source = next(portraits)
        if kind in ("nothing", "contradiction"):
            yield _still(split, captions, kind, number, source, generator)
            continue
        count = {"single": 1, "pair": 2, "triple": 3}[kind]
        names = _fields(source, next(singles), count, generator)
        yield _item(split, captions, kind, number, source, {n: _other(source, n, generator) for n in names})


def _fields(source: Attributes, first: str, count: int, generator: random.Random) -> list[str]:
    """Attributes to change, none of which decides about another: a part and its own colour never both."""
    able = [name for name in VALUES if getattr(source, name) != NONE or name not in COLOR_OF.values()]
    if first not in able:  # the colour of hair that is not there: change that there is none
        first = next(part for part, color in COLOR_OF.items() if color == first)
    chosen = [first]
    while len(chosen) < count:
        name = generator.choice(able)
        tied = {COLOR_OF.get(name), *(part for part, color in COLOR_OF.items() if color == name)}
        if name not in chosen and not tied & set(chosen):
            chosen.append(name)
    return chosen


def _other(source: Attributes, name: str, generator: random.Random) -> str:
    values = [value for value in VALUES[name] if value != getattr(source, name)]
    if name in COLOR_OF.values():
        values = [value for value in values if value != NONE]
    return generator.choice(values)


def _item(
    split: Split,
    captions: Captions,
    kind: str,
    number: int,
    source: Attributes,
    change: dict[str, str],
    *,
    suffix: str = "",
) -> Item:
    truth = counterfactual(source, change)
    texts = (full_caption(source), full_caption(truth))
    name = f"{split}-{number:03d}"
    if captions == "partial":
        texts = _partial(*texts, name)
    asked = source.differences(truth)
    return Item(
        id=f"{name}{suffix}",
        group=name,
        kind=kind,
        picture=Rendered(source),
        source_caption=texts[0],
        target_caption=texts[1],
        truth=Rendered(truth),
        mask=ChangedArea(source, truth),
        about={"change": "+".join(change), "asked": ",".join(asked)},
    )


def _still(
    split: Split, captions: Captions, kind: str, number: int, source: Attributes, generator: random.Random
) -> Item:
    """An item whose right answer is the picture itself."""
    said = full_caption(source)
    if kind == "nothing":
        style = CaptionStyle(empty=0.0, full=1.0, drop=0.0, canonical=0.3, ordered=1.0)
        texts, change = (said, draw_caption(source, generator, style)), "words"
    else:
        change = _fields(source, generator.choice(list(VALUES)), 1, generator)[0]
        texts = (full_caption(counterfactual(source, {change: _other(source, change, generator)})), said)
    name = f"{split}-{number:03d}"
    if captions == "partial" and kind == "contradiction":
        texts = _partial(*texts, name)
    return Item(
        id=name,
        group=name,
        kind=kind,
        picture=Rendered(source),
        source_caption=texts[0],
        target_caption=texts[1],
        truth=Rendered(source),
        mask=ChangedArea(source, source),
        about={"change": change, "asked": ""},
    )


def _partial(source: str, target: str, name: str) -> tuple[str, str]:
    """Both captions without about half of the phrases that they share."""
    generator = random.Random(f"{NAME}/partial/{name}")
    lead = "a person with "
    old, new = (text.removeprefix(lead).split(", ") for text in (source, target))
    kept = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b or generator.random() >= _PARTIAL_SHARE]
    return lead + ", ".join(old[i] for i in kept), lead + ", ".join(new[i] for i in kept)

"""Counterfactual items: scenes of a domain with edits whose right answer is rendered. A fixed, versioned set.

Nothing is stored. Each item is a scene of one split, a change, and the rendered scene with that change alone:

- single: one attribute. Pairs and triples: two or three.
- graded: an attribute whose values have an order, one step along it, and on the same scene as far as it goes.
- nothing: the target paraphrases the source; the right answer is the image.
- contradiction: the source caption is wrong about one attribute, which the target states correctly; the right answer
  is the image.

Kinds alternate, so the first items are a smaller balanced set.
"""

import dataclasses
import functools
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit.core import ConfigError
from latentedit_bench.data.items import Dataset, Item
from latentedit_bench.domains.base import attribute_differences, full_caption, load_domain
from latentedit_bench.domains.domain import Domain, Lit, Scene, Split

PREFIX = "counterfactual-"  # before a domain's name: what the set is called
VERSION = "2"
SIZES: dict[str, int] = {"calibration": 240, "test": 480}  # items per split; no model is trained on edits

Texts = tuple[str, str]  # source and target captions
Captions = Literal["full", "partial", "completed", "paraphrased", "wrong"]
"""All attributes; what changes and about half of the others; the same, completed from the image; all, in other words;
all, one of them wrong in both captions. "nothing" keeps its two full captions."""

_CYCLE = ("single", "single", "pair", "single", "single", "graded", "triple", "single") * 2
_TURN = (*_CYCLE[:8], "nothing", *_CYCLE[8:], "contradiction")  # "graded" stands for two items of one scene
DRAW = 2412  # the default
_KEPT = 128  # cached renders, those of two batches: 100 MB at 512 pixels
_PARTIAL_SHARE = 0.5  # probability that partial captions leave out a shared phrase


def counterfactual(name: str, split: str, *, captions: str = "full", draw: int = DRAW) -> Dataset:
    """The set of one domain and split, the same on every machine; another draw has other scenes and changes."""
    if split not in SIZES:
        raise ConfigError(f"the split must be one of {', '.join(SIZES)}; got {split!r}")
    if captions not in get_args(Captions):
        raise ConfigError(f"captions must be one of {', '.join(get_args(Captions))}; got {captions!r}")
    domain, label = load_domain(name), split if draw == DRAW else f"{split}{draw}"
    maker = _Maker(
        domain=domain,
        scenes=domain.draw(cast("Split", split), 2 * SIZES[split], draw),
        captions=cast("Captions", captions),
        seed=f"{PREFIX}{name}/{VERSION}/{label}",
        label=label,
    )
    items = tuple(itertools.islice(maker.items(), SIZES[split]))
    return Dataset(name=f"{PREFIX}{name}/{label}/{captions}", version=VERSION, items=items)


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """A scene of a domain, rendered on use."""

    scene: Scene
    domain: str

    def __call__(self) -> Image.Image:
        """The image."""
        return Image.fromarray(_drawn(self.domain, self.scene))

    def fingerprint(self) -> str:
        """The values of the scene."""
        return "|".join(load_domain(self.domain).attributes(self.scene).values())


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedArea:
    """Where two scenes of one domain differ at all; see `Rendered`."""

    source: Scene
    truth: Scene
    domain: str

    def __call__(self) -> NDArray[np.bool_]:
        """``[h, w]``, True where a channel differs by one level or more."""
        before, after = (_drawn(self.domain, one) for one in (self.source, self.truth))
        return (before != after).any(axis=2)

    def fingerprint(self) -> str:
        """Both scenes."""
        return "/".join(Rendered(one, self.domain).fingerprint() for one in (self.source, self.truth))


def side_effects(item: Item) -> NDArray[np.bool_] | None:
    """Where the right answer differs only as a consequence of the change, ``[h, w]``; None if it is unknown."""
    before, after = item.image, item.truth
    if not (isinstance(before, Rendered) and isinstance(after, Rendered)):
        return None
    domain = load_domain(before.domain)
    if not isinstance(domain, Lit):
        return None
    drawn = (_drawn(one.domain, one.scene) for one in (before, after))
    return domain.side_effects(before.scene, after.scene, *drawn)


@functools.lru_cache(maxsize=_KEPT)
def _drawn(domain: str, scene: Scene) -> NDArray[np.uint8]:
    """``[h, w, 3]``, not to be written to."""
    drawn = load_domain(domain).render(scene)
    drawn.setflags(write=False)
    return drawn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Makes items from scenes of one domain; ids begin with the label."""

    domain: Domain
    scenes: Sequence[Scene]
    captions: Captions
    seed: str
    label: str

    def items(self) -> Iterator[Item]:
        domain, scenes = self.domain, iter(self.scenes)
        singles, ordered = itertools.cycle(domain.values), itertools.cycle(domain.ordered)
        turn = [kind for kind in _TURN if domain.ordered or kind != "graded"]
        for number, kind in enumerate(itertools.cycle(turn)):
            generator = random.Random(f"{self.seed}/{number}")
            if kind == "graded":
                yield from self._graded(number, next(ordered), scenes)
                continue
            source = next(scenes)
            if kind in ("nothing", "contradiction"):
                yield self._still(kind, number, source, generator)
                continue
            names = self._fields(source, next(singles), {"single": 1, "pair": 2, "triple": 3}[kind], generator)
            able = domain.alternatives(source)
            yield self._changed(kind, number, source, {name: generator.choice(able[name]) for name in names})

    def _graded(self, number: int, name: str, scenes: Iterator[Scene]) -> Iterator[Item]:
        """Steps along an order, the last all the way, from the next scene that has two steps or more before it."""
        places = self.domain.ordered[name]
        source = next(one for one in scenes if self.domain.attributes(one)[name] in places[:-2])
        place = places.index(self.domain.attributes(source)[name])
        most = len(places) - 1 - place
        for steps in (1, most):
            yield self._changed("graded", number, source, {name: places[place + steps]}, suffix=f"-{steps}")

    def _fields(self, source: Scene, first: str, count: int, generator: random.Random) -> list[str]:
        """Attributes to change that do not depend on each other: never both a part and its color."""
        able, part_of = list(self.domain.alternatives(source)), self.domain.part_of
        if first not in able:  # the color of missing hair: change whether there is hair
            first = part_of[first]
        chosen = [first]
        while len(chosen) < count:
            dependent = {part_of.get(name) for name in chosen}
            dependent |= {own for own, part in part_of.items() if part in chosen}
            if not set(able) - dependent - {*chosen}:
                break
            name = generator.choice(able)
            if name not in dependent and name not in chosen:
                chosen.append(name)
        return chosen

    def _changed(self, kind: str, number: int, source: Scene, change: Mapping[str, str], *, suffix: str = "") -> Item:
        truth = self.domain.change(source, change)
        requested = attribute_differences(self.domain, source, truth)
        about = {"change": "+".join(change), "requested": ",".join(requested)}
        return self._item(kind, number, (source, truth), about, self._texts(source, truth, number), suffix)

    def _still(self, kind: str, number: int, source: Scene, generator: random.Random) -> Item:
        """An item whose right answer is the image itself."""
        domain = self.domain
        if kind == "nothing":
            texts = (full_caption(domain, source), domain.paraphrase(source, generator))
            return self._item(kind, number, (source, source), {"change": "words", "requested": ""}, texts)
        name = self._fields(source, generator.choice(list(domain.values)), 1, generator)[0]
        stated = domain.change(source, {name: generator.choice(domain.alternatives(source)[name])})
        about = {"change": name, "requested": ""}
        return self._item(kind, number, (source, source), about, self._texts(stated, source, number))

    def _item(
        self, kind: str, number: int, shown: Sequence[Scene], about: Mapping[str, str], texts: Texts, suffix: str = ""
    ) -> Item:
        """An item by its image and answer, and by its captions."""
        name, (source, truth) = f"{self.label}-{number:03d}", shown
        return Item(
            id=f"{name}{suffix}",
            group=name,
            kind=kind,
            image=Rendered(source, self.domain.name),
            source_caption=texts[0],
            target_caption=texts[1],
            truth=Rendered(truth, self.domain.name),
            mask=ChangedArea(source, truth, self.domain.name),
            complete=self.captions == "completed",
            about=about,
        )

    def _texts(self, source: Scene, target: Scene, number: int) -> Texts:
        """Captions of two scenes, of the requested kind; equal draws for all items of one number."""
        domain, kind = self.domain, "partial" if self.captions == "completed" else self.captions
        seed = f"{PREFIX}{domain.name}/{VERSION}/{kind}/{self.label}-{number:03d}"
        if self.captions == "paraphrased":
            return domain.paraphrase(source, random.Random(seed)), domain.paraphrase(target, random.Random(seed))
        generator = random.Random(seed)
        if self.captions == "wrong":
            source, target = self._misstated(source, target, generator)
        old, new = domain.phrases(source), domain.phrases(target)
        pairs = list(zip(old, new, strict=True))
        if kind == "partial":
            pairs = [(a, b) for a, b in pairs if a != b or generator.random() >= _PARTIAL_SHARE]
        return domain.caption([a for a, _ in pairs]), domain.caption([b for _, b in pairs])

    def _misstated(self, source: Scene, target: Scene, generator: random.Random) -> tuple[Scene, Scene]:
        """Both scenes with one shared phrase replaced by the same wrong one; unchanged if there is none."""
        domain = self.domain
        stated, able = (domain.phrases(source), domain.phrases(target)), domain.alternatives(source)
        for name in generator.sample(list(able), len(able)):
            change = {name: generator.choice(able[name])}
            wrong = (domain.change(source, change), domain.change(target, change))
            places = zip(*stated, *(domain.phrases(one) for one in wrong), strict=True)
            untrue = [(a == b, c == d) for a, b, c, d in places if (a, b) != (c, d)]
            if untrue == [(True, True)]:
                return wrong
        return source, target

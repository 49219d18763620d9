"""Changes of a scene by kind, each with what is asked in a sentence and with its right answer at every strength."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Mapping

from latentedit.core.errors import ConfigError
from latentedit_scenes.attributes import NONE, ORDERED, PARTS, PLACES, VALUES, Attributes, Split, draw_split
from latentedit_scenes.captions import full_caption, object_phrase, phrase_of_place
from latentedit_scenes.parameters import Parameters, between, parameters_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of one scene.

    Args:
        kind: one of `KINDS`.
        instruction: what is asked, in a sentence.
        source: before.
        target: after.
    """

    kind: str
    instruction: str
    source: Attributes
    target: Attributes

    @property
    def captions(self) -> tuple[str, str]:
        """The full captions before and after."""
        return full_caption(self.source), full_caption(self.target)

    def at(self, strength: float) -> Parameters:
        """The right answer at a strength in [0, 1]; `render_array` draws it.

        Raises:
            ConfigError: a strength between 0 and 1 of a change of which there is no half.
        """
        if strength in (0, 1):
            return parameters_of(self.target if strength else self.source)
        return between(self.source, self.target, strength)


def draw_edits(split: Split, count: int, seed: int) -> list[Edit]:
    """Changes of different scenes of one split, the kinds in turn; the same for the same seed on every machine."""
    generator = random.Random(f"scenes/edits/{split}/{seed}")
    scenes = iter(draw_split(split, 4 * count + 20, seed))
    kinds = itertools.islice(itertools.cycle(KINDS), count)
    return [next(filter(None, (draw_edit(kind, scene, generator) for scene in scenes))) for kind in kinds]


def draw_edit(kind: str, scene: Attributes, generator: random.Random) -> Edit | None:
    """A change of this kind; None where the scene allows none, as a swap in one with one object.

    Raises:
        ConfigError: another kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"no change is of the kind {kind!r}. Give one of {', '.join(KINDS)}")
    drawn = KINDS[kind](scene, generator)
    if drawn is None:
        return None
    instruction, target = drawn
    return Edit(kind=kind, instruction=instruction, source=scene, target=target)


_Drawn = tuple[str, Attributes] | None


def _object(scene: Attributes, generator: random.Random) -> _Drawn:
    place, part = generator.choice(scene.places()), generator.choice(PARTS)
    return _set(scene, f"{place}_{part}", generator)


def _remove(scene: Attributes, generator: random.Random) -> _Drawn:
    place = generator.choice(scene.places())
    return f"Remove {_named(scene, place)}.", scene.replace(**{f"{place}_shape": NONE})


def _add(scene: Attributes, generator: random.Random) -> _Drawn:
    free = [place for place in PLACES if place not in scene.places()]
    if not free:
        return None
    place = generator.choice(free)
    told = {part: generator.choice(VALUES[f"{place}_{part}"][1:]) for part in PARTS}
    target = scene.replace(**{f"{place}_{part}": value for part, value in told.items()})
    return f"Add {object_phrase(told)} {phrase_of_place(place)}.", target


def _move(scene: Attributes, generator: random.Random) -> _Drawn:
    free = [place for place in PLACES if place not in scene.places()]
    if not free:
        return None
    source, target = generator.choice(scene.places()), generator.choice(free)
    where = phrase_of_place(target).replace("on ", "to ").replace("in ", "to ")
    return f"Move {_named(scene, source)} {where}.", scene.moved(source, target)


def _swap(scene: Attributes, generator: random.Random) -> _Drawn:
    if len(scene.places()) < 2:
        return None
    one, other = generator.sample(scene.places(), 2)
    if scene.object_at(one) == scene.object_at(other):
        return None
    return f"Swap {_named(scene, one)} and {_named(scene, other)}.", scene.moved(one, other)


def _relight(scene: Attributes, generator: random.Random) -> _Drawn:
    return _set(scene, generator.choice(("lamp_side", "lamp_warmth", "lamp_softness", "time")), generator)


def _retexture(scene: Attributes, generator: random.Random) -> _Drawn:
    return _set(scene, generator.choice([name for name in VALUES if name.startswith(("floor", "wall"))]), generator)


def _camera(scene: Attributes, generator: random.Random) -> _Drawn:
    return _set(scene, "camera", generator)


def _pair(scene: Attributes, generator: random.Random) -> _Drawn:
    """An object's part, and light or surroundings."""
    first, second = _object(scene, generator), generator.choice((_relight, _retexture))(scene, generator)
    if first is None or second is None:
        return None
    change = {name: getattr(second[1], name) for name in scene.differences(second[1])}
    return f"{first[0]} {second[0]}", first[1].replace(**change)


def _graded(scene: Attributes, generator: random.Random) -> _Drawn:
    """From one end of an order to the other, so that there is something between."""
    ends = {name: (places[0], places[-1]) for name, places in ORDERED.items() if name != "camera"}
    able = [name for name, pair in ends.items() if getattr(scene, name) in pair]
    if not able:
        return None
    name = generator.choice(able)
    first, last = ends[name]
    return _to(scene, name, last if getattr(scene, name) == first else first)


KINDS: Mapping[str, Callable[[Attributes, random.Random], _Drawn]] = {
    "object": _object,
    "remove": _remove,
    "add": _add,
    "move": _move,
    "swap": _swap,
    "relight": _relight,
    "retexture": _retexture,
    "camera": _camera,
    "pair": _pair,
    "graded": _graded,
}
"""Kinds of change, in their turn."""


def _set(scene: Attributes, name: str, generator: random.Random) -> _Drawn:
    """An attribute at another value; what is there stays there."""
    values = [value for value in VALUES[name] if value not in (NONE, getattr(scene, name))]
    return _to(scene, name, generator.choice(values))


def _to(scene: Attributes, name: str, value: str) -> tuple[str, Attributes]:
    thing, _, part = name.partition("_")
    if thing in PLACES:
        named = _named(scene, thing)
        asked = f"Turn {named} into a {value}." if part == "shape" else f"Make {named} {value}."
    elif name == "lamp_side":
        asked = f"Put the lamp {phrase_of_place(value)}."
    else:
        other = {"time": f"Make it {value}.", "camera": f"Look from a {value} camera."}
        asked = other.get(name, f"Make the {thing} {value}.")
    return asked, scene.replace(**{name: value})


def _named(scene: Attributes, place: str) -> str:
    """An object in words, with its place where another one is just like it."""
    told = scene.object_at(place)
    twins = [other for other in scene.places() if scene.object_at(other) == told]
    named = f"the {object_phrase(told).partition(' ')[2]}"
    return named if len(twins) == 1 else f"{named} {phrase_of_place(place)}"

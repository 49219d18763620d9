"""Captions of scenes: a grammar with synonyms and relations, full and random captions, and the parser."""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence

from latentedit.encoding import Caption
from latentedit_portraits.domains import NONE, Choose, Grammar, canonical, read_table, words_of
from latentedit_scenes.attributes import PART_OF, PARTS, PLACES, VALUES, Attributes

MAX_TOKENS = 64
"""Maximum length of the text encoders, with start and end tokens; every caption fits."""

_GRAMMAR = read_table("latentedit_scenes", "grammar")
_LEADS: list[str] = _GRAMMAR["leads"]
_WORDS: dict[str, list[str]] = _GRAMMAR["words"]
_WHERE: dict[str, list[str]] = _GRAMMAR["places"]
_ORDER = ("size", "color", "material", "shape")  # order of the words in an object phrase
_SURFACES = ("floor", "wall")
_SETTING = (*_SURFACES, "lamp", "time", "camera")

# Training captions: share that name every attribute; in the others, the share with relations instead of places, and the
# share of dropped phrases and parts; probability of the canonical word among its synonyms.
_FULL, _RELATED, _DROPPED, _CANONICAL = 0.7, 0.4, 0.3, 0.6

_RELATION = re.compile(r"\b(left|right) of\b")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Contents of a caption.

    Args:
        objects: the parts of each object with their values, "place" among them if the caption states it; with
            relations, from left to right.
        related: whether the caption locates ``objects`` by relations ("left of").
        values: attributes of floor, wall, lamp, time and camera with their values; and "none" for empty places.
    """

    objects: tuple[Mapping[str, str], ...] = ()
    related: bool = False
    values: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def attributes(self) -> dict[str, str]:
        """The attributes that follow from the caption, with their values; of objects only if their places do."""
        attributes = dict(self.values)
        places = self._possible_places()
        if len(places) == 1:
            for place, parts in zip(places[0], self.objects, strict=True):
                attributes |= {f"{place}_{part}": value for part, value in parts.items() if part != "place"}
        return attributes

    def agrees(self, scene: Attributes) -> bool:
        """Whether the caption is true of a scene: every object exists there, with its own parts."""
        if any(getattr(scene, name) != value for name, value in self.values.items()):
            return False
        return any(
            all(self._matches(scene.object_at(place), parts) for place, parts in zip(places, self.objects, strict=True))
            for places in self._possible_places()
        )

    def _possible_places(self) -> list[tuple[str, ...]]:
        """All assignments of places to the objects that the caption allows."""
        orders = itertools.combinations if self.related else itertools.permutations
        return [
            places
            for places in orders(PLACES, len(self.objects))
            if all(parts.get("place", place) == place for place, parts in zip(places, self.objects, strict=True))
        ]

    @staticmethod
    def _matches(actual: Mapping[str, str], parts: Mapping[str, str]) -> bool:
        return actual["shape"] != NONE and all(
            actual[part] == value for part, value in parts.items() if part != "place"
        )


def object_phrase(parts: Mapping[str, str], choose: Choose = canonical) -> str:
    """The phrase of an object with some or all parts, such as "a small red metal cube"."""
    words = [choose(_synonyms(parts[part])) for part in _ORDER if part in parts]
    return _with_article(" ".join(words if "shape" in parts else [*words, "object"]))


def _synonyms(value: str) -> list[str]:
    return _WORDS.get(value, [value])


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def phrase_of_place(place: str) -> str:
    """The phrase of a place, such as "on the left"; "front" is only for the lamp."""
    return _WHERE[place][0]


def phrase_of_setting(subject: str, attributes: Mapping[str, str], choose: Choose = canonical) -> str:
    """The phrase of floor, wall, lamp, time or camera, such as "a plain gray wall", with some or all attributes."""
    known = {name.removeprefix(f"{subject}_"): value for name, value in attributes.items()}
    if subject in ("time", "camera"):
        word = choose(_synonyms(known[subject]))
        return word if subject == "time" else f"a {word} camera"
    where = choose(_WHERE[known["side"]]) if "side" in known else ""
    words = [choose(_synonyms(known["texture"]))] if "texture" in known else []
    words += [known[part] for part in ("color", "softness", "warmth") if part in known]
    return f"{_with_article(' '.join([*words, subject]))} {where}".rstrip()


def phrases_of(scene: Attributes, choose: Choose = canonical) -> list[str]:
    """The phrases of all attributes, in a fixed order."""
    phrases: list[str] = []
    for place in PLACES:
        parts = scene.object_at(place)
        words = {part: choose(_synonyms(value)) for part, value in parts.items()}
        where = choose(_WHERE[place])
        named = _with_article(" ".join(words[part] for part in _ORDER))
        phrases.append(f"no object {where}" if parts["shape"] == NONE else f"{named} {where}")
    for subject in _SETTING:
        setting = {name: getattr(scene, name) for name in VALUES if name.partition("_")[0] == subject}
        phrases.append(phrase_of_setting(subject, setting, choose))
    return phrases


def related_phrase(scene: Attributes, choose: Choose, parts: Callable[[str], Sequence[str]]) -> str:
    """All objects, located by relations: "a red metal cube left of a small blue rubber ball".

    Args:
        scene: a scene with two or three objects.
        choose: chooses a synonym.
        parts: place to the parts that are mentioned.
    """
    places = scene.places()
    named = [object_phrase({part: scene.object_at(place)[part] for part in parts(place)}, choose) for place in places]
    reverse = len(named) == 2 and choose(("left", "right")) == "right"
    return " right of ".join(reversed(named)) if reverse else " left of ".join(named)


def draw_caption(scene: Attributes, generator: random.Random, *, empty: float = 0.1) -> str:
    """A random caption for training.

    Args:
        scene: the scene.
        generator: source of all random numbers.
        empty: probability of an empty caption, which trains the unconditional velocity.
    """

    def choose(words: Sequence[str]) -> str:
        return words[0] if generator.random() < _CANONICAL else generator.choice(words)

    def kept(parts: Sequence[str]) -> list[str]:
        return [part for part in parts if generator.random() >= _DROPPED]

    if generator.random() < empty:
        return ""
    lead = choose(_LEADS)
    if generator.random() < _FULL:
        return GRAMMAR.caption(phrases_of(scene, choose), lead)
    phrases = phrases_of(scene, choose)
    objects, others = phrases[: len(PLACES)], kept(phrases[len(PLACES) :])
    if len(scene.places()) > 1 and generator.random() < _RELATED:
        return GRAMMAR.caption([related_phrase(scene, choose, lambda _: [*kept(PARTS[1:]), "shape"]), *others], lead)
    named: list[str] = []
    for place, phrase in zip(PLACES, objects, strict=True):
        values = scene.object_at(place)
        if values["shape"] == NONE:
            named.append(phrase)
            continue
        parts = {part: values[part] for part in (*kept(PARTS[1:]), "shape")}
        named.append(f"{object_phrase(parts, choose)} {choose(_WHERE[place])}")
    chosen = [*kept(named), *others]
    generator.shuffle(chosen)
    return GRAMMAR.caption(chosen, lead) if chosen else GRAMMAR.caption(named, lead)


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Every word and punctuation mark of the grammar, sorted."""
    texts = [*_LEADS, *itertools.chain(*_WORDS.values(), *_WHERE.values(), *VALUES.values())]
    texts += ["an object", "no object", "floor", "wall", "lamp", "camera", "of", ","]
    return tuple(sorted({word for text in texts for word in words_of(text)} - {NONE}))


def parse(caption: str) -> Stated:
    """Read a caption; words that are not in the grammar are ignored.

    Example:
        >>> stated = parse("a scene with a red metal cube left of a small blue rubber ball, dusk")
        >>> stated.objects[0]["material"], stated.objects[1]["color"], stated.values
        ('metal', 'blue', {'time': 'evening'})
    """
    objects: list[dict[str, str]] = []
    values: dict[str, str] = {}
    related = False
    for phrase in Caption.of(caption.lower()).phrases:
        relation = _RELATION.search(phrase.text)
        if relation is not None:
            named = [_object(part) for part in _RELATION.split(phrase.text)[::2]]
            objects += named if relation[1] == "left" else reversed(named)
            related = True
        else:
            _read_phrase(phrase.text, objects, values)
    return Stated(objects=tuple(objects), related=related, values=values)


def _read_phrase(text: str, objects: list[dict[str, str]], values: dict[str, str]) -> None:
    """Add the content of one phrase."""
    words = words_of(text)
    for name in _SURFACES:
        if name in words:
            values.update(_known(words, f"{name}_texture", f"{name}_color"))
            return
    where = next((place for place, forms in _WHERE.items() if any(form in text for form in forms)), None)
    if "lamp" in words:
        values.update(_known(words, "lamp_softness", "lamp_warmth"))
        if where in VALUES["lamp_side"]:
            values["lamp_side"] = where
    elif "camera" in words:
        values.update(_known(words, "camera"))
    elif text.startswith("no object") and where is not None:
        values[f"{where}_shape"] = NONE
        values.update({name: NONE for name, shape in PART_OF.items() if shape == f"{where}_shape"})
    elif parts := _object(text):
        objects.append(parts if where is None else parts | {"place": where})
    else:
        values.update(_known(words, "time"))


def _object(text: str) -> dict[str, str]:
    """The parts of an object phrase with their values."""
    words = words_of(text)
    if not any(word in words for value in VALUES["left_shape"] for word in (*_synonyms(value), "object")):
        return {}
    values = _known(words, *(f"left_{part}" for part in PARTS))
    return {name.removeprefix("left_"): value for name, value in values.items()}


def _known(words: Sequence[str], *names: str) -> dict[str, str]:
    """The values of these attributes that occur among words."""
    return {name: value for name in names for value in VALUES[name] if any(word in words for word in _synonyms(value))}


GRAMMAR = Grammar(
    leads=_LEADS,
    phrases=phrases_of,
    stated=lambda caption: parse(caption).attributes(),
)
"""Captions of scenes."""

full_caption = GRAMMAR.full_caption

"""Captions of scenes: a grammar with synonyms and relations, the full caption, and its reading back."""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence

from latentedit.latents.captions.change import read_phrases
from latentedit_portraits.worlds import NONE, read_table, words_of
from latentedit_scenes.attributes import PART_OF, PARTS, PLACES, VALUES, Attributes

MAX_TOKENS = 64
"""What the text encoders take, start and end tokens included; every caption fits."""

_GRAMMAR = read_table("latentedit_scenes", "grammar")
_LEADS: list[str] = _GRAMMAR["leads"]
_WORDS: dict[str, list[str]] = _GRAMMAR["words"]
_WHERE: dict[str, list[str]] = _GRAMMAR["places"]
_ORDER = ("size", "color", "material", "shape")  # as one says them
_SURFACES = ("floor", "wall")
_SETTING = (*_SURFACES, "lamp", "time", "camera")

# Captions for training: shares of those that name everything and, of the others, that tell objects by where they stand
# to each other; share of phrases and parts that are missing, and of canonical words among synonyms.
_FULL, _RELATED, _DROPPED, _CANONICAL = 0.7, 0.4, 0.3, 0.6

_RELATION = re.compile(r"\b(left|right) of\b")

Choose = Callable[[Sequence[str]], str]
"""Which of some synonyms is said."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a caption says.

    Args:
        objects: of each object that is named, parts to values; "place" is among them where the caption tells it. Two or
            more that are told by where they stand to each other come from left to right.
        related: whether ``objects`` are told so.
        values: attributes of floor, wall, lamp, time and camera to values; and shapes that are said to be absent.
    """

    objects: tuple[Mapping[str, str], ...] = ()
    related: bool = False
    values: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def attributes(self) -> dict[str, str]:
        """Attributes to values, only those that the caption settles by itself."""
        found = dict(self.values)
        places = self._possible()
        if len(places) == 1:
            for place, told in zip(places[0], self.objects, strict=True):
                found |= {f"{place}_{part}": value for part, value in told.items() if part != "place"}
        return found

    def agrees(self, scene: Attributes) -> bool:
        """Whether the caption is true of a scene: every object that it names is there, with its own parts."""
        if any(getattr(scene, name) != value for name, value in self.values.items()):
            return False
        return any(
            all(self._fits(scene.object_at(place), told) for place, told in zip(places, self.objects, strict=True))
            for places in self._possible()
        )

    def _possible(self) -> list[tuple[str, ...]]:
        """Where the objects can stand."""
        orders = itertools.combinations if self.related else itertools.permutations
        return [
            places
            for places in orders(PLACES, len(self.objects))
            if all(told.get("place", place) == place for place, told in zip(places, self.objects, strict=True))
        ]

    @staticmethod
    def _fits(shown: Mapping[str, str], told: Mapping[str, str]) -> bool:
        return shown["shape"] != NONE and all(shown[part] == value for part, value in told.items() if part != "place")


def object_phrase(told: Mapping[str, str], choose: Choose = lambda words: words[0]) -> str:
    """An object in words, such as "a small red metal cube"; parts that are not told are left out."""
    words = [choose(_said(told[part])) for part in _ORDER if part in told]
    return _with_article(" ".join(words if "shape" in told else [*words, "object"]))


def _said(value: str) -> list[str]:
    return _WORDS.get(value, [value])


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def phrase_of_place(place: str) -> str:
    """A place in words, such as "on the left"; "front" is one of a lamp alone."""
    return _WHERE[place][0]


def phrase_of_setting(subject: str, told: Mapping[str, str], choose: Choose = lambda words: words[0]) -> str:
    """Floor, wall, lamp, time or camera in words, such as "a plain gray wall"; what is not told is left out.

    Args:
        subject: which of them.
        told: its attributes to their values.
        choose: a synonym.
    """
    known = {name.removeprefix(f"{subject}_"): value for name, value in told.items()}
    if subject in ("time", "camera"):
        word = choose(_said(known[subject]))
        return word if subject == "time" else f"a {word} camera"
    where = choose(_WHERE[known["side"]]) if "side" in known else ""
    words = [choose(_said(known["texture"]))] if "texture" in known else []
    words += [known[part] for part in ("color", "softness", "warmth") if part in known]
    return f"{_with_article(' '.join([*words, subject]))} {where}".rstrip()


def phrases_of(scene: Attributes, choose: Choose = lambda words: words[0]) -> list[str]:
    """What the full caption says, phrase by phrase, in a fixed order.

    Args:
        scene: what it says.
        choose: a synonym; called equally often, and with the same words for what two scenes share.
    """
    said: list[str] = []
    for place in PLACES:
        told = scene.object_at(place)
        words = {part: choose(_said(value)) for part, value in told.items()}
        where = choose(_WHERE[place])
        named = _with_article(" ".join(words[part] for part in _ORDER))
        said.append(f"no object {where}" if told["shape"] == NONE else f"{named} {where}")
    for subject in _SETTING:
        told = {name: getattr(scene, name) for name in VALUES if name.partition("_")[0] == subject}
        said.append(phrase_of_setting(subject, told, choose))
    return said


def caption_of(phrases: Sequence[str], lead: str = _LEADS[0]) -> str:
    """Phrases as a caption."""
    return f"{lead} {', '.join(phrases)}"


def full_caption(scene: Attributes) -> str:
    """The canonical caption, which names every attribute in a fixed order."""
    return caption_of(phrases_of(scene))


def reworded_caption(scene: Attributes, generator: random.Random) -> str:
    """The full caption by synonyms: scenes that share a phrase, and generators that are equal, share its words."""

    def choose(words: Sequence[str]) -> str:
        return words[int(generator.random() * len(words))]

    lead = choose(_LEADS)
    return caption_of(phrases_of(scene, choose), lead)


def related_phrase(scene: Attributes, choose: Choose, parts: Callable[[str], Sequence[str]]) -> str:
    """All objects by where they stand to each other: "a red metal cube left of a small blue rubber ball".

    Args:
        scene: with two objects or three.
        choose: a synonym.
        parts: of the object at a place, which are said.
    """
    places = scene.places()
    named = [object_phrase({part: scene.object_at(place)[part] for part in parts(place)}, choose) for place in places]
    turned = len(named) == 2 and choose(("left", "right")) == "right"
    return " right of ".join(reversed(named)) if turned else " left of ".join(named)


def draw_caption(scene: Attributes, generator: random.Random, *, empty: float = 0.1) -> str:
    """A random caption for training.

    Args:
        scene: what it says.
        generator: of the caption.
        empty: probability of an empty one, from which the unconditional velocity is learnt.
    """

    def choose(words: Sequence[str]) -> str:
        return words[0] if generator.random() < _CANONICAL else generator.choice(words)

    def kept(parts: Sequence[str]) -> list[str]:
        return [part for part in parts if generator.random() >= _DROPPED]

    if generator.random() < empty:
        return ""
    lead = choose(_LEADS)
    if generator.random() < _FULL:
        return caption_of(phrases_of(scene, choose), lead)
    phrases = phrases_of(scene, choose)
    objects, others = phrases[: len(PLACES)], kept(phrases[len(PLACES) :])
    if len(scene.places()) > 1 and generator.random() < _RELATED:
        return caption_of([related_phrase(scene, choose, lambda _: [*kept(PARTS[1:]), "shape"]), *others], lead)
    named: list[str] = []
    for place, phrase in zip(PLACES, objects, strict=True):
        told = scene.object_at(place)
        if told["shape"] == NONE:
            named.append(phrase)
            continue
        parts = {part: told[part] for part in (*kept(PARTS[1:]), "shape")}
        named.append(f"{object_phrase(parts, choose)} {choose(_WHERE[place])}")
    chosen = [*kept(named), *others]
    generator.shuffle(chosen)
    return caption_of(chosen, lead) if chosen else caption_of(named, lead)


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Every word and mark that the grammar can produce, sorted."""
    said = [*_LEADS, *itertools.chain(*_WORDS.values(), *_WHERE.values(), *VALUES.values())]
    said += ["an object", "no object", "floor", "wall", "lamp", "camera", "of", ","]
    return tuple(sorted({word for text in said for word in words_of(text)} - {NONE}))


def parse(caption: str) -> Stated:
    """What a caption of the grammar says; what the grammar does not know is passed over.

    Example:
        >>> stated = parse("a scene with a red metal cube left of a small blue rubber ball, dusk")
        >>> stated.objects[0]["material"], stated.objects[1]["color"], stated.values
        ('metal', 'blue', {'time': 'evening'})
    """
    objects: list[dict[str, str]] = []
    values: dict[str, str] = {}
    related = False
    for phrase in read_phrases(caption.lower(), lead=True).phrases:
        relation = _RELATION.search(phrase.text)
        if relation is not None:
            named = [_object(part) for part in _RELATION.split(phrase.text)[::2]]
            objects += named if relation[1] == "left" else reversed(named)
            related = True
        else:
            _read_phrase(phrase.text, objects, values)
    return Stated(objects=tuple(objects), related=related, values=values)


def _read_phrase(text: str, objects: list[dict[str, str]], values: dict[str, str]) -> None:
    """Add what one phrase says."""
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
    elif told := _object(text):
        objects.append(told if where is None else told | {"place": where})
    else:
        values.update(_known(words, "time"))


def _object(text: str) -> dict[str, str]:
    """Parts of an object to their values."""
    words = words_of(text)
    if not any(word in words for value in VALUES["left_shape"] for word in (*_said(value), "object")):
        return {}
    found = _known(words, *(f"left_{part}" for part in PARTS))
    return {name.removeprefix("left_"): value for name, value in found.items()}


def _known(words: Sequence[str], *names: str) -> dict[str, str]:
    """The values of these attributes that words say."""
    return {name: value for name in names for value in VALUES[name] if any(word in words for word in _said(value))}

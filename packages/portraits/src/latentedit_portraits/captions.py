"""Captions of portraits: a grammar with synonyms, the full caption, and its reading back."""

import itertools
import random
import re
from collections.abc import Iterator

from latentedit.latents.captions.change import Phrase, phrase_key, read_phrases
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.worlds import NONE, read_table, words_of

MAX_TOKENS = 37
"""What the text encoders take, start and end tokens included; every full caption fits."""

_GRAMMAR = read_table("latentedit_portraits", "grammar")
_PREFIXES: list[str] = _GRAMMAR["prefixes"]
_BACKGROUND: list[str] = _GRAMMAR["background"]
_PLAIN: dict[str, dict[str, list[str]]] = _GRAMMAR["plain"]
_COLORED: dict[str, dict[str, list[str]]] = _GRAMMAR["colored"]

COLOR_OF = {"hair": "hair_color", "facial_hair": "facial_hair_color", "clothes": "clothes_color"}
"""The parts that have a color, and the attribute that holds it."""

_JOINT = re.compile(r"\b(?:and|with)\b|(?<=\S)\s+(?:(?:in|wearing)\b|(?=on\b))", re.IGNORECASE)
_ORDER = ("skin", "hair", "eyes", "eyebrows", "mouth", "accessory", "facial_hair", "clothes", "background")

# Captions for training: shares of those that name everything and that keep the canonical order; of the others the share
# of phrases, and of colors, that are missing; share of canonical phrases among synonyms.
_FULL, _ORDERED, _DROPPED, _CANONICAL = 0.8, 0.5, 0.3, 0.6


def color_words(field: str, color: str) -> list[str]:
    """Words for a color; "red" means ginger for hair and is a color of its own for clothes."""
    return _GRAMMAR["hair_color_words"].get(color, [color]) if field in ("hair", "facial_hair") else [color]


def phrases_for(field: str, value: str, color: str | None) -> list[str]:
    """All phrases that say one attribute and, where it is not None, the color of a part; the canonical one first."""
    if field in _PLAIN:
        return _PLAIN[field][value]
    if field == "background":
        return [_said(pattern, value) for pattern in _BACKGROUND]
    patterns = _COLORED[field][value]
    if not any("{}" in pattern for pattern in patterns):
        return patterns
    if color is None:
        return [pattern for pattern in patterns if "{}" not in pattern]
    words = color_words(field, color)
    return [_said(pattern, word) for pattern in patterns if "{}" in pattern for word in words]


def _said(pattern: str, color: str) -> str:
    """A phrase with a color in it, after "an" where the color begins with a vowel."""
    return re.sub(r"\ba (?=[aeiou])", "an ", pattern.format(color))


def _phrases(field: str, attributes: Attributes, *, with_color: bool) -> list[str]:
    """All phrases that say one attribute (and its color) of a portrait, the canonical one first."""
    color = getattr(attributes, COLOR_OF[field]) if with_color and field in COLOR_OF else None
    return phrases_for(field, getattr(attributes, field), color)


def full_caption(attributes: Attributes) -> str:
    """The canonical caption, which names every attribute in a fixed order."""
    phrases = [_phrases(field, attributes, with_color=True)[0] for field in _ORDER]
    return f"{_PREFIXES[0]} {', '.join(phrases)}"


def draw_caption(attributes: Attributes, generator: random.Random, *, empty: float = 0.1) -> str:
    """A random caption for training; one that would not fit the text encoders is said in canonical phrases.

    Args:
        attributes: of the portrait.
        generator: of the caption.
        empty: probability of an empty one, from which the unconditional velocity is learnt.
    """
    if generator.random() < empty:
        return ""
    full = generator.random() < _FULL
    fields = [field for field in _ORDER if full or generator.random() >= _DROPPED]
    if generator.random() >= _ORDERED:
        generator.shuffle(fields)
    phrases: list[str] = []
    for field in fields:
        options = _phrases(field, attributes, with_color=full or generator.random() >= _DROPPED)
        phrases.append(options[0] if generator.random() < _CANONICAL else generator.choice(options))
    prefix = _PREFIXES[0] if generator.random() < _CANONICAL else generator.choice(_PREFIXES)
    caption = f"{prefix} {', '.join(phrases)}".strip()
    if len(words_of(caption)) + 2 > MAX_TOKENS:
        phrases = [_phrases(field, attributes, with_color=True)[0] for field in fields]
        caption = f"{_PREFIXES[0]} {', '.join(phrases)}"
    return caption


def reworded_caption(attributes: Attributes, generator: random.Random) -> str:
    """The full caption, each phrase by a synonym that is no longer, so that it fits the text encoders as well.

    One number is drawn for each phrase: portraits that share a phrase, and generators that are equal, share its words.
    """
    chosen: list[str] = []
    for phrases in (_PREFIXES, *(_phrases(field, attributes, with_color=True) for field in _ORDER)):
        fitting = [phrase for phrase in phrases if len(words_of(phrase)) <= len(words_of(phrases[0]))]
        chosen.append(fitting[int(generator.random() * len(fitting))])
    return f"{chosen[0]} {', '.join(chosen[1:])}".strip()


def vocabulary() -> list[str]:
    """Every word and mark that the grammar can produce, sorted: what the bundled model knows."""
    words: set[str] = {","}
    for prefix in _PREFIXES:
        words.update(words_of(prefix))
    for phrase, _ in _all_phrases():
        words.update(words_of(phrase))
    return sorted(words)


def _all_phrases() -> Iterator[tuple[str, dict[str, str]]]:
    """Every phrase of the grammar with the attributes it states."""
    for field, options in _PLAIN.items():
        for value, phrases in options.items():
            yield from ((phrase, {field: value}) for phrase in phrases)
    for value, pattern in itertools.product(VALUES["background"], _BACKGROUND):
        yield _said(pattern, value), {"background": value}
    for field, options in _COLORED.items():
        color_field = COLOR_OF[field]
        for value, patterns in options.items():
            for pattern in patterns:
                if "{}" not in pattern:
                    uncolored = {color_field: NONE} if value in ("bald", NONE) else {}
                    yield pattern, {field: value} | uncolored
                    continue
                for color in VALUES[color_field]:
                    if color != NONE:
                        for word in color_words(field, color):
                            yield _said(pattern, word), {field: value, color_field: color}


MEANING = dict(_all_phrases())
"""Every phrase of the grammar with the attributes it states; the part comes before its color."""


def statements(caption: str) -> list[tuple[Phrase, dict[str, str]]]:
    """The phrases of a caption that the grammar knows, with what they state; the others are passed over."""
    parts = [part for phrase in read_phrases(caption, lead=False).phrases for part in phrase.split(_JOINT)]
    return [(part, MEANING[phrase_key(part.text)]) for part in parts if phrase_key(part.text) in MEANING]


def parse(caption: str) -> dict[str, str]:
    """The attributes that a caption of the grammar states; what it does not know, it passes over.

    Returns:
        attribute names and values, only those that are stated.
    """
    found: dict[str, str] = {}
    for _, meaning in statements(caption):
        found |= meaning
    return found

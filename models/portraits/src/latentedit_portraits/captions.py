"""Captions of portraits: a grammar with synonyms, full and random captions, and the parser."""

import functools
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence

from latentedit.encoding import Caption, Phrase, phrase_key
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.domains import NONE, Choose, Grammar, read_table, words_of

MAX_TOKENS = 37
"""Maximum length of the text encoders, with start and end tokens; every full caption fits."""

_GRAMMAR = read_table("latentedit_portraits", "grammar")
_PREFIXES: list[str] = _GRAMMAR["prefixes"]
_BACKGROUND: list[str] = _GRAMMAR["background"]
_PLAIN: dict[str, dict[str, list[str]]] = _GRAMMAR["plain"]
_COLORED: dict[str, dict[str, list[str]]] = _GRAMMAR["colored"]

COLOR_OF = {"hair": "hair_color", "facial_hair": "facial_hair_color", "clothes": "clothes_color"}
"""Part that has a color to the attribute of that color."""

_JOINT = re.compile(r"\b(?:and|with)\b|(?<=\S)\s+(?:(?:in|wearing)\b|(?=on\b))", re.IGNORECASE)
_ORDER = ("skin", "hair", "eyes", "eyebrows", "mouth", "accessory", "facial_hair", "clothes", "background")

# Training captions: shares that name every attribute and that keep the canonical order; in the others, the share of
# phrases and colors that are dropped; probability of the canonical phrase among its synonyms.
_FULL, _ORDERED, _DROPPED, _CANONICAL = 0.8, 0.5, 0.3, 0.6


def color_words(field: str, color: str) -> list[str]:
    """Words for a color; "red" means ginger for hair and is a color of its own for clothes."""
    return _GRAMMAR["hair_color_words"].get(color, [color]) if field in ("hair", "facial_hair") else [color]


def phrases_for(field: str, value: str, color: str | None) -> list[str]:
    """All phrases for a value and, unless it is None, for the color of the part; the canonical phrase first."""
    if field in _PLAIN:
        return _PLAIN[field][value]
    if field == "background":
        return [_with_color(pattern, value) for pattern in _BACKGROUND]
    patterns = _COLORED[field][value]
    if not any("{}" in pattern for pattern in patterns):
        return patterns
    if color is None:
        return [pattern for pattern in patterns if "{}" not in pattern]
    words = color_words(field, color)
    return [_with_color(pattern, word) for pattern in patterns if "{}" in pattern for word in words]


def _with_color(pattern: str, color: str) -> str:
    """A phrase with its color, after "an" if the color begins with a vowel."""
    return re.sub(r"\ba (?=[aeiou])", "an ", pattern.format(color))


def _synonyms(field: str, attributes: Attributes, *, with_color: bool) -> list[str]:
    """All phrases for one attribute (and its color) of a portrait, the canonical phrase first."""
    color = getattr(attributes, COLOR_OF[field]) if with_color and field in COLOR_OF else None
    return phrases_for(field, getattr(attributes, field), color)


def phrases_of(attributes: Attributes, choose: Choose) -> list[str]:
    """The phrases of all attributes, in a fixed order."""
    return [choose(_no_longer(_synonyms(field, attributes, with_color=True))) for field in _ORDER]


def _no_longer(phrases: Sequence[str]) -> list[str]:
    """The phrases that are not longer than the first, which fits the text encoders."""
    longest = len(words_of(phrases[0]))
    return [phrase for phrase in phrases if len(words_of(phrase)) <= longest]


def draw_caption(attributes: Attributes, generator: random.Random, *, empty: float = 0.1) -> str:
    """A random caption for training, in canonical phrases if it would not fit the text encoders otherwise.

    Args:
        attributes: the portrait.
        generator: source of all random numbers.
        empty: probability of an empty caption, which trains the unconditional velocity.
    """
    if generator.random() < empty:
        return ""
    full = generator.random() < _FULL
    fields = [field for field in _ORDER if full or generator.random() >= _DROPPED]
    if generator.random() >= _ORDERED:
        generator.shuffle(fields)
    phrases: list[str] = []
    for field in fields:
        options = _synonyms(field, attributes, with_color=full or generator.random() >= _DROPPED)
        phrases.append(options[0] if generator.random() < _CANONICAL else generator.choice(options))
    prefix = _PREFIXES[0] if generator.random() < _CANONICAL else generator.choice(_PREFIXES)
    caption = GRAMMAR.caption(phrases, prefix)
    if len(words_of(caption)) + 2 > MAX_TOKENS:
        caption = GRAMMAR.caption([_synonyms(field, attributes, with_color=True)[0] for field in fields])
    return caption


def vocabulary() -> list[str]:
    """Every word and punctuation mark of the grammar, sorted: the vocabulary of the bundled model."""
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
        yield _with_color(pattern, value), {"background": value}
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
                            yield _with_color(pattern, word), {field: value, color_field: color}


MEANING = dict(_all_phrases())
"""Every phrase of the grammar with the attributes it states; the part comes before its color."""


@functools.lru_cache(maxsize=1024)
def statements(caption: str) -> tuple[tuple[Phrase, Mapping[str, str]], ...]:
    """The phrases of a caption that are in the grammar, with the attributes that they state."""
    parts = [part for phrase in Caption.of(caption).whole for part in phrase.split(_JOINT)]
    keyed = [(part, phrase_key(part.text)) for part in parts]
    return tuple((part, MEANING[key]) for part, key in keyed if key in MEANING)


def parse(caption: str) -> dict[str, str]:
    """The attributes that a caption states, with their values; phrases that are not in the grammar are ignored."""
    found: dict[str, str] = {}
    for _, meaning in statements(caption):
        found |= meaning
    return found


GRAMMAR = Grammar(
    leads=_no_longer(_PREFIXES),
    phrases=phrases_of,
    stated=parse,
)
"""Captions of portraits."""

full_caption = GRAMMAR.full_caption

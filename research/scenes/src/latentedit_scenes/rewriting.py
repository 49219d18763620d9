"""Grammatical changes of scene captions: some parts identify an object, and its other parts stay."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

from latentedit.core import ConfigError
from latentedit.encoding import Caption, Change, Phrase, phrase_key
from latentedit_portraits.domains import NONE
from latentedit_scenes.attributes import PARTS, PLACES
from latentedit_scenes.captions import object_phrase, parse, phrase_of_place, phrase_of_setting

_COMMA = re.compile(r"\s*,\s*")
_OBJECT = "object"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """The content of a phrase: parts and place of an object, or attributes of floor, wall, lamp, time or camera."""

    subject: str
    values: Mapping[str, str]

    def includes(self, other: "_Statement") -> bool:
        """Whether it states everything that another statement does."""
        return self.subject == other.subject and other.values.items() <= self.values.items()

    def phrase(self) -> str:
        """The canonical phrase."""
        if self.subject != _OBJECT:
            return phrase_of_setting(self.subject, self.values)
        where = phrase_of_place(self.values["place"]) if "place" in self.values else ""
        parts = {part: self.values[part] for part in PARTS if part in self.values}
        return f"{'no object' if parts.get('shape') == NONE else object_phrase(parts)} {where}".rstrip()


_Statements = list[tuple[Phrase, _Statement]]


def rewrite(caption: str, change: Change) -> str:
    """The caption with the change applied.

    OLD identifies an object by some of its parts ("the red ball"), or floor, wall, lamp, time or camera; NEW states
    what is different, and the rest stays. A removed object leaves "no object" in its place, and an added object takes
    such a place. Several changes are separated by commas. Words that are not in the grammar, and captions with
    relations between objects, are changed as in any text, by `Change.apply`.

    Args:
        caption: full or partial.
        change: the change to apply.

    Raises:
        ConfigError: OLD is not in the caption or is ambiguous; NEW is stated already, or its place is taken.

    Example:
        >>> caption = "a scene with a large red rubber ball on the left, no object on the right, a plain gray wall"
        >>> rewrite(caption, Change.parse("a red ball => a blue ball"))
        'a scene with a large blue rubber ball on the left, no object on the right, a plain gray wall'
        >>> rewrite(caption, Change.parse("the ball on the left => the ball on the right"))
        'a scene with no object on the left, a large red rubber ball on the right, a plain gray wall'
    """
    sides = (_COMMA.split(change.old), _COMMA.split(change.new))
    for old, new in itertools.zip_longest(*sides, fillvalue=""):
        if phrase_key(old) != phrase_key(new):
            caption = _rewrite(caption, Change(old=old, new=new))
    return caption


def _rewrite(caption: str, change: Change) -> str:
    """The caption with the change of one subject applied."""
    old, new = _parse_phrase(change.old), _parse_phrase(change.new)
    unknown = (change.old and old is None) or (change.new and new is None)
    if unknown or parse(caption).related or (old and new and old.subject != new.subject):
        return change.apply(caption)
    phrases = Caption.of(caption).phrases
    stated = [(phrase, known) for phrase in phrases if (known := _parse_phrase(phrase.text)) is not None]
    if old is None:
        assert new is not None
        return _added(caption, new, change, stated)
    phrase, known = _single([pair for pair in stated if pair[1].includes(old)], stated, change)
    if new is not None:
        return _changed(caption, phrase, known, new, stated)
    if old.subject != _OBJECT or "place" not in known.values:
        return Change(old=phrase.text, new="").apply(caption)
    return _replaced(caption, {phrase: _empty(known.values["place"])})


def _changed(caption: str, phrase: Phrase, old: _Statement, new: _Statement, stated: _Statements) -> str:
    """The caption with a phrase that also states NEW; an object that moves leaves its place empty."""
    if old.includes(new):
        raise ConfigError(f"the caption has {phrase.text!r}, so {new.phrase()!r} changes nothing. Use another value")
    after = _Statement(subject=old.subject, values={**old.values, **new.values})
    here, there = old.values.get("place"), after.values.get("place")
    if here is None or here == there:
        return _replaced(caption, {phrase: after})
    assert there is not None
    return _replaced(caption, {phrase: _empty(here), _empty_place(stated, there): after})


def _added(caption: str, new: _Statement, change: Change, stated: _Statements) -> str:
    """The caption that also states NEW: in the phrase of its subject or an empty place, otherwise at the end."""
    if new.subject == _OBJECT:
        if any(known.values.get("shape") == NONE for _, known in stated):
            free = _empty_place(stated, new.values.get("place"))
            place = next(known.values["place"] for phrase, known in stated if phrase == free)
            return _replaced(caption, {free: _Statement(subject=_OBJECT, values={**new.values, "place": place})})
        return change.apply(caption)
    same = [pair for pair in stated if pair[1].subject == new.subject]
    return _changed(caption, *same[0], new, stated) if same else change.apply(caption)


def _empty_place(stated: _Statements, place: str | None) -> Phrase:
    """The phrase that states that a place is empty; if ``place`` is None, the first such phrase."""
    empty = {known.values["place"]: phrase for phrase, known in stated if known.values.get("shape") == NONE}
    if place is not None and place not in empty:
        raise ConfigError(
            f"the caption does not state that there is no object {phrase_of_place(place)}. Use an empty place"
        )
    return empty[place] if place is not None else next(empty[name] for name in PLACES if name in empty)


def _single(matches: _Statements, stated: _Statements, change: Change) -> tuple[Phrase, _Statement]:
    """The only match of OLD."""
    if len(matches) == 1:
        return matches[0]
    phrases = [phrase.text for phrase, _ in matches or stated]
    if matches:
        raise ConfigError(
            f"{change.old!r}, the OLD of `change`, is ambiguous: {_quoted(phrases, 'or')}. Be more specific"
        )
    raise ConfigError(
        f"{change.old!r}, the OLD of `change`, is not in the caption, which has {_quoted(phrases, 'and')}"
    )


def _quoted(texts: list[str], joint: str) -> str:
    return f" {joint} ".join(map(repr, texts))


def _empty(place: str) -> _Statement:
    return _Statement(subject=_OBJECT, values={"shape": NONE, "place": place})


def _replaced(caption: str, statements: Mapping[Phrase, _Statement]) -> str:
    """The caption with other statements in place of some phrases."""
    for phrase, new in sorted(statements.items(), key=lambda item: -item[0].start):
        caption = caption[: phrase.start] + new.phrase() + caption[phrase.end :]
    return caption


def _parse_phrase(phrase: str) -> _Statement | None:
    """The content of a phrase; None if it is not in the grammar."""
    stated = parse(f"a scene with {phrase}")
    if len(stated.objects) == 1:
        return _Statement(subject=_OBJECT, values=stated.objects[0])
    absent = [name for name, value in stated.values.items() if value == NONE]
    if absent:
        return _empty(absent[0].partition("_")[0])
    if stated.objects or not stated.values:
        return None
    return _Statement(subject=next(iter(stated.values)).partition("_")[0], values=stated.values)

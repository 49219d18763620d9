"""Changes of a scene's caption by its grammar: an object is found by some of its parts, and keeps the others."""

import dataclasses
import itertools
import re
from collections.abc import Mapping

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.change import Change, Phrase, phrase_key, read_phrases
from latentedit_portraits.worlds import NONE
from latentedit_scenes.attributes import PARTS, PLACES
from latentedit_scenes.captions import object_phrase, parse, phrase_of_place, phrase_of_setting

_COMMA = re.compile(r"\s*,\s*")
_OBJECT = "object"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a phrase says: of an object its parts and place, of floor, wall, lamp, time or camera their attributes."""

    subject: str
    told: Mapping[str, str]

    def has(self, other: "_Said") -> bool:
        """Whether it says all that another one says of the same subject."""
        return self.subject == other.subject and other.told.items() <= self.told.items()

    def words(self) -> str:
        """It in words of the grammar."""
        if self.subject != _OBJECT:
            return phrase_of_setting(self.subject, self.told)
        where = phrase_of_place(self.told["place"]) if "place" in self.told else ""
        parts = {part: self.told[part] for part in PARTS if part in self.told}
        return f"{'no object' if parts.get('shape') == NONE else object_phrase(parts)} {where}".rstrip()


def rewrite(caption: str, change: Change) -> str:
    """The caption with the change made.

    OLD names an object by some of its parts ("the red ball"), or floor, wall, lamp, time or camera; NEW says what is
    different, and the rest stays as it was. An object that is removed leaves "no object" in its place, and one that is
    added takes such a place. Several changes stand between commas. Words that the grammar does not know, and captions
    that tell objects by where they stand to each other, are changed as any text is, by `Change.apply`.

    Args:
        caption: of a scene, full or not.
        change: what should be different.

    Raises:
        ConfigError: OLD is not in the caption, or several times; NEW is said already, or its place is taken.

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
    """The caption with the change of one subject made."""
    old, new = _meaning(change.old), _meaning(change.new)
    strange = (change.old and old is None) or (change.new and new is None)
    if strange or parse(caption).related or (old and new and old.subject != new.subject):
        return change.apply(caption)
    said = [(phrase, meaning) for phrase in _phrases(caption) if (meaning := _meaning(phrase.text)) is not None]
    if old is None:
        assert new is not None
        return _added(caption, new, change, said)
    phrase, meaning = _only([one for one in said if one[1].has(old)], said, change)
    if new is not None:
        return _changed(caption, phrase, meaning, new, said)
    if old.subject != _OBJECT or "place" not in meaning.told:
        return Change(old=phrase.text, new="").apply(caption)
    return _in_place(caption, {phrase: _nothing(meaning.told["place"])})


def _changed(caption: str, phrase: Phrase, meaning: _Said, new: _Said, said: list[tuple[Phrase, _Said]]) -> str:
    """The caption in which a phrase says something new too; an object that moves leaves its place empty."""
    if meaning.has(new):
        raise ConfigError(f"the caption says {phrase.text!r}, so {new.words()!r} changes nothing. Say something else")
    after = _Said(subject=meaning.subject, told={**meaning.told, **new.told})
    here, there = meaning.told.get("place"), after.told.get("place")
    if here is None or here == there:
        return _in_place(caption, {phrase: after})
    assert there is not None
    return _in_place(caption, {phrase: _nothing(here), _free(said, there): after})


def _added(caption: str, new: _Said, change: Change, said: list[tuple[Phrase, _Said]]) -> str:
    """The caption that says something more: of what it names already in the place of that, else at its end."""
    if new.subject == _OBJECT:
        if any(meaning.told.get("shape") == NONE for _, meaning in said):
            free = _free(said, new.told.get("place"))
            place = next(meaning.told["place"] for phrase, meaning in said if phrase == free)
            return _in_place(caption, {free: _Said(subject=_OBJECT, told={**new.told, "place": place})})
        return change.apply(caption)
    same = [one for one in said if one[1].subject == new.subject]
    return _changed(caption, *same[0], new, said) if same else change.apply(caption)


def _free(said: list[tuple[Phrase, _Said]], place: str | None) -> Phrase:
    """The phrase that says that a place is empty; the first of them where no place is named.

    Raises:
        ConfigError: there is none.
    """
    empty = {meaning.told["place"]: phrase for phrase, meaning in said if meaning.told.get("shape") == NONE}
    if place is not None and place not in empty:
        raise ConfigError(f"the caption does not say that nothing stands {phrase_of_place(place)}. Name an empty place")
    return empty[place] if place is not None else next(empty[one] for one in PLACES if one in empty)


def _only(found: list[tuple[Phrase, _Said]], said: list[tuple[Phrase, _Said]], change: Change) -> tuple[Phrase, _Said]:
    """The one phrase that is meant.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if len(found) == 1:
        return found[0]
    told = [phrase.text for phrase, _ in found or said]
    if found:
        raise ConfigError(f"{change.old!r}, the OLD of `change`, may be {_listed(told, 'or')}. Say more words")
    raise ConfigError(f"{change.old!r}, the OLD of `change`, is not in the caption, which says {_listed(told, 'and')}")


def _listed(texts: list[str], joint: str) -> str:
    return f" {joint} ".join(map(repr, texts))


def _nothing(place: str) -> _Said:
    return _Said(subject=_OBJECT, told={"shape": NONE, "place": place})


def _phrases(caption: str) -> tuple[Phrase, ...]:
    return read_phrases(caption, lead=True).phrases


def _in_place(caption: str, phrases: Mapping[Phrase, _Said]) -> str:
    """The caption with some of its phrases exchanged."""
    for phrase, meaning in sorted(phrases.items(), key=lambda item: -item[0].start):
        caption = caption[: phrase.start] + meaning.words() + caption[phrase.end :]
    return caption


def _meaning(phrase: str) -> _Said | None:
    """What a phrase says; None where the grammar does not know it."""
    stated = parse(f"a scene with {phrase}")
    if len(stated.objects) == 1:
        return _Said(subject=_OBJECT, told=stated.objects[0])
    empty = [name for name, value in stated.values.items() if value == NONE]
    if empty:
        return _nothing(empty[0].partition("_")[0])
    if stated.objects or not stated.values:
        return None
    return _Said(subject=next(iter(stated.values)).partition("_")[0], told=stated.values)

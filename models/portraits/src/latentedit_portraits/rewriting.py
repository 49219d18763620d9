"""Grammatical changes of portrait captions: the new phrase of an attribute replaces its old phrase."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping

from latentedit.core import ConfigError
from latentedit.encoding import Caption, Change, Phrase, phrase_key
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.captions import COLOR_OF, MEANING, parse, phrases_for, statements
from latentedit_portraits.domains import NONE

Meaning = Mapping[str, str]
"""Attribute to value; empty for words such as "hair", which name an attribute without a value."""

_ABSENT = {"hair": "bald", "accessory": NONE, "facial_hair": NONE}
_ARTICLE = re.compile(r"\A(?:an?|the) ")
_COMMA = re.compile(r"\s*,(?!\d)\s*")
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_DENIAL = re.compile(r"(?:no|without) (.+)")


def rewrite(caption: str, change: Change) -> str:
    """The caption with the change applied, still with one phrase per attribute.

    OLD and NEW are phrases of the grammar, or words that identify one: "glasses", "sad", "black hair". The canonical
    phrase of the new value replaces the attribute's phrase; if NEW names only a color or only a shape, the other stays.
    If NEW is empty, hair, beards and glasses are negated ("no glasses"), and other phrases are removed. Several changes
    are separated by commas. Words that are not in the grammar are changed as in any text, by `Change.apply`.

    Args:
        caption: full or partial.
        change: the change to apply.

    Raises:
        ConfigError: the caption contradicts OLD, states NEW already, or would contradict itself; or the words are
            ambiguous.

    Example:
        >>> rewrite("a person with long black hair, a smile", Change.parse("black => blonde"))
        'a person with long blonde hair, a smile'
        >>> rewrite("a person with glasses, no beard", Change.parse("glasses => a beard"))
        'a person with no glasses, a beard'
    """
    for old, new in itertools.zip_longest(_split(change.old), _split(change.new), fillvalue=""):
        if phrase_key(old) != phrase_key(new):
            caption = _rewrite(caption, Change(old=old, new=new))
    return caption


def stated(caption: str) -> dict[str, str]:
    """The attributes that a caption states, also in words that only identify a phrase of the grammar.

    Example:
        >>> stated("a person with pink hair, a smile")
        {'mouth': 'smile', 'hair_color': 'pink'}
    """
    found = parse(caption)
    for phrase in Caption.of(caption).phrases:
        readings = {} if parse(phrase.text) else _readings(phrase.text)
        if len(readings) == 1:
            found |= next(iter(readings.values()))
    return found


def _split(words: str) -> list[str]:
    """The phrases of OLD or NEW, split at commas, and at "and" if the grammar has the parts."""
    phrases: list[str] = []
    for phrase in filter(None, _COMMA.split(words.strip())):
        joined = _AND.split(phrase)
        phrases += joined if all(_exact(part) for part in joined) else [phrase]
    return phrases or [words]


def _bare(words: str) -> str:
    return _ARTICLE.sub("", phrase_key(words), count=1)


def _exact(words: str) -> Meaning | None:
    """The meaning of a phrase of the grammar; its article is ignored."""
    bare = _bare(words)
    return next((MEANING[phrase] for phrase in (bare, f"a {bare}", f"an {bare}") if phrase in MEANING), None)


def _readings(words: str) -> dict[str, Meaning]:
    """Possible meanings by attribute: that of the exact phrase, or what all phrases with these words share."""
    exact = _exact(words)
    if exact is not None:
        return {next(iter(exact)): exact}
    found: dict[str, Meaning] = {}
    bare = _bare(words)
    inside = f" {bare} "
    for phrase, meaning in MEANING.items():
        if inside in f" {phrase} ":
            field = next(iter(meaning))
            found[field] = dict(found.get(field, meaning).items() & meaning.items())
    return {field: meaning for field, meaning in found.items() if meaning} or found


def _rewrite(caption: str, change: Change) -> str:
    """The caption with the change of one phrase applied."""
    change = _affirmative(change)
    olds, news = _readings(change.old), _readings(change.new)
    if bool(olds) != bool(change.old) or bool(news) != bool(change.new):
        return _as_text(caption, change)
    both = [(field, field) for field in olds if field in news]
    pairs = both or list(itertools.product(olds or [""], news or [""]))
    stated_pairs = [(old, new) for old, new in pairs if not old or _states(caption, old, change.old, olds[old])]
    if not stated_pairs:
        return _as_unknown_text(caption, change, {old for old, _ in pairs}, f"the OLD, {change.old!r}")
    fitting = [(old, new) for old, new in stated_pairs if not new or _can_apply(caption, new, news[new])]
    if not fitting:
        return _as_unknown_text(
            caption, change, {new for _, new in stated_pairs}, f"something for {change.new!r} to color"
        )
    if len(fitting) > 1:
        meant = [
            _new_phrase(caption, new, news[new]) if new else _phrases(caption, old)[0].text for old, new in fitting
        ]
        raise ConfigError(f"the change {str(change)!r} is ambiguous: {_quoted(meant, 'or')}. Be more specific")
    old, new = fitting[0]
    changed = _with_value(caption, change.new, new, news[new]) if new else caption
    return _without(changed, old, olds[old]) if old and old != new else changed


def _affirmative(change: Change) -> Change:
    """A change to "no X" as the removal of X, unless "no X" is in the grammar."""
    denied = _DENIAL.fullmatch(phrase_key(change.new))
    if denied is None or _readings(change.new):
        return change
    olds, others = _readings(change.old or denied[1]), _readings(denied[1])
    return Change(old=change.old or denied[1], new="") if others and olds.keys() == others.keys() else change


def _states(caption: str, field: str, words: str, meaning: Meaning) -> bool:
    """Whether the caption states the meaning, or contains the words in the phrase of a part that is present."""
    if meaning and meaning.items() <= parse(caption).items():
        return True
    inside = f" {_bare(words)} "
    contained = not meaning or any(inside in f" {phrase_key(phrase.text)} " for phrase in _phrases(caption, field))
    return contained and _is_present(caption, field)


def _can_apply(caption: str, field: str, meaning: Meaning) -> bool:
    """Whether the part is present, if the meaning is only a color."""
    return not meaning or field in meaning or _is_present(caption, field)


def _is_present(caption: str, field: str) -> bool:
    absent = _ABSENT.get(field)
    return parse(caption).get(field, absent) != absent


def _new_phrase(caption: str, field: str, meaning: Meaning) -> str:
    """The attribute's phrase after a change, with the color of a new part if the caption is complete."""
    before = parse(caption)
    after = {**before, **meaning}
    if len(before) == len(VALUES):
        after = dataclasses.asdict(Attributes(**before).replace(**meaning))
    color = after.get(COLOR_OF.get(field, ""))
    return phrases_for(field, after[field], None if color == NONE else color)[0]


def _with_value(caption: str, words: str, field: str, meaning: Meaning) -> str:
    """The caption with a new phrase for an attribute, in the position of the old phrase or at the end."""
    if not meaning:
        raise ConfigError(f"{words!r}, the NEW of `change`, is not a value. Use one of {', '.join(VALUES[field])}")
    phrases = _phrases(caption, field)
    if meaning.items() <= parse(caption).items():
        raise ConfigError(f"the caption has {phrases[0].text!r}, so {words!r} changes nothing. Use another value")
    phrase = _new_phrase(caption, field, meaning)
    return _replaced(caption, field, phrase) if phrases else Change(old="", new=phrase).apply(caption)


def _without(caption: str, field: str, meaning: Meaning) -> str:
    """The caption with a value negated, or without its phrase if the grammar has no negation."""
    if meaning and field not in meaning:
        return _replaced(caption, field, phrases_for(field, parse(caption)[field], None)[0])
    if field in _ABSENT and _is_present(caption, field):
        return _replaced(caption, field, phrases_for(field, _ABSENT[field], None)[0])
    return Change(old=_phrases(caption, field)[0].text, new="").apply(caption)


def _replaced(caption: str, field: str, text: str) -> str:
    """The caption with another phrase for an attribute."""
    phrases = _phrases(caption, field)
    if len(phrases) > 1:
        texts = [phrase.text for phrase in phrases]
        raise ConfigError(f"the caption has {_quoted(texts, 'and')} for one attribute. Remove one of them")
    return caption[: phrases[0].start] + text + caption[phrases[0].end :]


def _phrases(caption: str, field: str) -> list[Phrase]:
    return [phrase for phrase, meaning in statements(caption) if field in meaning]


def _quoted(phrases: Iterable[str], joint: str) -> str:
    return f" {joint} ".join(map(repr, phrases))


def _as_unknown_text(caption: str, change: Change, fields: Iterable[str], missing: str) -> str:
    """The change as in any text, provided that the caption does not state these attributes."""
    contrary = [phrase.text for phrase, meaning in statements(caption) if not meaning.keys().isdisjoint(fields)]
    if contrary:
        raise ConfigError(f"the caption lacks {missing}: it has {_quoted(contrary, 'and')}. Change one of its phrases")
    return _as_text(caption, change)


def _as_text(caption: str, change: Change) -> str:
    """The change as in any text, provided that no attribute gets a second phrase."""
    changed = change.apply(caption)
    for field in VALUES:
        phrases = [phrase.text for phrase in _phrases(changed, field)]
        if len(phrases) > max(1, len(_phrases(caption, field))):
            raise ConfigError(
                f"the change {str(change)!r} leaves {_quoted(phrases, 'and')} for one attribute. Remove one of them"
            )
    return changed

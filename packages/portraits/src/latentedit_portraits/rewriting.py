"""Changes of a portrait's caption by its grammar: what is said of an attribute replaces what was said of it."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.change import Change, Phrase, phrase_key, read_phrases
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.captions import COLOR_OF, MEANING, parse, phrases_for, statements
from latentedit_portraits.worlds import NONE

Meaning = Mapping[str, str]
"""Attributes and their values; empty for words such as "hair", which name an attribute but no value."""

_ABSENT = {"hair": "bald", "accessory": NONE, "facial_hair": NONE}
_ARTICLE = re.compile(r"\A(?:an?|the) ")
_COMMA = re.compile(r"\s*,(?!\d)\s*")
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_DENIAL = re.compile(r"(?:no|without) (.+)")


def rewrite(caption: str, change: Change) -> str:
    """The caption with the change made, so that it still says one thing of an attribute.

    OLD and NEW are phrases of the grammar, or words that tell one from the others: "glasses", "sad", "black hair". What
    was said of the attribute is said anew in its place, canonically; color and shape stay where NEW names only the
    other. Where NEW is empty, hair, beards and glasses are denied ("no glasses"), and other phrases go. Several changes
    stand between commas. Words that the grammar does not know are changed as in any text, by `Change.apply`.

    Args:
        caption: of a portrait, full or not.
        change: what should be different.

    Raises:
        ConfigError: the caption contradicts OLD, says NEW already, or would contradict itself; or the words may mean
            several things.

    Example:
        >>> rewrite("a person with long black hair, a smile", Change.parse("black => blonde"))
        'a person with long blonde hair, a smile'
        >>> rewrite("a person with glasses, no beard", Change.parse("glasses => a beard"))
        'a person with no glasses, a beard'
    """
    for old, new in itertools.zip_longest(_listed(change.old), _listed(change.new), fillvalue=""):
        if phrase_key(old) != phrase_key(new):
            caption = _rewrite(caption, Change(old=old, new=new))
    return caption


def stated(caption: str) -> dict[str, str]:
    """What a caption states, also in words that only tell one phrase of the grammar from the others.

    Example:
        >>> stated("a person with pink hair, a smile")
        {'mouth': 'smile', 'hair_color': 'pink'}
    """
    found = parse(caption)
    for phrase in read_phrases(caption, lead=True).phrases:
        readings = {} if parse(phrase.text) else _readings(phrase.text)
        if len(readings) == 1:
            found |= next(iter(readings.values()))
    return found


def _listed(words: str) -> list[str]:
    """The phrases of one side, between commas, and beside "and" where the grammar knows them."""
    listed: list[str] = []
    for phrase in filter(None, _COMMA.split(words.strip())):
        joined = _AND.split(phrase)
        listed += joined if all(_whole(part) for part in joined) else [phrase]
    return listed or [words]


def _bare(words: str) -> str:
    return _ARTICLE.sub("", phrase_key(words), count=1)


def _whole(words: str) -> Meaning | None:
    """The meaning of a phrase of the grammar, whatever its article."""
    bare = _bare(words)
    return next((MEANING[phrase] for phrase in (bare, f"a {bare}", f"an {bare}") if phrase in MEANING), None)


def _readings(words: str) -> dict[str, Meaning]:
    """What words may mean: attribute to meaning, that of the phrase or what all phrases with these words share."""
    whole = _whole(words)
    if whole is not None:
        return {next(iter(whole)): whole}
    found: dict[str, Meaning] = {}
    bare = _bare(words)
    for phrase, meaning in MEANING.items():
        if _has(phrase, bare):
            field = next(iter(meaning))
            found[field] = dict(found.get(field, meaning).items() & meaning.items())
    return {field: meaning for field, meaning in found.items() if meaning} or found


def _has(phrase: str, words: str) -> bool:
    return f" {words} " in f" {phrase} "


def _rewrite(caption: str, change: Change) -> str:
    """The caption with the change of one phrase made."""
    change = _affirmative(change)
    olds, news = _readings(change.old), _readings(change.new)
    if bool(olds) != bool(change.old) or bool(news) != bool(change.new):
        return _as_text(caption, change)
    both = [(field, field) for field in olds if field in news]
    pairs = both or list(itertools.product(olds or [""], news or [""]))
    held = [(old, new) for old, new in pairs if not old or _holds(caption, old, change.old, olds[old])]
    if not held:
        return _unless_said(caption, change, {old for old, _ in pairs}, f"the OLD, {change.old!r}")
    fitting = [(old, new) for old, new in held if not new or _fits(caption, new, news[new])]
    if not fitting:
        return _unless_said(caption, change, {new for _, new in held}, f"something for {change.new!r} to color")
    if len(fitting) > 1:
        meant = [_phrase(caption, new, news[new]) if new else _said(caption, old)[0].text for old, new in fitting]
        raise ConfigError(f"the change {str(change)!r} may mean {_quoted(meant, 'or')}. Say more")
    old, new = fitting[0]
    changed = _stating(caption, change.new, new, news[new]) if new else caption
    return _without(changed, old, olds[old]) if old and old != new else changed


def _affirmative(change: Change) -> Change:
    """A change to "no X" in words that the grammar lacks, as the removal of X."""
    denied = _DENIAL.fullmatch(phrase_key(change.new))
    if denied is None or _readings(change.new):
        return change
    olds, others = _readings(change.old or denied[1]), _readings(denied[1])
    return Change(old=change.old or denied[1], new="") if others and olds.keys() == others.keys() else change


def _holds(caption: str, field: str, words: str, meaning: Meaning) -> bool:
    """Whether the caption states the meaning, or says the words of something that is there."""
    if meaning and meaning.items() <= parse(caption).items():
        return True
    spoken = not meaning or any(_has(phrase_key(phrase.text), _bare(words)) for phrase in _said(caption, field))
    return spoken and _is_there(caption, field)


def _fits(caption: str, field: str, meaning: Meaning) -> bool:
    """Whether what has the color is there, where the meaning is a color alone."""
    return not meaning or field in meaning or _is_there(caption, field)


def _is_there(caption: str, field: str) -> bool:
    absent = _ABSENT.get(field)
    return parse(caption).get(field, absent) != absent


def _phrase(caption: str, field: str, meaning: Meaning) -> str:
    """What is said of an attribute after a change; where the caption says everything, the color of what is new too."""
    stated = parse(caption)
    after = {**stated, **meaning}
    if len(stated) == len(VALUES):
        after = dataclasses.asdict(Attributes(**stated).replace(**meaning))
    color = after.get(COLOR_OF.get(field, ""))
    return phrases_for(field, after[field], None if color == NONE else color)[0]


def _stating(caption: str, words: str, field: str, meaning: Meaning) -> str:
    """The caption with something said of an attribute, in the place of what was said of it, or at its end.

    Raises:
        ConfigError: words that name no value, or nothing to change.
    """
    if not meaning:
        raise ConfigError(f"the NEW of `change`, {words!r}, says no value. Say one of {', '.join(VALUES[field])}")
    said = _said(caption, field)
    if meaning.items() <= parse(caption).items():
        raise ConfigError(f"the caption says {said[0].text!r}, so {words!r} changes nothing. Say something else")
    phrase = _phrase(caption, field, meaning)
    return _in_its_place(caption, field, phrase) if said else Change(old="", new=phrase).apply(caption)


def _without(caption: str, field: str, meaning: Meaning) -> str:
    """The caption that denies something, or, where the grammar knows no opposite, leaves it unsaid."""
    if meaning and field not in meaning:
        return _in_its_place(caption, field, phrases_for(field, parse(caption)[field], None)[0])
    if field in _ABSENT and _is_there(caption, field):
        return _in_its_place(caption, field, phrases_for(field, _ABSENT[field], None)[0])
    return Change(old=_said(caption, field)[0].text, new="").apply(caption)


def _in_its_place(caption: str, field: str, text: str) -> str:
    """The caption with the phrase of an attribute exchanged.

    Raises:
        ConfigError: it has several.
    """
    said = _said(caption, field)
    if len(said) > 1:
        texts = [phrase.text for phrase in said]
        raise ConfigError(f"the caption says {_quoted(texts, 'and')} of one attribute. Say one of them")
    return caption[: said[0].start] + text + caption[said[0].end :]


def _said(caption: str, field: str) -> list[Phrase]:
    return [phrase for phrase, meaning in statements(caption) if field in meaning]


def _quoted(phrases: Iterable[str], joint: str) -> str:
    return f" {joint} ".join(map(repr, phrases))


def _unless_said(caption: str, change: Change, fields: Iterable[str], missing: str) -> str:
    """The change as in any text, where the caption says nothing of some attributes.

    Raises:
        ConfigError: it does, and so contradicts what is missing.
    """
    said = [phrase.text for phrase, meaning in statements(caption) if not meaning.keys().isdisjoint(fields)]
    if said:
        raise ConfigError(f"the caption lacks {missing}: it says {_quoted(said, 'and')}. Change what is there")
    return _as_text(caption, change)


def _as_text(caption: str, change: Change) -> str:
    """The change as in any text.

    Raises:
        ConfigError: it would say two things of an attribute.
    """
    changed = change.apply(caption)
    for field in VALUES:
        said = [phrase.text for phrase in _said(changed, field)]
        if len(said) > max(1, len(_said(caption, field))):
            raise ConfigError(
                f"the change {str(change)!r} leaves {_quoted(said, 'and')} of one attribute. Remove one of them"
            )
    return changed

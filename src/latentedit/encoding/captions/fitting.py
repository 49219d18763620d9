"""Captions cut so that text encoders read the same of all captions of an edit, but for the change.

A text encoder ignores what it has no room for. Where a change makes a caption longer, that is the end of the target
alone, and the unchanged words there become part of the change ("no background"). So unchanged phrases are left out of
all captions until everything that is left is read: first those that deny something ("no hat"), then the last ones,
never the first, which is the subject. Where whole phrases are not enough, words at the end of an unchanged phrase, or a
common end of changed ones, go as well; in prose, at last, what captions have in common before and after the change.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from latentedit.core.errors import ConfigError
from latentedit.encoding.captions.base import shortened
from latentedit.encoding.captions.change import Caption, phrase_key
from latentedit.models.base import Text, TextReader

LeftOut = tuple[tuple[str, ...], ...]
"""For each text encoder, the phrases that it is not given; those that begin with `END` are ends of phrases, those that
end with dots, too, words within the caption."""

END = "... "
_WITHIN = " ..."
# Letters of scripts without blanks between words: Thai to Khmer, Chinese and Japanese.
UNBLANKED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{UNBLANKED}]|[^\s{UNBLANKED}]+")
_SHOWN = 60  # letters of a change in an error
_DENIAL = re.compile(r"(?:no|without)\s", re.IGNORECASE)
_SEPARATOR = re.compile(r"(?:,(?!\d)|[.;!?](?=\s))\s*")  # not the comma inside a number, as in "1,000 cats"


def fit(readers: Sequence[TextReader], captions: Sequence[str]) -> LeftOut:
    """Phrases to leave out of all captions so that each encoder reads all of the rest; see the module.

    Args:
        readers: the text encoders.
        captions: a source caption alone, or with its aligned target captions.

    Returns:
        For each encoder. One that has no room for the change itself reads its beginning.

    Raises:
        ConfigError: no encoder has room for the change.
    """
    found = [_fit_one(reader, captions) for reader in readers]
    if len({*captions}) > 1 and readers and not any(fits for _, fits in found):
        left = [without(caption, [*_shared(captions)]) for caption in captions]
        units, first, last = _units(left)
        changed = [some[first : len(some) - last] for some in units]
        texts = [one[part[0].start() : part[-1].end()] for one, part in zip(left, changed, strict=True) if part]
        words = max(texts, key=len, default="")
        most = max(reader.room for reader in readers)
        raise ConfigError(
            f"the change {shortened(words, _SHOWN)!r} is too long: the text encoder reads {most} tokens. Use less"
        )
    return tuple(left_out for left_out, _ in found)


def cut(caption: str, left_out: LeftOut) -> Text:
    """A caption as it is given to each text encoder; to all as it is where nothing is known of them."""
    return tuple(without(caption, phrases) for phrases in left_out) if left_out else caption


def without(caption: str, phrases: Sequence[str]) -> str:
    """A caption without these phrases; character for character the same if it has none of them.

    Example:
        >>> without("a man with a hat, a smile, on a sofa.", ["on a sofa", "a smile"])
        'a man with a hat.'
        >>> without("a man on a very old sofa, a smile", ["... very old sofa"])
        'a man on a, a smile'
    """
    for within in (phrase[len(END) : -len(_WITHIN)] for phrase in phrases if phrase.endswith(_WITHIN)):
        if caption.count(within) == 1:
            before, after = caption.split(within)
            glue = " " if before[-1:].isspace() and after[:1].isspace() else ""
            caption = before.rstrip() + glue + after.lstrip()
    lead, clauses, ending = _read(caption)
    whole = {phrase_key(phrase) for phrase in phrases}
    kept = [(text, separator) for text, separator in clauses if phrase_key(text) not in whole]
    for end in (phrase.removeprefix(END).split() for phrase in phrases if phrase.startswith(END)):
        kept = [
            (" ".join(text.split()[: -len(end)]) if _ends(text, end) else text, separator) for text, separator in kept
        ]
    if kept == [*clauses]:
        return caption
    return lead + "".join(text + separator for text, separator in kept[:-1]) + (kept[-1][0] if kept else "") + ending


def left_out_note(readers: Sequence[TextReader], left_out: LeftOut) -> list[str]:
    """One sentence about all that was left out; none if nothing was."""
    rooms = {(reader.name, reader.room): phrases for reader, phrases in zip(readers, left_out, strict=False) if phrases}
    if not rooms:
        return []
    parts = [f"{', '.join(map(repr, phrases))} ({name} reads {room} tokens)" for (name, room), phrases in rooms.items()]
    return [f"left out of the captions, which are too long: {'; '.join(parts)}"]


def _fit_one(reader: TextReader, captions: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Phrases withheld from one text encoder, and whether the remainder fits."""

    def fits(*left_out: str) -> bool:
        return all(reader.reads(without(caption, left_out)) for caption in captions)

    if fits():
        return (), True
    shared = _shared(captions)
    last_first = [text for text, _ in reversed(_read(captions[0])[1]) if phrase_key(text) in shared]
    phrases = sorted(last_first, key=lambda text: not _DENIAL.match(text))
    for count in range(1, len(phrases) + 1):
        if fits(*phrases[:count]):
            return tuple(phrases[:count]), True
    left = [without(caption, phrases) for caption in captions]
    for candidates in (_common_ends(left), _common_stretches(left)):
        for more in candidates:
            if fits(*phrases, *more):
                return (*phrases, *more), True
    return tuple(phrases), False


def _common_stretches(captions: Sequence[str]) -> Iterator[list[str]]:
    """Stretches that all captions share behind the change, from the end, then before it, backwards, but for the first
    word. The words next to the change stay as long as possible: without its noun, a color says little.
    """
    (units, *_), first, last = _units(captions)
    before, behind = max(first - 2, 0), max(last - 1, 0)  # how many may go
    cuts = [(max(count - behind, 0), min(count, behind)) for count in range(1, before + behind + 1)]
    for x, y in cuts if len(captions) > 1 else ():
        parts = units[first - 1 - x : first - 1] if x else [], units[len(units) - y :]
        texts = [captions[0][part[0].start() : part[-1].end()] for part in parts if part]
        if all(caption.count(text) == 1 for caption in captions for text in texts):
            yield [f"{END}{text}{_WITHIN}" for text in texts]


def _units(captions: Sequence[str]) -> tuple[list[list[re.Match[str]]], int, int]:
    """The words of each caption; how many are the same in all at the beginning, and at the end."""
    units = [list(_UNIT.finditer(caption)) for caption in captions]
    words = [[unit[0] for unit in some] for some in units]
    first = _alike(words)
    return units, first, _alike([some[first:][::-1] for some in words])


def _alike(texts: Sequence[Sequence[str]]) -> int:
    """How many words are the same at the beginning of all texts."""
    columns = enumerate(zip(*texts, strict=False))
    return next((index for index, column in columns if len({*column}) > 1), min(map(len, texts)))


def _common_ends(captions: Sequence[str]) -> Iterator[list[str]]:
    """Ends of phrases, the last phrase's first and ever longer, that as many phrases of every caption have.

    Not one that the change touches.
    """
    last = _units(captions)[2]
    texts = [[text for text, _ in _read(caption)[1]] for caption in captions]
    for text in reversed(texts[0]):
        words = text.split()
        for count in range(1, len(words)):
            end = words[-count:]
            if len({sum(_ends(one, end) for one in some) for some in texts}) > 1:
                break
            if count < last or len(captions) == 1 or not _ends(captions[0], end):
                yield [END + " ".join(end)]


def _ends(text: str, end: Sequence[str]) -> bool:
    """Whether a phrase has these words at its end, and others before them."""
    words = [word.casefold() for word in text.split()]
    return len(words) > len(end) and words[-len(end) :] == [word.casefold() for word in end]


def _shared(captions: Sequence[str]) -> set[str]:
    """The phrases that every caption has, and equally often, but for the first of any."""
    counts = [Counter(_keys(caption)) for caption in captions]
    first = {keys[0] for caption in captions if (keys := _keys(caption))}
    return {key for key, count in counts[0].items() if key not in first and {one[key] for one in counts} == {count}}


def _keys(caption: str) -> list[str]:
    return [phrase_key(text) for text, _ in _read(caption)[1]]


@functools.lru_cache(maxsize=1024)
def _read(caption: str) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """The lead, the phrases, also those between sentences, with the separators behind them, and the ending."""
    read = Caption.of(caption)
    start = read.phrases[0].start if read.phrases else 0
    body, clauses, position = caption[start : len(caption) - len(read.ending)], list[tuple[str, str]](), 0
    for match in _SEPARATOR.finditer(body):
        clauses.append((body[position : match.start()], match[0]))
        position = match.end()
    return caption[:start], (*clauses, (body[position:], "")), read.ending

"""Captions as phrases between commas, and changes of them, "OLD => NEW": words replaced, or a phrase added or removed.

Phrases often come after a lead such as "a person with"; they know their positions in the text.

A network sees each token at its position. A target caption that has the same phrases in another order, or a new one
first, differs from the source at every later position, and so would the direction. Moving tokens of the embedded text
would not help: at strength 1 the network has to get a real text. So captions are aligned before they are embedded.
"""

import dataclasses
import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence

from latentedit.core.errors import ConfigError, nearest

MAX_LETTERS = 10_000  # limit of the files of directions, too; the longest prompts of models have a fourth of it

_LEAD = re.compile(r"(.*?\bwith)\s+(\S.*)", re.DOTALL | re.IGNORECASE)
_ENDING_BACKWARDS = re.compile(r"[\s.!?]*")
# Not the comma inside a number, as in "1,000 cats".
_COMMA = re.compile(r",(?!\d)")

_ARROW = "=>"
_ARROWS = re.compile("[=-]>|→")
_SHORT = 40  # letters of words that an error repeats in its example
_SHOWN = 80  # letters of a text that an error repeats as an argument
_ORDER = re.compile(r"\s*(?:make|turn|give|let|put|change|have|replace|swap)\s", re.IGNORECASE)  # begins an instruction
_JOINTS = "and|in|on|wearing|with"  # words that join the parts of a phrase: "a man", "with", "a hat"
_JOINT = re.compile(rf"(?<!\S)(?:{_JOINTS})(?!\S)", re.IGNORECASE)
_FRAME = re.compile(rf"(?:(?:{_JOINTS}) )*(?:(?:an?|the) )?")
_ARTICLE = re.compile(r"(?<![\w-])(an?)\s+\Z", re.IGNORECASE)
_DETERMINER = re.compile(r"(?:an?|the|no|some|two|three|\d+)\b", re.IGNORECASE)
_DENIAL = re.compile(r"(?:no|without)\s+(.+)", re.IGNORECASE | re.DOTALL)
_DENIED = re.compile(r"(?<![\w-])(?:no|without)\s+(?:(?:an?|the)\s+)?\Z", re.IGNORECASE)
_REQUEST = re.compile(
    r"(?:add|change|convert|delete|edit|erase|give|insert|make|put|remove|replace|swap|turn)\b", re.IGNORECASE
)
# Phrases that cannot follow "with" when the phrase between is removed.
_NOT_AFTER_WITH = re.compile(rf"(?:\w+ing|at|against|by|near|over|under|{_JOINTS})\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A substring of a caption, without spaces around it; ``start`` is the index of its first character."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Index behind the last character in the caption."""
        return self.start + len(self.text)

    def split(self, separator: re.Pattern[str]) -> list["Phrase"]:
        """The stretches between the separators, without empty ones."""
        stretches: list[Phrase] = []
        start = 0
        for end, behind in [*(match.span() for match in separator.finditer(self.text)), (len(self.text),) * 2]:
            stretch = self.text[start:end]
            if text := stretch.strip():
                stretches.append(Phrase(text=text, start=self.start + start + stretch.index(text)))
            start = behind
        return stretches


@functools.lru_cache(maxsize=1024)
def phrase_key(phrase: str) -> str:
    """Equal for two phrases that differ in case and spaces only."""
    return " ".join(phrase.casefold().split())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A caption, parsed: its phrases, and the keys by which they are compared.

    Args:
        text: the caption itself.
        lead: the words up to the first "with" of the first phrase, which belong to all phrases, or "".
        phrases: the parts between the commas, behind the lead.
        keys: `phrase_key` of each of them.
        whole: the parts between the commas, the first with the lead.
        ending: final punctuation and spaces.

    Examples:
        >>> read = Caption.of("A man with 1,000 cats, a hat.")
        >>> read.lead, [phrase.text for phrase in read.phrases], read.ending
        ('A man with', ['1,000 cats', 'a hat'], '.')
        >>> [phrase.text for phrase in read.whole]
        ['A man with 1,000 cats', 'a hat']
    """

    text: str
    lead: str
    phrases: tuple[Phrase, ...]
    keys: tuple[str, ...]
    whole: tuple[Phrase, ...]
    ending: str

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def of(text: str) -> "Caption":
        """The caption of a text, which is parsed once."""
        ending = _ENDING_BACKWARDS.match(text[::-1])
        body = text[: len(text) - (0 if ending is None else ending.end())]
        whole = Phrase(text=body, start=0).split(_COMMA)
        match = _LEAD.fullmatch(whole[0].text) if whole else None
        led = whole if match is None else [Phrase(text=match[2], start=whole[0].start + match.start(2)), *whole[1:]]
        return Caption(
            text=text,
            lead="" if match is None else match[1],
            phrases=tuple(led),
            keys=tuple(phrase_key(phrase.text) for phrase in led),
            whole=tuple(whole),
            ending=text[len(body) :],
        )

    @property
    def texts(self) -> list[str]:
        """The phrases as texts; a lead counts as one."""
        texts = [phrase.text for phrase in self.phrases]
        return [self.lead, *texts] if self.lead else texts


def check_length(*captions: str) -> None:
    """Raise a `ConfigError` for a caption of more than `MAX_LETTERS`."""
    longest = max(map(len, captions), default=0)
    if longest > MAX_LETTERS:
        raise ConfigError(f"a caption has {longest} letters; the most is {MAX_LETTERS}. Shorten it")


def quoted(text: str) -> str:
    """A text as one could type it as an argument, cut where it is long."""
    return json.dumps(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...", ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a caption; a `ConfigError` if both parts are empty, or equal up to case and spaces."""

    old: str  # "" to add something
    new: str  # "" to remove something

    def __post_init__(self) -> None:
        if not (self.old.strip() or self.new.strip()):
            raise _malformed(str(self))
        if phrase_key(self.old) == phrase_key(self.new):
            raise ConfigError(f"OLD and NEW of `change` are the same in {str(self)!r}")

    @classmethod
    def parse(cls, text: str) -> "Change":
        """Parse "OLD => NEW"; "=> NEW" adds, "OLD =>" removes. The arrow may also be "->" or "→"."""
        sides = [" ".join(side.split()) for side in _ARROWS.split(text)]
        if len(sides) != 2:
            raise _malformed(text)
        return cls(old=sides[0], new=sides[1])

    def __str__(self) -> str:
        """The change as `parse` reads it, with single spaces."""
        return " ".join(f"{self.old} {_ARROW} {self.new}".split())

    @property
    def words(self) -> str:
        """The change as an instruction."""
        if self.old.strip() and self.new.strip():
            return f"replace {self.old} by {self.new}"
        return f"add {self.new}" if self.new.strip() else f"remove {self.old}"

    def apply(self, caption: str) -> str:
        """The caption with the change made, or a `ConfigError`; the rest stays character for character.

        Any words can be replaced, and "a" or "an" before them is made to agree. What is added becomes the last phrase,
        or replaces the phrase that denies it. What is removed is a whole phrase, or a part of one that "and", "in",
        "on", "wearing" or "with" joins to the rest.

        Example:
            >>> Change.parse("man => old man").apply("A man with no hat, a smile.")
            'An old man with no hat, a smile.'
            >>> Change.parse("=> a hat").apply("A man with no hat, a smile.")
            'A man with a hat, a smile.'
            >>> Change.parse("a smile =>").apply("A man with no hat, a smile.")
            'A man with no hat.'
        """
        check_length(caption, self.old, self.new)
        if not self.old.strip():
            return _added(caption, self.new.strip())
        if not self.new.strip():
            return _removed(caption, self.old)
        return _replaced(caption, self.old, self.new.strip())


def _malformed(text: str) -> ConfigError:
    if _ORDER.match(text) and not _ARROWS.search(text):
        problem = f'`change` replaces words of the caption, such as "a sad mouth {_ARROW} a smile"; got {text!r}'
        return ConfigError(f"{problem}. Sentences are an `instruction`, for models such as portraits-kontext")
    words = re.sub(r"\A\s*(?:add|remove)\s+", "", text).strip()
    if not words or len(words) > _SHORT or _ARROWS.search(words):
        words = "a hat"
    return ConfigError(
        f'`change` must look like "OLD {_ARROW} NEW"; got {text!r}. '
        f'To add: "{_ARROW} {words}"; to remove: "{words} {_ARROW}"'
    )


def _replaced(caption: str, old: str, new: str) -> str:
    spans = [Phrase(text=match[0], start=match.start()) for match in _words(old).finditer(caption)]
    span = _only(spans, old, caption, what="words")
    before = caption[: span.start]
    if (denial := _DENIED.search(before)) is not None:  # else "no glasses" would become "no hat"
        denied = caption[denial.start() : span.end]
        raise ConfigError(
            f"{old!r}, the OLD of `change`, is not there: the caption says {denied!r}. "
            f'Give "{denied} {_ARROW} {new}", or "{_ARROW} {new}"'
        )
    # "a" or "an" agrees with the word behind it, so it is replaced with the word.
    article = _ARTICLE.search(before)
    if article is not None and _DETERMINER.match(new):
        before = before[: article.start()]
    elif article is not None and new[0].isalpha():
        agreeing = article[1][0] + ("n" if new[0].lower() in "aeiou" else "")
        before = before[: article.start()] + agreeing + before[article.end(1) :]
    return before + new + caption[span.end :]


def _added(caption: str, new: str) -> str:
    # Otherwise the caption would both deny and state what is added.
    if (affirmed := _affirmed(caption, new)) is not None:
        return affirmed
    if _parts_like(caption, new):
        raise ConfigError(f"the caption says {new!r} already")
    opposite = _DENIAL.fullmatch(new)
    if opposite is not None and (runs := _parts_like(caption, opposite[1])):
        phrase = runs[0].span(caption).text
        raise ConfigError(
            f'{new!r} cannot be added to the caption, which says {phrase!r}. Replace it: "{phrase} {_ARROW} {new}"'
        )
    read = Caption.of(caption)
    if not read.whole:
        return new + read.ending
    return f"{caption[: read.whole[-1].end]}, {new}{read.ending}"


def _removed(caption: str, old: str) -> str:
    runs = _parts_like(caption, old)
    _only([parts.span(caption) for parts in runs], old, caption, what="a whole phrase")
    start, end = runs[0].cut(caption)
    left = caption[:start] + caption[end:]
    if not re.search(r"\w", left):
        raise ConfigError(f"{str(Change(old=old, new=''))!r} leaves nothing of the caption. Remove less")
    return left


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Neighboring parts of a phrase, ``parts[first : last + 1]`` of ``phrases[index]``."""

    phrases: tuple[Phrase, ...]
    index: int
    parts: list[Phrase]
    first: int
    last: int

    def span(self, caption: str) -> Phrase:
        start = self.parts[self.first].start
        return Phrase(text=caption[start : self.parts[self.last].end], start=start)

    def cut(self, caption: str) -> tuple[int, int]:
        """Start and end of the removed text, so that commas and joints in the rest are right."""
        start, end = self.parts[self.first].start, self.parts[self.last].end
        following, behind = self.parts[self.last + 1 :], self.phrases[self.index + 1 :]
        if self.first > 0:
            if following and self._joint(caption, self.last + 1) == "and":
                return start, following[0].start
            leads = self.index == 0 and not following and self._joint(caption, self.first) == "with"
            if leads and behind and not _NOT_AFTER_WITH.match(behind[0].text):
                return start, behind[0].start
            return self.parts[self.first - 1].end, end
        if following:
            return start, following[0].start
        if behind:
            return self.phrases[self.index].start, behind[0].start
        return (self.phrases[self.index - 1].end if self.index else 0), end

    def _joint(self, caption: str, position: int) -> str:
        return phrase_key(caption[self.parts[position - 1].end : self.parts[position].start])


def _parts_like(caption: str, words: str) -> list[_Parts]:
    """All runs of parts that are these words, apart from articles."""
    phrases = Caption.of(caption).whole
    key = _bare(words)
    count = len(key.split())
    runs: list[_Parts] = []
    for index, phrase in enumerate(phrases):
        parts = phrase.split(_JOINT)
        begins = [len(phrase.text[: part.start - phrase.start].split()) for part in parts]
        ends = [begin + len(part.text.split()) for begin, part in zip(begins, parts, strict=True)]
        for first, last in itertools.combinations_with_replacement(range(len(parts)), 2):
            if ends[last] - begins[first] not in (
                count,
                count + 1,
            ):  # words with an article or without; others cannot match
                continue
            run = _Parts(phrases=phrases, index=index, parts=parts, first=first, last=last)
            if _bare(run.span(caption).text) == key:
                runs.append(run)
    return runs


def _affirmed(caption: str, new: str) -> str | None:
    """The caption with "no NEW" or "without NEW" replaced by NEW; None if it says neither."""
    denial = re.compile(
        rf"(?<![\w-])(no|without)\s+(?:(?:an?|the)\s+)?{_words(_bare(new)).pattern}"
        rf"(?=\s*(?:[,.!?]|\Z|\b(?:and|but|in|or|wearing|with)\b))",
        re.IGNORECASE,
    )
    match = denial.search(caption)
    if match is None:
        return None
    alone = match.start() in {phrase.start for phrase in Caption.of(caption).whole}
    joint = "with " if match[1].lower() == "without" and not alone and not _JOINT.match(new) else ""
    return caption[: match.start()] + joint + new + caption[match.end() :]


def _bare(words: str) -> str:
    """Words for comparison, without leading joints and article."""
    key = phrase_key(words)
    return _FRAME.sub("", key, count=1) or key


def _words(text: str) -> re.Pattern[str]:
    """A pattern that matches these words as words, ignoring case and spacing."""
    words = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"(?<![\w-]){words}(?![\w-])", re.IGNORECASE)


def _only(spans: list[Phrase], old: str, caption: str, *, what: str) -> Phrase:
    """The only occurrence of OLD in the caption, or a `ConfigError`."""
    phrases = Caption.of(caption).whole
    if not spans:
        parts = {part.text for phrase in phrases for part in phrase.split(_JOINT)}
        raise ConfigError(f"{old!r}, the OLD of `change`, is not {what} of the caption; {nearest(old, parts)}")
    if len(spans) > 1:
        around = [phrase.text for span in spans for phrase in phrases if phrase.start <= span.start < phrase.end]
        raise ConfigError(
            f"{old!r}, the OLD of `change`, is in the caption {len(spans)} times: "
            f"{', '.join(map(repr, around))}. Use more words"
        )
    return spans[0]


def prompt_doubts(source: str, prompt: str, *, takes_instructions: bool = False) -> tuple[str, ...]:
    """A note on a target caption that reads as an instruction, or as a thing alone, and so describes no whole image.

    ``takes_instructions`` is whether the model does.

    Example:
        >>> [len(prompt_doubts("a photo of a man", one)) for one in ("add a hat", "a hat", "a man with a hat")]
        [1, 1, 0]
    """
    old, new = ({*re.findall(r"\w+", text.casefold())} - {"a", "an", "the"} for text in (source, prompt))
    if _REQUEST.match(prompt) and not _REQUEST.match(source):
        problem = "and this one reads as an instruction"
        if takes_instructions:
            return (f"`prompt` describes the whole edited image, {problem}; this model takes one as `instruction`",)
    elif 0 < 2 * len(new) < len(old) and not old & new:
        problem = "and this one shares no word with the source caption"
    else:
        return ()
    return (f'`prompt` describes the whole edited image, {problem}; for a change, give `change="=> glasses"`',)


@functools.lru_cache(maxsize=1024)
def align_captions(source: str, target: str) -> tuple[str, str]:
    """Source and target, the target's phrases (the parts between its commas) in the order of the source's.

    Shared phrases keep their positions; a changed phrase takes the position of the one that it has most in common with,
    by shared words and their lengths, or else of the first one left over; added phrases come last. Case and spaces do
    not matter. A lead such as "a person with", the words up to the first "with", stays in front if more phrases are
    shared without it. A target that has this order already is returned as it is.

    Example:
        >>> align_captions("a man with pale skin, short hair, a smile", "a man with glasses, a sad look, short hair")[1]
        'a man with glasses, short hair, a sad look'
        >>> align_captions("a cat, on a sofa", "a hat, a cat, on a sofa")[1]
        'a cat, on a sofa, a hat'
    """
    old, new = Caption.of(source), Caption.of(target)
    plain = [[phrase_key(phrase.text) for phrase in one.whole] for one in (old, new)]
    is_led = _shared(old.keys, new.keys) > _shared(*plain)
    order = _order(old.keys, new.keys) if is_led else _order(*plain)
    if order == sorted(order):
        return source, target
    phrases = ", ".join((new.phrases if is_led else new.whole)[index].text for index in order)
    return source, f"{new.lead if is_led else ''} {phrases}".lstrip() + new.ending


@functools.lru_cache(maxsize=1024)
def changed_phrases(source: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The phrases that only the source has, and those that only the target has; a lead counts as a phrase.

    Example:
        >>> changed_phrases("a man with pale skin, short hair", "a man with short hair, dark skin")
        (('pale skin',), ('dark skin',))
    """
    old, new = Caption.of(source).texts, Caption.of(target).texts
    return _without(old, new), _without(new, old)


def is_off_or_on(source: str, target: str) -> bool:
    """Whether a change adds, removes or exchanges a thing, so that no value lies in between: the nouns differ.

    The last of two or more words of a phrase counts as its noun; a word alone may be a color.

    Example:
        >>> is_off_or_on("a man, pale skin", "a man, dark skin"), is_off_or_on("a man, no hat", "a man, glasses")
        (False, True)
    """
    removed, added = changed_phrases(source, target)
    denied = any(phrase.partition(" ")[0].lower() in ("no", "without") for phrase in (*removed, *added))
    return denied or sorted(_noun(phrase) for phrase in removed) != sorted(_noun(phrase) for phrase in added)


def _noun(phrase: str) -> str:
    before, _, last = phrase_key(phrase).rpartition(" ")
    return last if before else ""


def change_words(source: str, target: str) -> str:
    """The change from source to target as "OLD => NEW"."""
    sides: list[str] = []
    for caption, phrases in zip((source, target), changed_phrases(source, target), strict=True):
        lead = Caption.of(caption).lead
        led = bool(lead) and phrases[:1] == (lead,)  # no comma follows it in the caption
        sides.append(f"{lead} {', '.join(phrases[1:])}".strip() if led else ", ".join(phrases))
    return f"{sides[0]} => {sides[1]}".strip()


def _shared(source: Sequence[str], target: Sequence[str]) -> int:
    return (Counter(source) & Counter(target)).total()


def _without(phrases: list[str], others: list[str]) -> tuple[str, ...]:
    left, unmatched = Counter(map(phrase_key, others)), list[str]()
    for phrase in phrases:
        if left[phrase_key(phrase)] > 0:
            left[phrase_key(phrase)] -= 1
        else:
            unmatched.append(phrase)
    return tuple(unmatched)


def _order(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Indices of the target's phrases in their new order: equal phrases first, then those that are most alike."""
    position_of: dict[int, int] = {}
    taken: set[int] = set()
    for i, old in enumerate(source):
        for j, new in enumerate(target):
            if old == new and i not in taken and j not in position_of:
                taken.add(i)
                position_of[j] = i
    rest = [i for i in range(len(source)) if i not in taken], [j for j in range(len(target)) if j not in position_of]
    pairs = [(_likeness(source[i], target[j]), i, j) for i, j in itertools.product(*rest)]
    for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if i not in taken and j not in position_of:
            taken.add(i)
            position_of[j] = i
    return sorted(range(len(target)), key=lambda j: (position_of.get(j, len(source)), j))


def _likeness(phrase: str, other: str) -> float:
    """Share of letters in common words: long words tell more than "a" and "no"."""
    words, others = Counter(phrase.split()), Counter(other.split())
    return 2 * _letters(words & others) / (_letters(words) + _letters(others))


def _letters(words: Counter[str]) -> int:
    return sum(len(word) * count for word, count in words.items())

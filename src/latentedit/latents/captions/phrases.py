"""Captions as phrases between commas, often after a lead such as "a person with", with their positions in the text."""

import dataclasses
import re

from latentedit.core.errors import ConfigError

_LEAD = re.compile(r"(.*?\bwith)\s+(\S.*)", re.DOTALL | re.IGNORECASE)
_ENDING_BACKWARDS = re.compile(r"[\s.!?]*")
_COMMA = re.compile(r",(?!\d)")

MAX_LETTERS = 10_000
"""As in the files of directions; the longest prompts of models have a fourth of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A stretch of a caption, without spaces around it; ``start`` is the index of its first character."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Index behind the last character in the caption."""
        return self.start + len(self.text)

    def split(self, separator: re.Pattern[str]) -> list["Phrase"]:
        """The stretches between the separators, without empty ones."""
        found: list[Phrase] = []
        start = 0
        for end, behind in [*(match.span() for match in separator.finditer(self.text)), (len(self.text),) * 2]:
            stretch = self.text[start:end]
            if text := stretch.strip():
                found.append(Phrase(text=text, start=self.start + start + stretch.index(text)))
            start = behind
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """A caption, parsed."""

    lead: str  # the words before the first phrase that belong to all of them, or ""
    phrases: tuple[Phrase, ...]  # the parts between the commas
    ending: str  # final marks and spaces, which belong to no phrase


def read_phrases(caption: str, *, lead: bool) -> Phrases:
    """The phrases of a caption; commas inside numbers do not part them.

    Args:
        lead: whether the words up to the first "with" of the first phrase are a lead, or a part of that phrase.

    Example:
        >>> read = read_phrases("A man with 1,000 cats, a hat.", lead=True)
        >>> read.lead, [phrase.text for phrase in read.phrases], read.ending
        ('A man with', ['1,000 cats', 'a hat'], '.')
    """
    ending = _ENDING_BACKWARDS.match(caption[::-1])
    body = caption[: len(caption) - (0 if ending is None else ending.end())]
    phrases = Phrase(text=body, start=0).split(_COMMA)
    found = _LEAD.fullmatch(phrases[0].text) if lead and phrases else None
    if found is not None:
        phrases[0] = Phrase(text=found[2], start=phrases[0].start + found.start(2))
    return Phrases(lead="" if found is None else found[1], phrases=tuple(phrases), ending=caption[len(body) :])


def check_length(*captions: str) -> None:
    """Raise a `ConfigError` for a caption of more than `MAX_LETTERS`."""
    longest = max(map(len, captions), default=0)
    if longest > MAX_LETTERS:
        raise ConfigError(f"a caption has {longest} letters; the most is {MAX_LETTERS}. Shorten it")


def phrase_key(phrase: str) -> str:
    """Equal for two phrases that differ in case and spaces only."""
    return " ".join(phrase.casefold().split())

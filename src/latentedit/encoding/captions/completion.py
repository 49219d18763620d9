"""Completed captions: the user's words, and from the image whatever they leave out.

A caption that omits an attribute leaves it free to change. So both captions get the same further phrases, and differ
only in the requested change. The user's words are kept, even where the captioner disagrees.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from latentedit.encoding.captions.change import Caption, phrase_key

REQUEST = (
    "A user describes this image as {source!r} and wants to change it to {target!r}. List everything else that is "
    "visible: each other attribute of the main subject and of the background, in a short phrase of its own, separated "
    "by commas. Mention nothing that the user mentions. Then write WRONG: and, separated by semicolons, what the "
    "user's description says that the image does not show, or none. Answer with that alone."
)
"""Asks a model that sees the image to complete a pair of captions; `append_answer` reads the answer."""

DESCRIBE_BOTH = (
    "A user wants to edit this image: {request!r}. Write SOURCE: and describe the image in one sentence of the form 'a "
    "... with ..., ..., ...'. Begin with the main subject, then name every visible attribute of it and of the "
    "background, each in a short phrase of its own between commas. Then write TARGET: and the same sentence for the "
    "edited image: replace only the phrases that the user wants to change, and repeat all others word for word, in the "
    "same order. Answer with that alone, without quotation marks."
)
"""Asks a model that sees the image for both captions of an edit; `PromptedCaptioner` reads the answer."""

_WRONG = "WRONG:"
_WORD = re.compile(r"[a-z0-9]+")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A completed pair of captions."""

    source: str
    target: str
    added: tuple[str, ...] = ()  # phrases that the captioner wrote, in either
    notes: tuple[str, ...] = ()  # contradictions between the user's source caption and the captioner, one clause each


def append_omitted(source: str, target: str, described: str) -> Completion:
    """The phrases of a description whose subject (last word) neither caption mentions, appended to both.

    An empty source caption becomes the description. The first phrase of a description without "with" names the main
    subject, which captions do not repeat.

    Example:
        >>> found = append_omitted("a man", "a man with a hat", "A man with short hair, no hat, a blue shirt.")
        >>> found.source, found.target
        ('a man with short hair, a blue shirt', 'a man with a hat, short hair, a blue shirt')
    """
    read = Caption.of(described)
    phrases = read.phrases if read.lead else read.phrases[1:]
    stated = {word for text in (source, target) for word in map(_stem, _WORD.findall(text.casefold()))}
    added: dict[str, str] = {}
    for phrase in phrases:
        words = _WORD.findall(phrase.text.casefold())
        if words and _stem(words[-1]) not in stated:
            added.setdefault(phrase_key(phrase.text), phrase.text)
    texts = tuple(added.values())
    whole = _appended(source, texts) if source.strip() else described
    return Completion(source=whole, target=_appended(target, texts), added=texts)


def complete_phrases(
    caption: str, complete: Caption, stated: Callable[[str], Mapping[str, str]]
) -> tuple[str, tuple[str, ...]]:
    """A caption with all phrases of a complete one that agrees with it, the user's own where they ``state`` as much.

    Returns the caption and the phrases that are not the user's. Caption that state nothing come last.
    """
    read = Caption.of(caption)
    lead, own = read.lead or complete.lead, [phrase.text for phrase in read.phrases]
    meanings = [stated(text).keys() for text in own]
    if not read.lead and own and not meanings[0]:  # "a man, a smile": the first phrase names the subject
        lead, own, meanings = f"{own[0]} with", own[1:], meanings[1:]
    made: list[str] = []
    added: list[str] = []
    for phrase in (item.text for item in complete.phrases):
        needed = stated(phrase).keys()
        fitting = next(
            (text for text, meaning in zip(own, meanings, strict=True) if meaning and needed <= meaning), None
        )
        if fitting is None:
            added.append(phrase)
        if (fitting or phrase) not in made:
            made.append(fitting or phrase)
    unknown = [text for text, meaning in zip(own, meanings, strict=True) if not meaning]
    return f"{lead} {', '.join([*made, *unknown])}".strip(), tuple(added)


def append_answer(source: str, target: str, answer: str) -> Completion:
    """`append_omitted` for the answer of a model to `REQUEST`: a list of phrases, and after "WRONG:" contradictions."""
    visible, _, wrong = answer.partition(_WRONG)
    phrases = [_BULLET.sub("", line).strip(" ,.;\"'`") for line in visible.splitlines()]
    completed = append_omitted(source, target, f"an image with {', '.join(filter(None, phrases))}")
    stated = [_BULLET.sub("", line).strip(" .;\"'`") for line in re.split("[;\n]", wrong)]
    notes = tuple(
        f"the captioner contradicts the caption: {text}" for text in stated if text and text.lower() != "none"
    )
    return dataclasses.replace(completed, notes=notes)


def _appended(caption: str, phrases: Sequence[str]) -> str:
    if not phrases:
        return caption
    read = Caption.of(caption)
    if not read.phrases:
        return ", ".join(phrases)
    joint = ", " if read.lead or len(read.phrases) > 1 else " with "
    end = max(phrase.end for phrase in read.phrases)
    return f"{caption[:end]}{joint}{', '.join(phrases)}{read.ending}"


def _stem(word: str) -> str:
    """A word without its plural s."""
    return word.removesuffix("s") if len(word) > 3 else word

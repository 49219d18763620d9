"""What of a caption a model does not read: words beyond its text encoder's tokens, words of no training caption."""

import re
from collections.abc import Sequence
from typing import Any

_PIECE = re.compile(r"[^\W\d_]+|\d")
_PUNCTUATION = ",.;:!?\"'()"


def room(tokenizer: Any, length: int) -> int:
    """The number of tokens left for the text itself."""
    return length - int(tokenizer.num_special_tokens_to_add())


def tokens_before(tokenizer: Any, prefix: str, text: str) -> int:
    """How many tokens a prefix adds to a text; a space between them may join the next word."""
    joined, alone = (len(tokenizer(part, add_special_tokens=False).input_ids) for part in (prefix + text, text))
    return joined - alone


def dropped_words(tokenizer: Any, text: str, length: int) -> list[str]:
    """The words of a text that lose a token or more when it is cut to ``length`` tokens."""
    left = room(tokenizer, length)
    if not getattr(tokenizer, "is_fast", True):
        return _dropped_by_count(tokenizer, text, left)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans: list[tuple[int, int]] = encoded["offset_mapping"]
    if len(spans) <= left:
        return []
    start = spans[max(left, 0)][0]
    while start < len(text) and text[start].isspace():
        start += 1
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    return _bare(text[start:].split())


def _dropped_by_count(tokenizer: Any, text: str, left: int) -> list[str]:
    """The same with a tokenizer that gives no offsets, such as those of transformers 4 in Python."""
    words = text.split()
    kept = len(words)
    while kept and len(tokenizer(" ".join(words[:kept]), add_special_tokens=False, verbose=False).input_ids) > left:
        kept -= 1
    return _bare(words[kept:])


def _bare(words: Sequence[str]) -> list[str]:
    """Words without punctuation around them."""
    return [bare for word in words if (bare := word.strip(_PUNCTUATION))]


def word_pieces(words: Sequence[str]) -> frozenset[str]:
    """Runs of letters and single digits in lower case, the units that CLIP's tokenizer splits text into."""
    return frozenset(piece for word in words for piece in _PIECE.findall(word.lower()))


def unseen_words(text: str, vocabulary: frozenset[str] | None) -> list[str]:
    """The words of a text with pieces outside the vocabulary of training; none where that is unknown (None)."""
    if vocabulary is None:
        return []
    words = (word.strip(_PUNCTUATION) for word in text.split())
    return [word for word in dict.fromkeys(words) if not word_pieces([word]) <= vocabulary]


def dropped_note(words: Sequence[str], room: int) -> list[str]:
    """A sentence about words that were cut off; none where there are none."""
    return [f"{listed(words)} dropped: the text encoder takes {room} tokens"] if words else []


def unseen_note(text: str, vocabulary: frozenset[str] | None) -> list[str]:
    """A sentence about words outside the vocabulary of training; none where there are none."""
    words = unseen_words(text, vocabulary)
    return [f"{listed(words)} never seen by the model in training"] if words else []


def listed(words: Sequence[str]) -> str:
    """``the word 'a' was`` or ``the words 'a', 'b' were``."""
    quoted = ", ".join(repr(word) for word in words)
    return f"the word {quoted} was" if len(words) == 1 else f"the words {quoted} were"

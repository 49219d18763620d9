"""What is asked for in a sentence, for editors that take instructions and no captions."""

import itertools

from latentedit.directions.text import changed_phrases

NOTHING = "Change nothing: keep the whole picture exactly as it is."
"""The instruction of an item whose right answer is the picture."""

_REST = "Keep everything else exactly as it is."
_ABSENT = "no "
_PLACES = ("on ", "in ", "with ")  # words that a phrase of a caption may begin with, and that an instruction leaves out


def instruction(source: str, target: str) -> str:
    """The change between two captions that name the same things in the same order.

    Example:
        >>> instruction("a man with no hat, a red coat", "a man with a blue hat, a green coat")
        'Add a blue hat. Change the red coat to a green coat. Keep everything else exactly as it is.'
    """
    removed, added = changed_phrases(source, target)
    sentences = [_sentence(_bare(old), _bare(new)) for old, new in itertools.zip_longest(removed, added, fillvalue="")]
    return " ".join([*sentences, _REST])


def _sentence(old: str, new: str) -> str:
    if not old or old.startswith(_ABSENT):
        return f"Add {new}."
    known = f"the {old.removeprefix('a ').removeprefix('an ')}"
    return f"Remove {known}." if not new or new.startswith(_ABSENT) else f"Change {known} to {new}."


def _bare(phrase: str) -> str:
    for place in _PLACES:
        phrase = phrase.removeprefix(place)
    return phrase

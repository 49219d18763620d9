"""Instructions: what to do with one portrait to get another, in the words of the captions' grammar."""

import itertools
import random

from latentedit.latents.encode import WORDINGS
from latentedit_portraits.attributes import VALUES, Attributes, split_of
from latentedit_portraits.captions import COLOR_OF, color_words, phrases_for, vocabulary
from latentedit_portraits.worlds import NONE, Split, words_of

NOTHING = (*WORDINGS, "leave it as it is")
"""What says that nothing is to be changed; the empty text is among it."""

_COUNTS = (0.1, 0.55, 0.25, 0.1)  # how often 0, 1, 2 and 3 attributes change
_ADDED = ("add {}", "give the person {}")
_BECOME = ("give the person {}", "change it to {}")
_REMOVED = ("remove the {}", "take away the {}")
_COLORED = ("make the {} {}", "change the {} to {}")
_JOINTS = (" and ", ", ")
_PART_OF = {color: part for part, color in COLOR_OF.items()}


def draw_answer(
    source: Attributes, generator: random.Random, *, changes: int | None = None, split: Split | None = "train"
) -> Attributes:
    """A portrait that differs in some attributes, and the colors that follow those.

    Args:
        source: the portrait to begin with.
        generator: of the answer.
        changes: how many attributes; none to three by chance if None.
        split: of the answer; None is any.
    """
    while True:
        (count,) = generator.choices(range(len(_COUNTS)), _COUNTS) if changes is None else (changes,)
        fields = generator.sample(_changeable(source), count)
        change = {name: generator.choice([v for v in _values(name) if v != getattr(source, name)]) for name in fields}
        answer = source.replace(**change)
        if split in (None, split_of(answer)):
            return answer


def draw_instruction(source: Attributes, answer: Attributes, generator: random.Random, *, idle: float = 0.15) -> str:
    """A wording of all that is to be done, or of no change; a share of them also ask for what is there already."""
    clauses = [generator.choice(told) for name in VALUES if (told := _clauses(name, source, answer))]
    if generator.random() < idle:
        clauses.append(generator.choice(_idle(source, answer)))
    if not clauses:
        return generator.choice(NOTHING)
    generator.shuffle(clauses)
    return generator.choice(_JOINTS).join(clauses)


def draw_idle_instruction(source: Attributes, generator: random.Random) -> str:
    """An instruction that does not apply: it asks for what is there, or about a part that is not."""
    return generator.choice(_idle(source, source))


def instruction_vocabulary() -> list[str]:
    """Every word and mark of captions and instructions, sorted."""
    templates = (*NOTHING, *_ADDED, *_BECOME, *_REMOVED, *_COLORED, *_JOINTS)
    nouns = (_noun(name, value) for name in VALUES for value in VALUES[name])
    return sorted(
        {*vocabulary(), *itertools.chain(*(words_of(text.replace("{}", "")) for text in (*templates, *nouns)))}
    )


def _changeable(source: Attributes) -> list[str]:
    """Attributes that can be another; a color, only of a part that is there."""
    return [name for name in VALUES if name not in _PART_OF or getattr(source, name) != NONE]


def _values(name: str) -> tuple[str, ...]:
    """What an attribute may become; a color is taken away with its part alone."""
    return tuple(value for value in VALUES[name] if value != NONE) if name in _PART_OF else VALUES[name]


def _clauses(name: str, source: Attributes, answer: Attributes) -> list[str]:
    """Ways of asking for an attribute of the answer; none where it stays, or where its part says it."""
    value = getattr(answer, name)
    part = _PART_OF.get(name)
    if value == getattr(source, name) or (part is not None and getattr(answer, part) != getattr(source, part)):
        return []
    if part is not None:
        return _colored(part, getattr(answer, part), value)
    if value == NONE:
        return _removed(name, getattr(source, name))
    color = COLOR_OF.get(name)
    follows = color is None or getattr(source.replace(**{name: value}), color) == getattr(answer, color)
    return _asked(name, value, None if follows or color is None else getattr(answer, color))


def _asked(name: str, value: str, color: str | None) -> list[str]:
    if name == "background":
        return _colored(name, value, value)
    forms = _ADDED if name in ("accessory", "facial_hair") else _BECOME
    return [form.format(phrase) for form in forms for phrase in phrases_for(name, value, color)]


def _colored(part: str, value: str, color: str) -> list[str]:
    return [form.format(_noun(part, value), word) for form in _COLORED for word in color_words(part, color)]


def _removed(name: str, old: str) -> list[str]:
    return [*(form.format(_noun(name, old)) for form in _REMOVED), phrases_for(name, NONE, None)[0]]


def _noun(name: str, value: str) -> str:
    """What a part is called with "the" before it."""
    if name in ("accessory", "facial_hair", "clothes") and value != NONE:
        return {"t-shirt": "shirt"}.get(value, value)
    return name.replace("_", " ")


def _idle(source: Attributes, answer: Attributes) -> list[str]:
    """Clauses that ask for what stays as it is, or for something to be done with a part that neither portrait has."""
    kept = [name for name in VALUES if name not in _PART_OF and getattr(source, name) == getattr(answer, name)]
    found = [
        clause for name in kept if (value := getattr(source, name)) != NONE for clause in _asked(name, value, None)
    ]
    for name in ("accessory", "facial_hair"):
        if name in kept and getattr(source, name) == NONE:
            found += [clause for old in _values(name) if old != NONE for clause in _removed(name, old)]
    return found

"""Instructions that turn one portrait into another, in the vocabulary of the captions."""

import random

from latentedit.encoding import NO_CHANGE_WORDINGS
from latentedit_portraits.attributes import VALUES, Attributes
from latentedit_portraits.captions import COLOR_OF, color_words, phrases_for
from latentedit_portraits.domains import NONE

NOTHING = (*NO_CHANGE_WORDINGS, "leave it as it is")
"""Instructions to change nothing, the empty text among them."""

_ADD_FORMS = ("add {}", "give the person {}")
_CHANGE_FORMS = ("give the person {}", "change it to {}")
_REMOVE_FORMS = ("remove the {}", "take away the {}")
_COLOR_FORMS = ("make the {} {}", "change the {} to {}")
_JOINTS = (" and ", ", ")
_PART_OF = {color: part for part, color in COLOR_OF.items()}


def draw_instruction(source: Attributes, answer: Attributes, generator: random.Random, *, idle: float = 0.15) -> str:
    """An instruction for all changes, or for none; with probability ``idle`` it also requests what is already there."""
    clauses = [generator.choice(forms) for name in VALUES if (forms := _clauses(name, source, answer))]
    if generator.random() < idle:
        clauses.append(generator.choice(_idle(source, answer)))
    if not clauses:
        return generator.choice(NOTHING)
    generator.shuffle(clauses)
    return generator.choice(_JOINTS).join(clauses)


def _values(name: str) -> tuple[str, ...]:
    """Values that an attribute can get; a color becomes "none" only together with its part."""
    return tuple(value for value in VALUES[name] if value != NONE) if name in _PART_OF else VALUES[name]


def _clauses(name: str, source: Attributes, answer: Attributes) -> list[str]:
    """Clauses that request an attribute of the answer; none if it is unchanged or its part implies it."""
    value = getattr(answer, name)
    part = _PART_OF.get(name)
    if value == getattr(source, name) or (part is not None and getattr(answer, part) != getattr(source, part)):
        return []
    if part is not None:
        return _color_clauses(part, getattr(answer, part), value)
    if value == NONE:
        return _removal_clauses(name, getattr(source, name))
    color = COLOR_OF.get(name)
    follows = color is None or getattr(source.replace(**{name: value}), color) == getattr(answer, color)
    return _value_clauses(name, value, None if follows or color is None else getattr(answer, color))


def _value_clauses(name: str, value: str, color: str | None) -> list[str]:
    if name == "background":
        return _color_clauses(name, value, value)
    forms = _ADD_FORMS if name in ("accessory", "facial_hair") else _CHANGE_FORMS
    return [form.format(phrase) for form in forms for phrase in phrases_for(name, value, color)]


def _color_clauses(part: str, value: str, color: str) -> list[str]:
    return [form.format(_noun(part, value), word) for form in _COLOR_FORMS for word in color_words(part, color)]


def _removal_clauses(name: str, old: str) -> list[str]:
    return [*(form.format(_noun(name, old)) for form in _REMOVE_FORMS), phrases_for(name, NONE, None)[0]]


def _noun(name: str, value: str) -> str:
    """A part's name after "the"."""
    if name in ("accessory", "facial_hair", "clothes") and value != NONE:
        return {"t-shirt": "shirt"}.get(value, value)
    return name.replace("_", " ")


def _idle(source: Attributes, answer: Attributes) -> list[str]:
    """Clauses that request what both portraits have, or the removal of what neither has."""
    unchanged = [name for name in VALUES if name not in _PART_OF and getattr(source, name) == getattr(answer, name)]
    clauses = [
        clause
        for name in unchanged
        if (value := getattr(source, name)) != NONE
        for clause in _value_clauses(name, value, None)
    ]
    for name in ("accessory", "facial_hair"):
        if name in unchanged and getattr(source, name) == NONE:
            clauses += [clause for old in _values(name) if old != NONE for clause in _removal_clauses(name, old)]
    return clauses

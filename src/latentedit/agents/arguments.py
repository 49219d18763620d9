"""The arguments of a tool as models write them: empty ones, numbers and lists as texts, names that resemble others."""

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Any

from latentedit.agents.refusals import SHOWN, cut_short
from latentedit.core.errors import ConfigError

_MOST_NAMES = 5  # most arguments that are named as not used
_LIKENESS = 0.75  # likeness of a name to that of an argument from which on it is taken for a slip
_INSTEAD = {  # arguments that people expect
    "overwrite": "no file is replaced: name another output",
    **dict.fromkeys(("instruction", "prompt"), "it compares pixels, and knows no instruction"),
}


def unused_arguments(arguments: Iterable[str], known: Collection[str]) -> str:
    """A line on arguments that no tool has, such as clients add; a `ConfigError` for one that resembles a known one."""
    others = [name for name in arguments if name not in known]
    for name in others:
        plain_name = re.sub(r"(?<=[a-z])(?=[A-Z])|\W", "_", name[:SHOWN]).lower()
        within = [one for one in known if f"_{one}_" in f"_{plain_name}_" or one.startswith(plain_name)]
        if near := within or difflib.get_close_matches(plain_name, known, 1, _LIKENESS):
            raise ConfigError(f"there is no argument {name!r}. Did you mean {max(near, key=len)!r}?")
    more = f" and {len(others) - _MOST_NAMES} more" if len(others) > _MOST_NAMES else ""
    listed = ", ".join(repr(cut_short(name) if len(name) > SHOWN else name) for name in others[:_MOST_NAMES])
    why = "".join(f"; {_INSTEAD[name]}" for name in others if name in _INSTEAD)
    return f"not used, since there is no such argument: {listed}{more}{why}" if others else ""


_NOTHING = ("", "none", "null", "undefined")  # texts that models pass for omitted arguments
_SHARES = ("max_outside", "strength")  # arguments that may be texts such as 0.1%


def typed_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without empty ones, which models pass for omitted ones; numbers and lists that came as texts."""
    given = {name: value for name, value in arguments.items() if not _is_nothing(value)}
    given |= {name: share_of(given[name], name) for name in _SHARES if isinstance(given.get(name), str | bool)}
    only = given.get("only", [])
    if not isinstance(only, list):
        if not re.fullmatch(r"[\[(]?\s*\d+([,;\s]+\d+)*\s*[\])]?", str(only).strip()):
            remedy = "Pass it like [1] or [1, 3], or leave it out"
            raise ConfigError(f"only takes a list of the numbers of regions; got {only!r}. {remedy}")
        given["only"] = [int(number) for number in re.findall(r"\d+", str(only))]
    return given


def _is_nothing(value: Any) -> bool:
    """Whether a value stands for an omitted one."""
    if isinstance(value, (dict, list)):
        return all(_is_nothing(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is None or str(value)[:SHOWN].strip(" \t\r\n\"'`").lower() in _NOTHING


def share_of(given: object, name: str) -> float:
    """The share that a text states: without % the number itself, as in JSON, and never a hundredth of it."""
    found = re.fullmatch(r"(%?)\s*([+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?)\s*(%?)", str(given).strip())
    share, remedy = None, "Pass one such as 0.5, a percentage such as 50%, or leave it out"
    if found is not None and not (found[1] and found[3]):
        value = float(found[2].replace(",", "."))
        share = value / 100 if found[1] or found[3] else value
        if 0 <= share <= 1 and "," not in found[2]:
            return share
        meant = share if 0 <= share <= 1 else value / 100
        remedy = f"Did you mean {meant:g}, which is {100 * meant:g}%?" if 0 <= meant <= 1 else remedy
    raise ConfigError(f"{name} is a number from 0 to 1; got {given!r}. {remedy}")

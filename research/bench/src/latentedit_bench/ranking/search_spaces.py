"""Search space and budget of every method of the benchmark.

``search_spaces.yaml`` has the settings except for the steps, which follow from the budget of evaluations. Text editors
have a second row with locality. An editor of another package needs no row: its defaults are tried, and each of its
numbers somewhat lower and higher.
"""

import bisect
import copy
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from latentedit.core import EDITORS, ConfigError, RegistryError, nearest

# Nothing heavy is imported here, so that an unknown name is refused at once.
if TYPE_CHECKING:
    from latentedit import JointLatent
    from latentedit.editors import Editor

OURS = "eim"  # the method of `latentedit edit`, with the settings that the model stores
BUDGET = 28  # network evaluations per image of one edit
TRIES = 16  # candidates of every method
_FIRST = 12  # first candidates of an editor without a row, before neighbors of the best
_DIGITS = 3  # significant digits of computed settings
MOST_STEPS = 60  # limit for a candidate whose steps are cheap: some editors have none to spend below a low level
Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A row of the ranking before tuning."""

    name: str  # in tables
    editor: str  # its name in the registry
    candidates: tuple[Settings, ...]  # the first to try, without steps
    budget: int = BUDGET  # network evaluations per image
    local: bool = False  # the change is kept to where it is strong
    tries: int = TRIES  # number of all candidates; the others are neighbors of the best


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Rows of a ranking other than the text editors that are compared with ours."""

    ours: str = OURS  # the row that is compared with every other
    family: Set[str] = frozenset((OURS,))  # rows of Encode, Identify, Manipulate, including ours: no rivals
    apart: Set[str] = frozenset()  # editors that are not text editors


def search_spaces() -> list[SearchSpace]:
    """Every method of the benchmark, and every other installed editor by itself."""
    rows = {one.editor for one in SEARCH_SPACES}
    return [*SEARCH_SPACES, *(around_defaults(name) for name in EDITORS.points() if name not in rows)]


def search_space(name: str) -> SearchSpace:
    """The space of a method's name, or of an editor without a row."""
    check_names([name])
    return next((one for one in SEARCH_SPACES if one.name == name), None) or around_defaults(name)


def differences(spaces: Iterable[SearchSpace]) -> dict[str, str]:
    """In what each method differs from the first one with its editor, in a few words; empty for that one."""
    first: dict[str, SearchSpace] = {}
    found: dict[str, str] = {}
    for one in spaces:
        base = first.setdefault(one.editor, one)
        own, others = _values(one), _values(base)
        fixed = {name: values[0] for name, values in own.items() if len(values) == 1}
        words = [f"{_short(name)} {value}" for name, value in fixed.items() if value not in others.get(name, [])]
        searched = [_short(name) for name in own.keys() - fixed if len(others.get(name, [])) < 2]
        words += [f"searched {' and '.join(sorted(searched))}"] if searched else []
        if one.local != base.local:
            words.append("kept to where the change is strong" if one.local else "changes everywhere")
        if one.editor == OURS:
            words.insert(0, "settings stored with the model" if one is base else "settings from `bench tune`")
        found[one.name] = ", ".join(words + ([f"{one.budget} evaluations"] if one.budget != BUDGET else []))
    return found


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _values(space: SearchSpace) -> dict[str, list[Any]]:
    """The values that each setting has among the first candidates; None where some lack it."""
    every = [_flat(one) for one in space.candidates]
    names = dict.fromkeys(name for one in every for name in one)
    return {name: list(dict.fromkeys(one.get(name) for one in every)) for name in names}


def method_names() -> list[str]:
    """Every method, and every other installed editor, sorted."""
    return sorted({one.name for one in SEARCH_SPACES} | EDITORS.points().keys())


def check_names(names: Iterable[str]) -> None:
    """A `RegistryError` for a name that is neither a method nor an installed editor."""
    known = method_names()
    for name in names:
        if name not in known:
            raise RegistryError(
                f"the benchmark has no method {name!r}: {nearest(name, known)} `latentedit bench methods` lists all; "
                "a method of your own is registered by an entry point, see docs/tutorials/benchmark.md"
            )


def around_defaults(name: str) -> SearchSpace:
    """An editor's defaults, and each number a quarter lower and higher within its range."""
    from latentedit.editors import editor_class  # noqa: PLC0415  # heavy

    kind = editor_class(name)
    defaults = kind.from_dict({}).to_dict()
    found = [defaults]
    for path, own in _flat(defaults).items():
        if isinstance(own, bool) or not isinstance(own, int | float) or path.rpartition(".")[2] == "steps":
            continue
        for factor in (0.75, 1.25):
            value = _rounded(factor * own, whole=False) if isinstance(own, float) else own + (1 if factor > 1 else -1)
            changed = _changed(defaults, path, value)
            try:
                kind.from_dict(changed)
            except ConfigError:  # outside its range
                continue
            found += [changed] if changed not in found else []
    candidates = tuple(without_steps(one) for one in found[:_FIRST])
    return SearchSpace(name=name, editor=name, candidates=candidates, local=kind.localizes)


def expand(space: Mapping[str, Any]) -> tuple[Settings, ...]:
    """The settings of a space of the table: every combination of those in "try", the last name changing fastest.

    "a.b" is b within a; "a, b" are two settings whose values come in pairs.
    """
    fixed, tried = {name: value for name, value in space.items() if name != "try"}, space.get("try", {})
    found: list[Settings] = []
    for values in itertools.product(*tried.values()):
        settings: dict[str, Any] = {}
        for name, value in {**fixed, **dict(zip(tried, values, strict=True))}.items():
            several = name.split(", ")
            for path, part in zip(several, value if len(several) > 1 else [value], strict=True):
                *above, last = path.split(".")
                at = settings
                for part_name in above:
                    at = at.setdefault(part_name, {})
                at[last] = part
        found.append(settings)
    return tuple(found)


def _read(table: Mapping[str, Any]) -> Iterator[SearchSpace]:
    """Ours, text editors without and with locality, the others."""
    for name, method in table["ours"].items():
        yield _space(name, OURS, method, local=method.get("local", True))
    for name, method in table["methods"].items():
        yield _space(name, name, method, local=False)
        yield _space(f"{name}, local", name, method, local=True)
    for name, method in table["others"].items():
        yield _space(name, name, method, local=False)


def _space(name: str, editor: str, method: Mapping[str, Any], *, local: bool) -> SearchSpace:
    candidates = [settings for space in method["spaces"] for settings in expand(space)]
    published = expand({key: value for key, value in method.get("published", {}).items() if key != "of"})[0]
    if published and published not in candidates:
        candidates.append(published)
    editor, budget = method.get("editor", editor), method.get("budget", BUDGET)
    return SearchSpace(name=name, editor=editor, candidates=tuple(candidates), budget=budget, local=local)


_FILE = resources.files("latentedit_bench.ranking").joinpath("search_spaces.yaml")
_TABLE: Mapping[str, Any] = yaml.safe_load(_FILE.read_text("utf-8"))

SEARCH_SPACES = tuple(_read(_TABLE))
"""Every method of the benchmark; those with a common editor and candidates are adjacent."""

ENDS: Mapping[str, tuple[float | None, float | None]] = {  # keys are names of settings, or the last part of them
    name: (ends.get("from"), ends.get("to")) for ends in _TABLE["ends"] for name in ends["of"]
}

ROLES = Roles(family=frozenset((OURS, *_TABLE["ours"])), apart=frozenset(_TABLE["others"]))
"""Of the rows of the benchmark."""


def at_budget(space: SearchSpace, settings: Settings, latent: "JointLatent") -> "Editor":
    """The editor of a candidate with as many steps as its budget pays for; unchanged if it has no steps."""
    from latentedit.editors import editor_class  # noqa: PLC0415  # heavy

    kind = editor_class(space.editor)
    if not hasattr(kind.from_dict(settings), "steps"):
        return kind.from_dict(settings)
    search = settings.get("search")
    free = None if search is None or "steps" in search else search  # otherwise the steps of the editor itself are

    def with_steps(steps: int) -> "Editor":
        given = {"steps": steps} if free is None else {"search": {**free, "steps": steps}}
        return kind.from_dict({**settings, **given})

    def cost(steps: int) -> int:
        return with_steps(steps).evaluations(latent)

    # Costs rise with the steps, and each is counted in a rehearsal: 6 of them instead of 60.
    most = bisect.bisect_right(range(1, MOST_STEPS + 1), space.budget, key=cost)
    if most == 0:
        raise ConfigError(
            f"one step of {space.name} with {dict(settings)} costs more than {space.budget} evaluations. "
            "Increase its budget"
        )
    return with_steps(most)


def without_steps(settings: Settings, space: SearchSpace | None = None) -> dict[str, Any]:
    """Settings of an editor without the steps that follow from the budget; steps that the space fixes stay.

    These are the steps of the search if it has some that are free, otherwise those of the editor.
    """
    fixed = space is not None and any("steps" in one.get("search", {"steps": 0}) for one in space.candidates)
    search = settings.get("search")
    if not fixed and isinstance(search, Mapping):
        return {**settings, "search": {name: value for name, value in search.items() if name != "steps"}}
    return {name: value for name, value in settings.items() if name != "steps"}


def edges(best: Settings, tried: Sequence[Settings]) -> dict[str, float]:
    """Numbers whose best value is the smallest or largest that was tried, and the next value to try beyond it.

    Natural limits (`ENDS`) and settings with one value are left out. The next value continues the geometric series of
    the last two, or the arithmetic one if they are not all above 0.
    """
    found, flat = dict[str, float](), _flat(best)
    for name, values in _ranges(best, tried).items():
        own, (low, high) = flat[name], ENDS.get(name, ENDS.get(name.rpartition(".")[2], (None, None)))
        for end, last, before in ((high, values[-1], values[-2]), (low, values[0], values[1])):
            if own == last != end:
                following = last * last / before if values[0] > 0 else 2 * last - before
                beyond = _rounded(following, whole=isinstance(own, int))
                passed = end is not None and (beyond > end) == (last > before) and beyond != end
                found[name] = end if passed and end is not None else beyond
    return found


def neighbors(best: Settings, tried: Sequence[Settings]) -> Iterator[dict[str, Any]]:
    """Settings that differ from the best in one number: beyond its edges, then halfway to the adjacent values."""
    steps, flat = list(edges(best, tried).items()), _flat(best)
    for name, values in _ranges(best, tried).items():
        own = flat[name]
        place = values.index(own)
        adjacent = values[max(0, place - 1) : place] + values[place + 1 : place + 2]
        steps += [(name, _rounded((own + other) / 2, whole=isinstance(own, int))) for other in adjacent]
    for name, value in steps:
        changed = _changed(best, name, value)
        if changed not in tried:
            yield changed


def _ranges(best: Settings, tried: Sequence[Settings]) -> dict[str, list[float]]:
    """Numbers with several tried values, in rising order; without steps, which follow from the budget."""
    found: dict[str, list[float]] = {}
    every = [_flat(one) for one in tried]
    for name, own in _flat(best).items():
        values = {value for one in every if (value := one.get(name)) is not None}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and len(values) > 1 and own is not None and name.rpartition(".")[2] != "steps":
            found[name] = sorted(values)
    return found


def _flat(settings: Settings, above: str = "") -> dict[str, Any]:
    """All settings but lists, by names such as "search.steps"."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        elif not isinstance(value, (list, tuple)):
            found[above + name] = value
    return found


def _changed(settings: Settings, name: str, value: float) -> dict[str, Any]:
    new: dict[str, Any] = copy.deepcopy(dict(settings))
    *above, last = name.split(".")
    at = new
    for part in above:
        at = at[part]
    at[last] = value
    return new


def _rounded(value: float, *, whole: bool) -> float:
    """A whole number, rounded away from 0; or a number with three digits."""
    if whole:
        return math.ceil(value) if value > 0 else math.floor(value)
    return float(f"{value:.{_DIGITS}g}")

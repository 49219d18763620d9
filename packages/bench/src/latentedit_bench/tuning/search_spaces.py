"""Every method of the benchmark before its settings are chosen: what is tried, and what an edit may cost.

The settings stand in ``search_spaces.yaml`` beside this file. They say everything but the number of steps, which is as
many as the budget of network evaluations pays for: no method is given more evaluations than another. One that cannot be
had at that price gets more, and its budget says so.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from latentedit.core.errors import ConfigError, RegistryError, nearest
from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_class
from latentedit.latents.joint import JointLatent

OURS = "eim"
"""The method that is compared with the baselines: what `latentedit edit` does."""

BUDGET = 28
"""Network evaluations a picture of one edit, everything counted."""

MOST_STEPS = 60
"""Steps beyond which no candidate goes, where a step is cheap: some editors have none to spend below a low level."""

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """A row of the ranking before its settings are chosen.

    Args:
        name: in tables.
        editor: its name in the registry.
        candidates: settings to be tried, all but the steps.
        budget: network evaluations a picture that each candidate may take.
        local: its change is kept to where it is strong.
    """

    name: str
    editor: str
    candidates: tuple[Settings, ...]
    budget: int = BUDGET
    local: bool = False

    @property
    def baseline(self) -> bool:
        """Not of Encode, Identify, Manipulate, and as its authors describe it."""
        return not (editor_class(self.editor).localizes or self.local)


def search_space(name: str) -> SearchSpace:
    """By the method's name.

    Raises:
        RegistryError: an unknown name, with the nearest ones.
    """
    found = {one.name: one for one in SEARCH_SPACES}
    if name not in found:
        raise RegistryError(f"no method of the benchmark is called {name!r}: {nearest(name, found)}")
    return found[name]


def expand(space: Mapping[str, Any]) -> tuple[Settings, ...]:
    """The settings that a space of the table stands for.

    Args:
        space: settings, and under "try" name to values, of which every combination is tried, the last name changing
            fastest. "a.b" is b within a; "a, b" are two settings whose values come in pairs.
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


def _read() -> tuple[SearchSpace, ...]:
    table = yaml.safe_load(resources.files("latentedit_bench.tuning").joinpath("search_spaces.yaml").read_text("utf-8"))
    return tuple(
        SearchSpace(
            name=name,
            editor=method["editor"],
            candidates=tuple(settings for space in method["spaces"] for settings in expand(space)),
            budget=method.get("budget", BUDGET),
            local=method.get("local", False),
        )
        for name, method in table["methods"].items()
    )


SEARCH_SPACES = _read()
"""Every method of the benchmark. Those that are not ours and yet local are controls: is it our locality alone?"""


def at_budget(space: SearchSpace, settings: Settings, latent: JointLatent) -> Editor:
    """The editor of a candidate with as many steps as its budget pays for.

    Args:
        space: whose budget it is.
        settings: of the candidate.
        latent: of the pictures, on whose grid of levels the cost depends.

    Raises:
        ConfigError: not even one step can be paid.
    """
    kind, best = editor_class(space.editor), None
    for steps in range(1, MOST_STEPS + 1):
        editor = kind.from_dict(_with_steps(settings, steps))
        if editor.evaluations(latent) > space.budget:
            break
        best = editor
    if best is None:
        raise ConfigError(
            f"one step of {space.name} with {dict(settings)} takes more than {space.budget} evaluations. "
            "Give it a larger budget"
        )
    return best


def _with_steps(settings: Settings, steps: int) -> dict[str, Any]:
    """Steps of the search where the settings have one whose steps are not fixed, else of the editor."""
    search = settings.get("search")
    if search is not None and "steps" not in search:
        return {**settings, "search": {**search, "steps": steps}}
    return {**settings, "steps": steps}

"""A method of the benchmark before its settings are chosen: what is tried, and what an edit may cost.

A candidate says everything but the number of steps, which is as many as the budget of network evaluations pays for: no
method is given more evaluations than another. One that cannot be had at that price gets more, and its budget says so.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import ConfigError
from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_class
from latentedit.latents.joint import JointLatent

BUDGET = 28
"""Network evaluations a picture of one edit, everything counted."""

MOST_STEPS = 60
"""Beyond which no candidate goes."""

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
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
        return not (self.local or editor_class(self.editor).localizes)


def affordable(contender: Contender, settings: Settings, latent: JointLatent) -> Editor:
    """The editor of a candidate with as many steps as its budget pays for.

    Args:
        contender: whose budget it is.
        settings: of the candidate.
        latent: of the pictures, on whose grid of levels the cost depends.

    Raises:
        ConfigError: not even one step can be paid.
    """
    kind, best = editor_class(contender.editor), None
    for steps in range(1, MOST_STEPS + 1):
        editor = kind.from_dict(_with_steps(settings, steps))
        if editor.evaluations(latent) > contender.budget:
            break
        best = editor
    if best is None:
        raise ConfigError(
            f"expected {contender.name} with {dict(settings)} to fit {contender.budget} evaluations; one step takes "
            "more. Give it a larger budget"
        )
    return best


def _with_steps(settings: Settings, steps: int) -> dict[str, Any]:
    """Steps of the search where the settings have one whose steps are not fixed, else of the editor."""
    search = settings.get("search")
    if search is not None and "steps" not in search:
        return {**settings, "search": {**search, "steps": steps}}
    return {**settings, "steps": steps}

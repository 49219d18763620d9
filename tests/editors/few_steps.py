"""Registered editors with cheap settings."""

from typing import Any

from latentedit.editors.base import Editor, make_editor
from latentedit.models.base import Backbone
from tests.testing.gaussian_mixture import example_mixture

SMALL: dict[str, Any] = {"steps": 3, "maps": 1, "rank": 2, "products": 4, "repeats": 1, "probes": 1}


def few_steps(name: str, backbone: Backbone | None = None) -> Editor:
    """The editor with a model's settings, but few steps, maps and vectors where it has such settings."""
    editor = make_editor(name, backbone or example_mixture(dimension=2))
    known = editor.to_dict()
    small = {key: value for key, value in SMALL.items() if key in known}
    if "search" in known:
        small["search"] = {**known["search"], "steps": 2}
    return type(editor).from_dict({**known, **small})

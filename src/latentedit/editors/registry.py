"""Editors by name: the built-in ones and those of other packages, through one entry-point group."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import RegistryError, nearest
from latentedit.editors.base import Editor
from latentedit.models.base import Backbone

ENTRY_POINTS = "latentedit.editors"


def editor_names() -> list[str]:
    """Every registered editor, sorted."""
    return sorted(importlib.metadata.entry_points(group=ENTRY_POINTS).names)


def editor_class(name: str) -> type[Editor]:
    """The class that is registered under a name.

    Raises:
        RegistryError: an unknown name, with the nearest ones, or an entry point that is no editor.
    """
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise RegistryError(f"expected the name of an editor; got {name!r}: {nearest(name, found)}")
    loaded = found[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Editor)):
        raise RegistryError(f"expected the entry point {name!r} to be a subclass of Editor; got {loaded!r}")
    return loaded


def stored_settings(name: str, backbone: Backbone) -> Mapping[str, Any]:
    """The settings of an editor that suit a model, from the model's folder; empty where it has none."""
    return backbone.defaults.get("editors", {}).get(name, {})


def make_editor(name: str, backbone: Backbone) -> Editor:
    """The editor of that name with the settings that suit the model, where the model's folder has them.

    Raises:
        RegistryError: an unknown name.
        ConfigError: the folder names a setting that the editor does not have.
    """
    return editor_class(name).from_dict(stored_settings(name, backbone))

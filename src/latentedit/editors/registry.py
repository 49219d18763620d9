"""Editors by name: the built-in ones and those of other packages, through one entry-point group."""

from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import Editor, weights_of_one
from latentedit.models.base import Backbone


def editor_class(name: str) -> type[Editor]:
    """The class that is registered under a name.

    Raises:
        RegistryError: an unknown name, with the nearest ones, or an entry point that is no editor.
    """
    loaded = EDITORS.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Editor)):
        raise RegistryError(f"the entry point {name!r} is no subclass of Editor; it is {loaded!r}")
    return loaded


def stored_settings(name: str, backbone: Backbone) -> Mapping[str, Any]:
    """The settings of an editor that suit a model.

    Those of the model's folder; without such a table those that were published for its family. A model that was
    distilled to need no guidance has weights of 1.
    """
    found = backbone.defaults.get("editors", backbone.published).get(name, {})
    if backbone.capabilities.guidance_kind == "none":
        return {**found, **weights_of_one(editor_class(name))}
    return found


def make_editor(method: str | Editor, backbone: Backbone) -> Editor:
    """The editor of that name with the settings that suit the model, where its folder has them; an editor as it is.

    Raises:
        RegistryError: an unknown name.
        ConfigError: the folder names a setting that the editor does not have.
    """
    return editor_class(method).from_dict(stored_settings(method, backbone)) if isinstance(method, str) else method

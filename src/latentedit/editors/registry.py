"""Editors by name: the built-in ones and those of other packages, through one entry-point group."""

from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import Editor, weights_of_one
from latentedit.editors.eim import EIM
from latentedit.models.base import Backbone
from latentedit.models.calibrations import suitable


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

    Those of the model's folder, or calibrated ones (`models.calibrations` says which come first); without a table in
    the folder those that were published for its family. A model that was distilled to need no guidance has weights of
    1.
    """
    table = backbone.defaults.get("editors")
    found = suitable(backbone, name, _own(name, backbone))
    if found is None:
        found = {} if table is not None else backbone.published.get(name, {})
    if backbone.capabilities.guidance_kind == "none":
        return {**found, **weights_of_one(editor_class(name))}
    return found


def localizes(editor: Editor | type[Editor], backbone: Backbone) -> bool:
    """Whether the change of an editor is kept to where it is strong, unless the user says otherwise.

    As was calibrated for the model where the editor's settings are, else as the editor declares.
    """
    found: Any = suitable(backbone, "local", _own(EIM.name, backbone)) if editor.name == EIM.name else None
    return found if isinstance(found, bool) else editor.localizes


def make_editor(method: str | Editor, backbone: Backbone) -> Editor:
    """The editor of that name with the settings that suit the model, where its folder has them; an editor as it is.

    Raises:
        RegistryError: an unknown name.
        ConfigError: the folder names a setting that the editor does not have.
    """
    return editor_class(method).from_dict(stored_settings(method, backbone)) if isinstance(method, str) else method


def _own(name: str, backbone: Backbone) -> Mapping[str, Any] | None:
    """What the model's maker tuned of an editor; None where that is nothing."""
    return backbone.defaults.get("editors", {}).get(name)

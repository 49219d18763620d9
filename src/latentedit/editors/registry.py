"""Editors by name: the built-in ones and those of other packages, through one entry-point group."""

from collections.abc import Mapping
from typing import Any

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import Editor, weights_of_one
from latentedit.editors.eim import EIM
from latentedit.models.base import Backbone
from latentedit.models.calibrations import SETTINGS, calibration_of, suitable

FIELD_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
"""Settings by their names in diffusers' pipelines, and ours."""

UNTUNED = "flowedit"
"""The editor that `docs/methods.md` recommends for models without tuned settings."""


def editor_class(name: str) -> type[Editor]:
    """The class that is registered under a name; an unknown name or another object raises a RegistryError."""
    loaded = EDITORS.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Editor)):
        raise RegistryError(f"the entry point {name!r} is not a subclass of Editor; it is {loaded!r}")
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


def default_method(backbone: Backbone, *, instructed: bool = False) -> str:
    """The editor for a model where the user names none, as docs/methods.md recommends.

    `eim` where settings were tuned or calibrated for the model, and for instructions; else ``flowedit``.

    Args:
        instructed: the model is shown the picture, and told what to do with it.

    Raises:
        FileFormatError: a calibration that is damaged.
    """
    tuned = "editors" in backbone.defaults or SETTINGS in calibration_of(backbone)
    return EIM.name if tuned or instructed else UNTUNED


def default_note(method: str | Editor | None, backbone: Backbone, *, instructed: bool = False) -> tuple[str, ...]:
    """What the user should know where the default is not `eim`; nothing where a method was named."""
    if method is not None or default_method(backbone, instructed=instructed) == EIM.name:
        return ()
    return (f"method {UNTUNED} ({backbone.name} has no stored settings; choose with `method`)",)


def make_editor(
    method: str | Editor | None,
    backbone: Backbone,
    *,
    instructed: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Editor:
    """The editor of that name, or `default_method`, with the settings that suit the model; an editor as it is.

    Args:
        method: name of an editor, an editor, or None for the default.
        backbone: the model.
        instructed: the images were encoded for instructions.
        settings: those of the editor that differ, by its own names or those of `FIELD_NAMES`.

    Raises:
        RegistryError: an unknown name.
        ConfigError: a setting that the editor does not have.
    """
    name = default_method(backbone, instructed=instructed) if method is None else method
    changes = {FIELD_NAMES.get(key, key): value for key, value in (settings or {}).items()}
    if isinstance(name, str):
        return editor_class(name).from_dict({**stored_settings(name, backbone), **changes})
    return type(name).from_dict({**name.to_dict(), **changes}) if changes else name


def check_moves_along(kind: type[Editor], asked: str = "move along directions") -> None:
    """Refuse a class of editors that does not move pictures along directions: `EIM` alone does, and no subclass."""
    if kind is not EIM:
        raise ConfigError(f'the method {kind.name!r} cannot {asked}. Use `method="eim"`')


def _own(name: str, backbone: Backbone) -> Mapping[str, Any] | None:
    """What the model's maker tuned of an editor; None where that is nothing."""
    return backbone.defaults.get("editors", {}).get(name)

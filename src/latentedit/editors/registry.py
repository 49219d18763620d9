"""Editors by name: the built-in ones and those of other packages, through one entry-point group."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.core.settings import Count, check
from latentedit.directions.direction import Direction, lives_at_level
from latentedit.editors.base import Editor, unit_guidance
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings

# Settings by their names in diffusers' pipelines, and ours.
FIELD_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance"}

_SAME_LEVEL = 1e-6  # noise levels that differ by less are equal; files store them as decimals
UNTUNED = "flowedit"  # the editor that `docs/methods.md` recommends for models without tuned settings


def editor_class(name: str) -> type[Editor]:
    """The class that is registered under a name; an unknown name or another object raises a RegistryError."""
    loaded = EDITORS.load(name)
    if not (isinstance(loaded, type) and issubclass(loaded, Editor)):
        raise RegistryError(f"the entry point {name!r} is not a subclass of Editor; it is {loaded!r}")
    return loaded


def stored_settings(name: str, backbone: Backbone) -> Mapping[str, Any]:
    """The settings of an editor that suit a model (`models.model_settings.ModelSettings`).

    A model that was distilled to need no guidance has weights of 1.
    """
    stored = ModelSettings.of(backbone).editor(name)
    if backbone.capabilities.guidance_kind == "none":
        return {**stored, **unit_guidance(editor_class(name))}
    return stored


def localizes(editor: Editor | type[Editor], backbone: Backbone) -> bool:
    """Whether an editor keeps its change to where it is strong by default: as calibrated, else as the editor says."""
    stored = ModelSettings.of(backbone).local if editor.name == EIM.name else None
    return editor.localizes if stored is None else stored


def default_method(backbone: Backbone, *, instructed: bool = False) -> str:
    """The default editor of a model: `eim` with tuned or calibrated settings and for instructions, else `UNTUNED`."""
    return EIM.name if instructed or ModelSettings.of(backbone).tuned else UNTUNED


def default_note(method: str | Editor | None, backbone: Backbone, *, instructed: bool = False) -> tuple[str, ...]:
    """A note where the default is not `eim`; none where a method was named."""
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
    """An editor with the settings that suit the model; one that is given stays as it is.

    Args:
        method: name of an editor, an editor, or None for the `default_method`.
        backbone: the model.
        instructed: the images were encoded for instructions.
        settings: other values, by the editor's names or those of `FIELD_NAMES`.

    Raises:
        RegistryError: an unknown name.
        ConfigError: a setting that the editor does not have.
    """
    name = default_method(backbone, instructed=instructed) if method is None else method
    kind = editor_class(name) if isinstance(name, str) else type(name)
    fields = {field.name for field in dataclasses.fields(cast(Any, kind))}
    names = {diffusers: own for diffusers, own in FIELD_NAMES.items() if own in fields}
    changes = {names.get(key, key): value for key, value in (settings or {}).items()}
    if isinstance(name, str):
        return kind.from_dict({**stored_settings(name, backbone), **changes})
    return kind.from_dict({**name.to_dict(), **changes}) if changes else name


get = make_editor  # `latentedit.editors.get`


def check_moves_along(kind: type[Editor], action: str = "move along directions") -> None:
    """Raise a ConfigError for what only `EIM` does, and no subclass of it: moving images along directions."""
    if kind is not EIM:
        raise ConfigError(f'the method {kind.name!r} cannot {action}. Use `method="eim"`')


def stored_eim(model: Backbone) -> EIM:
    """`EIM` with the settings stored for a model."""
    return EIM.from_dict(stored_settings(EIM.name, model))


def default_manipulation(latent: JointLatent, directions: Sequence[Direction], settings: Mapping[str, Any]) -> EIM:
    """The editor that moves images along directions: with these settings, and defaults for model and directions.

    Directions at a noise level (`directions.at_level`) move images there, by the joint arm, together with any others.
    Directions that were found on other images and have words move as ``latentedit.json`` says under "transfer".
    """
    defaults = stored_eim(latent.backbone).settings_along()
    if at_level := [direction for direction in directions if lives_at_level(direction)]:
        defaults = _at_their_level(at_level)
    elif all(_is_transferred(direction, latent) for direction in directions):
        defaults |= latent.backbone.defaults.get("transfer", {})
    return EIM.from_dict({**defaults, **settings})


def _at_their_level(directions: Sequence[Direction]) -> dict[str, Any]:
    levels = [direction.level for direction in directions]
    if max(levels) - min(levels) > _SAME_LEVEL:
        listed = ", ".join(f"{level:g}" for level in sorted(set(levels)))
        raise ConfigError(
            f"directions of different noise levels cannot be applied together; got levels {listed}. "
            "Apply them in sequence, each to the previous result"
        )
    steps = [direction.settings["steps"] for direction in directions]
    for count in steps:
        check(Count, steps=count)  # it may come from a file
    return {"arm": "joint", "level": levels[0], "steps": max(steps)}


def _is_transferred(direction: Direction, latent: JointLatent) -> bool:
    """Whether a direction was found on other images, not these nor their edits, and has words for other captions."""
    here = {frame.picture.fingerprint for frame in latent.frames}
    return (
        bool(direction.pictures and direction.target_captions)
        and here.isdisjoint(name.partition("-")[0] for name in direction.pictures)
        and direction.target_captions != latent.captions
    )

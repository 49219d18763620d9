"""The request for an edit: the one object between the command line, the page or Python, and the library."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import EDITORS
from latentedit.latents.captions.change import Change
from latentedit_keep.base.files import Encoded

# Nothing heavy is imported here, so that an invalid request is refused at once.
if TYPE_CHECKING:
    from latentedit.directions.direction import Direction
    from latentedit.editors.base import Editor
    from latentedit.latents.captions.base import Captioner
    from latentedit.latents.encode import ImageLike
    from latentedit.latents.images import MaskLike


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditRequest:
    """An edit of any number of images, checked when it is created; `editing.verbs.edit_images` performs it.

    Args:
        prompt: target captions, one for all images or one each.
        change: instead of ``prompt``, "OLD => NEW" in the captions; either side may be empty.
        instruction: instead of both, one or several instructions for an instruction-tuned model.
        direction: instead of all these, directions or their files.
        source_prompt: source captions, one for all images or one each; by default a captioner writes them.
        complete: complete partial captions from the image (see `captions.completion`), where there is a captioner.
        captioner: the captioner, an object or a name (see `captions.base.make_captioner`); by default the model's own.
        references: additional reference images for an instruction-tuned model.
        mask: where the images may change, white for yes; of the same size. Everywhere by default.
        strength: 0 is the image itself, 1 the full change; one for all changes or directions, or one each.
        method: name of an editor (with the settings stored for the model), an editor, or None for the model's default
            (`editors.base.default_method`). Only `eim` takes directions, ``combine`` and several strengths, and is
            then the default.
        combine: how the cross-talk of several changes or directions is handled: "sum", "inverse" or "projection"; see
            `directions.composition`.
        auto_mask: restrict the edit to an automatic soft mask; by default as stored for the model
            (`editors.base.localizes`).
        refine: redraw the core of the change under the target caption (`editors.refinement`); by default yes for
            changes that `eim` searches in the image part. Given directions are applied as they are.
        seed: random seed.
        settings: of the editor, in addition to those stored for the model (see `editors.base.make_editor`).
        force: edit images that are out of distribution for the model, with a warning; otherwise they are refused.

    Raises:
        ConfigError: two of ``prompt``, ``change``, ``instruction`` and ``direction``, a source prompt with an
            instruction, an empty text, a strength that is not a finite number, a wrong number of strengths, or
            something that the editor cannot do.
        RegistryError: an unknown editor.
    """

    prompt: str | tuple[str, ...] | None = None
    change: tuple[str | Change, ...] = ()
    instruction: tuple[str, ...] = ()
    direction: "tuple[Direction | Path, ...]" = ()
    source_prompt: str | tuple[str, ...] | None = None
    complete: bool = True
    captioner: "str | Captioner | None" = None
    references: "tuple[ImageLike, ...]" = ()
    mask: "MaskLike | None" = None
    strength: tuple[float, ...] = (1.0,)
    method: "str | Editor | None" = None
    combine: str = "sum"
    auto_mask: bool | None = None
    refine: bool | None = None
    seed: int = 0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    force: bool = True

    def __post_init__(self) -> None:
        targets = [f"`{name}`" for name in ("prompt", "change", "instruction", "direction") if getattr(self, name)]
        if len(targets) > 1:
            raise ConfigError(f"{' and '.join(targets)} exclude each other. Give one of them")
        if self.instruction and (self.source_prompt is not None or self.captioner is not None):
            raise ConfigError(
                "`instruction` cannot be combined with `source_prompt` or `captioner`: an instruction-tuned model "
                "needs no caption. Leave them out"
            )
        texts = {"`prompt`": self.prompt, "`source_prompt`": self.source_prompt, "`instruction`": self.instruction}
        check_texts(texts)
        for change in self.change:
            if isinstance(change, str):
                _check_utf8("`change`", change)
                Change.parse(change)
        count = max(1, len(self.change), len(self.instruction), len(self.direction))
        for strength in self.strength:
            if isinstance(strength, bool) or not math.isfinite(strength):
                raise ConfigError(f"`strength` must be a finite number, such as 1.0; got {strength}")
        if len(self.strength) not in (1, count):
            raise ConfigError(
                f"`strength` must be one number, or one for each of {count} changes; got {len(self.strength)}. "
                "Give as many as there are changes"
            )
        if isinstance(self.method, str) and self.method not in EDITORS.points():
            raise EDITORS.unknown(self.method)
        self._use_eim_where_needed()

    def _use_eim_where_needed(self) -> None:
        """Choose `eim` for what only it can do; raise a ConfigError where another editor was chosen."""
        for_eim = {
            "move along a `direction`": bool(self.direction),
            "combine directions (`combine`)": self.combine != "sum",
            "give each change a `strength` of its own": len(set(self.strength)) > 1,
            "set `arm`": "arm" in self.settings,
        }
        needs = [need for need, given in for_eim.items() if given]
        if needs and self.method is None:
            object.__setattr__(self, "method", "eim")
        elif needs and self.method is not None and self.method != "eim":
            from latentedit.editors.base import editor_class  # noqa: PLC0415  # heavy
            from latentedit.editors.eim import check_moves_along  # noqa: PLC0415  # heavy

            kind = editor_class(self.method) if isinstance(self.method, str) else type(self.method)
            check_moves_along(kind, " or ".join(needs))

    @classmethod
    def of(cls, *, settings: Mapping[str, Any] | None = None, **fields: Any) -> Self:
        """A request whose tuples may be given as one value or any sequence; other names are settings of the editor."""
        names = {field.name for field in dataclasses.fields(cls)}
        others = {name: value for name, value in fields.items() if name not in names and value is not None}
        fields = {name: value for name, value in fields.items() if name in names}
        for name in {"change", "instruction", "direction", "references", "strength"} & fields.keys():
            fields[name] = _as_tuple(fields[name])
        for name in {"prompt", "source_prompt"} & fields.keys():
            if isinstance(fields[name], Sequence) and not isinstance(fields[name], str):
                fields[name] = tuple(fields[name])
        return cls(settings={**(settings or {}), **others}, **fields)

    @property
    def target(self) -> dict[str, Any]:
        """The target as arguments of `target_texts`."""
        return {"to": self.prompt, "change": self.change or None, "instruction": self.instruction or None}

    @property
    def several(self) -> bool:
        """More than one change or instruction; `eim` finds one direction for each."""
        return len(self.change) > 1 or len(self.instruction) > 1

    @property
    def instructed(self) -> bool:
        """Whether the model gets the images as references: for instructions, or for directions found with those."""
        described = self.source_prompt is not None or self.captioner is not None
        return bool(self.instruction) or (not described and any(direction.instructed for direction in self.loaded))

    @property
    def loaded(self) -> "list[Direction]":
        """The directions that are not files; see `verbs.read_directions`."""
        return [direction for direction in self.direction if not isinstance(direction, Path)]

    def check_target(self) -> None:
        """Raise a ConfigError if there is neither a prompt, a change, an instruction nor a direction."""
        if self.prompt is None and not self.change and not self.instruction and not self.direction:
            raise ConfigError(
                "no edit requested. Give a `prompt`, `change`, `instruction` or `direction`, "
                'such as `change="=> glasses"`'
            )


def check_texts(texts: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Raise a ConfigError for an empty caption or invalid text, by the name of the parameter that gave it."""
    for name, given in texts.items():
        for text in _as_tuple(given):
            if not text.strip():
                raise ConfigError(f"{name} is an empty caption. Describe the whole image")
            _check_utf8(name, text)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """None, a single value or a sequence as a tuple; a string or a file's content is a single value."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | Encoded) else (value,)


def _check_utf8(name: str, text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{name} is not valid UTF-8. Check the encoding of the terminal")

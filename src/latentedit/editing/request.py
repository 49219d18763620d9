"""What the user wants of images: the one object between the command line, the page or Python, and the library."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import EDITORS
from latentedit.latents.captions.change import Change

# Nothing heavy is imported here, so that a request that makes no sense is refused at once.
if TYPE_CHECKING:
    from latentedit.directions.direction import Direction
    from latentedit.editors.base import Editor
    from latentedit.latents.captions.base import Captioner
    from latentedit.latents.encode import PictureLike
    from latentedit.latents.pictures import MaskLike


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditRequest:
    """An edit of any number of images, checked when it is made; `editing.verbs.edit_pictures` performs it.

    Args:
        to: target captions, one for all images or one each.
        change: instead of ``to``, "OLD => NEW" in the captions; either side may be empty.
        instruction: instead of both, one or several instructions for a model that sees the images.
        direction: instead of all these, directions or their files.
        caption: source captions, one for all images or one each; by default a captioner writes them.
        captioner: the captioner, an object or a name (see `captions.base.make_captioner`); by default the model's own.
        beside: additional reference images for a model that sees them.
        mask: where the images may change, white for yes; of the same size. Everywhere by default.
        strength: 0 is the image itself, 1 the whole change; one for all changes or directions, or one each.
        method: name of an editor (with the settings that suit the model), an editor, or None for the model's default
            (`editors.registry.default_method`). Only `eim` takes directions, mixing and several strengths, and is then
            the default.
        mixing: how the cross-talk of several changes or directions is handled: "sum", "inverse" or "projection"; see
            `directions.composition`.
        local: keep the change to where it is strong; by default what suits the model (`editors.registry.localizes`).
        seed: random seed.
        settings: of the editor, over those that suit the model (see `editors.registry.make_editor`).
        anyway: edit images that the model does not know, with a warning; otherwise they are refused.

    Raises:
        ConfigError: two of ``to``, ``change``, ``instruction`` and ``direction``, a caption with an instruction, an
            empty text, a strength that is no finite number, another number of strengths, or what the editor cannot do.
        RegistryError: an unknown editor.
    """

    to: str | tuple[str, ...] | None = None
    change: tuple[str | Change, ...] = ()
    instruction: tuple[str, ...] = ()
    direction: "tuple[Direction | Path, ...]" = ()
    caption: str | tuple[str, ...] | None = None
    captioner: "str | Captioner | None" = None
    beside: "tuple[PictureLike, ...]" = ()
    mask: "MaskLike | None" = None
    strength: tuple[float, ...] = (1.0,)
    method: "str | Editor | None" = None
    mixing: str = "sum"
    local: bool | None = None
    seed: int = 0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    anyway: bool = True

    def __post_init__(self) -> None:
        named = [f"`{name}`" for name in ("to", "change", "instruction", "direction") if getattr(self, name)]
        if len(named) > 1:
            raise ConfigError(f"{' and '.join(named)} exclude each other. Give one of them")
        if self.instruction and (self.caption is not None or self.captioner is not None):
            raise ConfigError(
                "`instruction` goes without `caption` and `captioner`: the model sees the picture. Leave them out"
            )
        check_texts({"`to`": self.to, "`caption`": self.caption, "`instruction`": self.instruction})
        for change in self.change:
            if isinstance(change, str):
                _check_letters("`change`", change)
                Change.parse(change)
        changes = max(1, len(self.change), len(self.instruction), len(self.direction))
        for strength in self.strength:
            if isinstance(strength, bool) or not math.isfinite(strength):
                raise ConfigError(f"`strength` must be a finite number, such as 1.0; got {strength}")
        if len(self.strength) not in (1, changes):
            raise ConfigError(
                f"`strength` is one number, or one for each of {changes} changes; got {len(self.strength)}. "
                "Give as many as there are changes"
            )
        if isinstance(self.method, str) and self.method not in EDITORS.points():
            raise EDITORS.unknown(self.method)
        for_eim = {
            "move along a `direction`": bool(self.direction),
            "mix directions (`mixing`)": self.mixing != "sum",
            "give each change a `strength` of its own": len(set(self.strength)) > 1,
            "set `arm`": "arm" in self.settings,
        }
        if asked := [what for what, there in for_eim.items() if there]:
            if self.method is None:
                object.__setattr__(self, "method", "eim")
            elif self.method != "eim":
                from latentedit.editors.registry import check_moves_along, editor_class  # noqa: PLC0415  # heavy

                kind = editor_class(self.method) if isinstance(self.method, str) else type(self.method)
                check_moves_along(kind, " or ".join(asked))

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """A request whose tuples may be given as one value, any sequence, or None for an empty one."""
        for name in {"change", "instruction", "direction", "beside", "strength"} & fields.keys():
            fields[name] = one_or_more(fields[name])
        for name in {"to", "caption"} & fields.keys():
            if isinstance(fields[name], Sequence) and not isinstance(fields[name], str):
                fields[name] = tuple(fields[name])
        return cls(**fields)

    @property
    def wanted(self) -> dict[str, Any]:
        """The target, as `wanted_texts` takes it."""
        return {"to": self.to, "change": self.change or None, "instruction": self.instruction or None}

    @property
    def several(self) -> bool:
        """More than one change or instruction; `eim` finds one direction for each."""
        return len(self.change) > 1 or len(self.instruction) > 1

    @property
    def instructed(self) -> bool:
        """The model sees the images: for instructions, or for directions that were found between those."""
        described = self.caption is not None or self.captioner is not None
        return bool(self.instruction) or (not described and any(one.instructed for one in self.loaded))

    @property
    def loaded(self) -> "list[Direction]":
        """The directions that are not files; see `verbs.read_directions`."""
        return [one for one in self.direction if not isinstance(one, Path)]

    def check_wanted(self) -> None:
        """Raise a ConfigError where neither a caption, a change, an instruction nor a direction is given."""
        if self.to is None and not self.change and not self.instruction and not self.direction:
            raise ConfigError(
                'no edit requested. Give `to`, `change`, `instruction` or `direction`, such as `change="=> glasses"`'
            )


def one_or_more(given: Any) -> tuple[Any, ...]:
    """None, one thing or a sequence of them, as a tuple; a text is one thing."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)


def check_texts(captions: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Raise a ConfigError for an empty caption or broken text, by the name of the parameter that gave it."""
    for name, texts in captions.items():
        for text in one_or_more(texts):
            if not text.strip():
                raise ConfigError(f"{name} is an empty caption. Say what the whole picture shows")
            _check_letters(name, text)


def _check_letters(name: str, text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{name} is not in UTF-8; got bytes that are none. Check the terminal's encoding")

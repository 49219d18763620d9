"""What a person asks of pictures: the one object between the command line, a page or Python, and the library."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentedit.core.errors import ConfigError
from latentedit.core.plugins import EDITORS
from latentedit.latents.captions.change import Change

# Nothing heavy is imported here, so that a request that makes no sense is refused at once.
if TYPE_CHECKING:
    from latentedit.directions.direction import Direction
    from latentedit.editors.base import Editor
    from latentedit.latents.captions.base import Captioner
    from latentedit.latents.encode import PictureLike
    from latentedit.latents.masks import MaskLike


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditRequest:
    """An edit of any number of pictures, checked when it is made; `api.verbs.edit_pictures` does it.

    Args:
        to: full captions of what is wanted, one for all pictures or one a picture.
        change: instead of ``to``, "OLD => NEW" in the captions; either side may be empty.
        instruction: instead of both, what a model that sees the pictures is told to do; one or several.
        direction: instead of all these, directions or their files.
        caption: what the pictures show, one for all or one a picture; read by a captioner where it is not given.
        captioner: who reads it, an object or by name (see `captions.base.make_captioner`); the model's own by default.
        beside: further pictures that such a model is shown behind each.
        mask: where the pictures may change, white for yes; a picture of their size. Everywhere by default.
        strength: 0 is the picture itself, 1 the whole change; one for all changes or directions, or one each.
        method: an editor's name (its settings are then those that suit the model), an editor, or None for the default
            of the model (`editors.registry.default_method`); directions, mixing and several strengths are for `eim`
            alone, which is then the default.
        mixing: what is done about the cross-talk of several changes or directions: "sum", "inverse" or "projection";
            see `directions.composition`.
        local: keep the change to where it is strong; by default what suits the model (`editors.registry.localizes`).
        seed: of every random number.
        settings: of the editor, over those that suit the model (see `editors.registry.make_editor`).
        anyway: edit pictures that the model does not know too, with a warning; they are refused otherwise.

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
        given = {
            "`to`": self.to is not None,
            "`change`": bool(self.change),
            "`instruction`": bool(self.instruction),
            "`direction`": bool(self.direction),
        }
        named = [name for name, there in given.items() if there]
        if len(named) > 1:
            raise ConfigError(f"{' and '.join(named)} exclude each other. Give one of them")
        if self.instruction and (self.caption is not None or self.captioner is not None):
            raise ConfigError(
                "`instruction` goes without `caption` and `captioner`: the model sees the picture. Leave them out"
            )
        check_texts({"`to`": self.to, "`caption`": self.caption, "`instruction`": self.instruction})
        for change in self.change:
            if not isinstance(change, Change):
                _check_letters("`change`", change)
                Change.parse(change)
        self._check_strength(max(1, len(self.change), len(self.instruction), len(self.direction)))
        if isinstance(self.method, str) and self.method not in EDITORS.points():
            raise EDITORS.unknown(self.method)
        along = {
            "move along a `direction`": bool(self.direction),
            "mix directions (`mixing`)": self.mixing != "sum",
            "give each change a `strength` of its own": len(set(self.strength)) > 1,
            "set `arm`": "arm" in self.settings,
        }
        if asked := [what for what, there in along.items() if there]:
            if self.method is None:
                object.__setattr__(self, "method", "eim")
            elif self.method != "eim":
                from latentedit.editors.registry import check_moves_along, editor_class  # noqa: PLC0415  # heavy

                kind = editor_class(self.method) if isinstance(self.method, str) else type(self.method)
                check_moves_along(kind, " or ".join(asked))

    @property
    def several(self) -> bool:
        """More than one change or instruction, of which `eim` makes one direction each."""
        return len(self.change) > 1 or len(self.instruction) > 1

    @property
    def instructed(self) -> bool:
        """The pictures are shown to the model, for instructions or for directions that were found between those."""
        described = self.caption is not None or self.captioner is not None
        return bool(self.instruction) or (not described and any(one.instructed for one in self.loaded))

    @property
    def loaded(self) -> "list[Direction]":
        """The directions that are no files, or no longer; see `api.verbs.read_directions`."""
        return [one for one in self.direction if not isinstance(one, Path)]

    def check_wanted(self) -> None:
        """Refuse a request that leaves open what the pictures should show.

        Raises:
            ConfigError: neither a caption, nor a change, nor an instruction, nor a direction.
        """
        if self.to is None and not self.change and not self.instruction and not self.direction:
            raise ConfigError(
                "nothing says what the picture should show. Give `to`, `change`, `instruction` or `direction`, such as "
                '`change="=> glasses"`'
            )

    def _check_strength(self, changes: int) -> None:
        for strength in self.strength:
            if isinstance(strength, bool) or not math.isfinite(strength):
                raise ConfigError(f"`strength` must be a finite number, such as 1.0; got {strength}")
        if len(self.strength) not in (1, changes):
            raise ConfigError(
                f"`strength` is one number, or one for each of {changes} changes; got {len(self.strength)}. "
                "Give as many as there are changes"
            )


def one_or_more(given: Any, kind: Any) -> tuple[Any, ...]:
    """What was given as nothing, as one thing of a kind, or as several, as a tuple."""
    return () if given is None else (given,) if isinstance(given, kind) else tuple(given)


def check_texts(captions: Mapping[str, str | tuple[str, ...] | None]) -> None:
    """Refuse captions that say nothing.

    Args:
        captions: by the parameter that gave them; None where it was not given.

    Raises:
        ConfigError: an empty caption, or text that is none.
    """
    for name, texts in captions.items():
        for text in (texts,) if isinstance(texts, str) else texts or ():
            if not text.strip():
                raise ConfigError(f"{name} is an empty caption. Say what the whole picture shows")
            _check_letters(name, text)


def _check_letters(name: str, text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{name} is not in UTF-8; got bytes that are none. Check the terminal's encoding")

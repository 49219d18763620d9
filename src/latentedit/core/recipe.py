"""How an edit is made: one value that requests extend, sessions run, and records store.

Nothing heavy is imported here: an invalid request is refused at once, and records are read without a model.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import PlainSerializer, PlainValidator

from latentedit.core.plugins import EDITORS
from latentedit.core.setting import RESIDUAL, Combine, Guidance, Share, check_value, from_plain

# Version of the records of edits. Raise it when a field of `RunRecord` or `Recipe` changes.
RECORD_FORMAT = 2
_ENTRY = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)  # an argument and its description


class EditorLike(Protocol):
    """The part of an editor that a recipe stores; `editors.base` defines editors."""

    name: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """All of its settings."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a field is given on the command line; its description is the docstring's."""

    kind: type | None  # type of one value; None: taken from the annotation
    method: bool  # whether it belongs to the method; such options are listed after those of the change
    flag: str | None  # the option's name where it is not that of the field
    words: Sequence[str] | Callable[[str], Any]  # for completion
    default: Any  # on the command line


def option(
    default: Any,
    kind: type | None = None,
    flag: str | None = None,
    *,
    method: bool = True,
    words: Sequence[str] | Callable[[str], Any] = (),
    unless: Any = None,
) -> Any:
    """A field that is also an option, with ``unless`` as its default there if it differs."""
    shown = default if unless is None else unless
    one = Option(kind=kind, method=method, flag=flag, words=words, default=None if default == () else shown)
    return dataclasses.field(default=default, metadata={"option": one})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an edit is made, whatever the images and the target.

    A field that is declared with `option` is an option of the commands that edit, an argument of `edit`, and a part of
    records, of the plans of folder runs, and of what a replay does again.

    Args:
        method: The editor, see `latentedit methods`. Default: eim, or flowedit for a model without stored settings.
        settings: Settings of the editor, in addition to those stored for the model (see `editors.base.make_editor`).
        combine: How several changes are combined: sum, inverse (of their cross-talk) or projection.
        auto_mask: Restrict the edit to an automatic soft mask. Default: yes with eim.
        refine: Redraw the core of the change, with 2 evaluations. Default: yes with eim.
        subtract_residual: Share of what the codec cannot represent of the source, such as outlines of the old part,
            that is dropped where a strong change draws other lines. Default: 1, all; 0 drops none.
        image_guidance: With `instruction`: the weight of the image that the model sees, as if it were seen more (above
            1) or less clearly. Default: 1, the model itself; any other takes twice the evaluations.
    """

    method: "str | EditorLike | None" = option(None, str, words=EDITORS.complete)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    combine: Combine = "sum"
    auto_mask: bool | None = option(None)
    refine: bool | None = option(None)
    subtract_residual: Share = RESIDUAL
    image_guidance: Guidance = option(1.0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(Recipe):
            if not isinstance(field.type, str):
                check_value(field.type, **{field.name: getattr(self, field.name)})

    def plain(self, **changes: Any) -> "Recipe":
        """The recipe alone, of a request that extends it, with changes."""
        return Recipe(**self.fields() | changes)

    def fields(self) -> dict[str, Any]:
        """The values of the recipe alone."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values; an editor as its name and all of its settings."""
        values = self.fields()
        if not (self.method is None or isinstance(self.method, str)):
            values |= {"method": self.method.name, "settings": self.method.to_dict()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The recipe that `to_dict` wrote, which may come from anyone."""
        recipe = from_plain(cls, values)
        check_value(str, method=recipe.method)
        return recipe

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: Any) -> Any:
        """Records hold recipes as plain values."""
        read = PlainValidator(lambda given: given if isinstance(given, cls) else cls.from_dict(given))
        return handler.generate_schema(Annotated[Any, read, PlainSerializer(cls.to_dict)])


def descriptions(of: type = Recipe) -> dict[str, str]:
    """The descriptions of the fields of a class and its bases, from their docstrings."""
    found = dict[str, str]()
    for kind in reversed(of.__mro__):
        _, _, arguments = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")
        entries = _ENTRY.findall(arguments.partition("\n\n")[0])
        found |= {name: " ".join(text.split()) for name, text in entries}
    return found

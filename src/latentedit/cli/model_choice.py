"""Options that several commands take together, each group as one value: the model and how it is loaded, the change."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latentedit.cli import options
from latentedit.core.errors import ConfigError, nearest
from latentedit.editing.request import EditRequest

if TYPE_CHECKING:
    from latentedit.models.base import Backbone

DEFAULT_MODEL = "portraits"

_KNOWN = {"dtype": options.DTYPES, "placement": options.PLACEMENTS, "text_encoders": options.TEXT_ENCODERS}
"""Options with a fixed set of values."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model of a command; picklable. None is the default of `latentedit.load`.

    Raises:
        ConfigError: an unknown value of an option, with a similar one.
    """

    model: options.Model = None
    device: options.Device = None
    dtype: options.Dtype = None
    placement: options.PlacementPolicy = None
    text_encoders: options.TextEncoders = None
    revision: options.Revision = None
    lora: options.Lora = None

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ConfigError(f"{_option(name)} has no value {value!r}: {nearest(value, known)}")

    @property
    def name(self) -> str:
        """The model's name, folder or hub id."""
        return DEFAULT_MODEL if self.model is None else self.model

    def or_else(self, other: "ModelChoice") -> "ModelChoice":
        """This choice, with defaults from another one."""
        return dataclasses.replace(self, **{**other.given(), **self.given()})

    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        fields = (field.name for field in dataclasses.fields(self))
        return {name: value for name in fields if (value := getattr(self, name)) not in (None, [])}

    def arguments(self) -> list[str]:
        """The choice as command-line options."""
        return [
            word
            for name, value in self.given().items()
            for one in (value if isinstance(value, list) else [value])
            for word in (_option(name), str(one))
        ]

    def load(self) -> "Backbone":
        """The model.

        Raises:
            LatentEditError: see `latentedit.load`.
        """
        from latentedit.models.registry import load

        given = {name: value for name, value in self.given().items() if name != "model"}
        if self.lora:
            given["lora"] = [_scaled(one) for one in self.lora]
        return load(self.name, **given)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangeChoice:
    """What to change, in words, and the words that describe the image."""

    to: options.To = None
    change: options.Changes = None
    add: options.Adds = None
    remove: options.Removes = None
    instruction: options.Instructions = None
    beside: options.Beside = None
    source: options.From = None
    captioner: options.Reader = None

    def request(self, **fields: Any) -> EditRequest:
        """The request with these words and further fields. Changes are in the order --change, --add, --remove."""
        added = [f"=> {words}" for words in self.add or ()]
        removed = [f"{words} =>" for words in self.remove or ()]
        return EditRequest(
            to=None if self.to is None else self.to.strip(),
            change=(*(self.change or ()), *added, *removed),
            instruction=tuple(self.instruction or ()),
            beside=tuple(self.beside or ()),
            caption=self.source,
            captioner=self.captioner,
            **fields,
        )


def chooses_model(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters `ModelChoice` and `ChangeChoice` of a command by options, one for each field."""
    signature = inspect.signature(command)
    groups = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if parameter.annotation in (ModelChoice, ChangeChoice)
    }
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name not in groups:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            continue
        parameters += [
            parameter.replace(name=field.name, default=None, annotation=field.type, kind=parameter.KEYWORD_ONLY)
            for field in dataclasses.fields(groups[parameter.name])
        ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {
            name: kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in groups.items()
        }
        command(**chosen, **given)

    described: Any = with_options
    described.__signature__ = signature.replace(parameters=parameters)
    return described


def _scaled(lora: str) -> tuple[str, float]:
    """File and scale of ``FILE:SCALE``; the default scale is 1."""
    file, _, scale = lora.rpartition(":")
    try:
        return (file, float(scale)) if file else (lora, 1.0)
    except ValueError:
        return lora, 1.0


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"

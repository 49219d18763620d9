"""The model of a command and how it is loaded, as one value."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from latentedit.cli import options
from latentedit.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from latentedit.models.base import Backbone

DEFAULT_MODEL = "portraits"

_KNOWN = {
    "dtype": options.DTYPES,
    "placement": options.PLACEMENTS,
    "text_encoders": options.TEXT_ENCODERS,
}
"""Options with a fixed set of values."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model of a command; picklable. None is the default of `latentedit.load`.

    Raises:
        ConfigError: an unknown value of an option, with a similar one.
    """

    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    placement: str | None = None
    text_encoders: str | None = None
    revision: str | None = None
    lora: tuple[str, ...] = ()

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
        return {name: value for name in _FIELDS if (value := getattr(self, name)) not in (None, ())}

    def arguments(self) -> list[str]:
        """The choice as command-line options."""
        return [
            word
            for name, value in self.given().items()
            for one in (value if isinstance(value, tuple) else (value,))
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


_FIELDS = tuple(field.name for field in dataclasses.fields(ModelChoice))

_ANNOTATIONS: Mapping[str, Any] = {
    "model": options.Model,
    "device": options.Device,
    "dtype": options.Dtype,
    "placement": options.PlacementPolicy,
    "text_encoders": options.TextEncoders,
    "revision": options.Revision,
    "lora": options.Lora,
}


def chooses_model(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``choice: ModelChoice`` of a command by the options of `--model` and its like."""
    signature = inspect.signature(command)
    parameters = [
        made
        for parameter in signature.parameters.values()
        for made in (
            [
                parameter.replace(name=name, default=None, annotation=_ANNOTATIONS[name], kind=parameter.KEYWORD_ONLY)
                for name in _FIELDS
            ]
            if parameter.name == "choice"
            else [parameter.replace(kind=parameter.KEYWORD_ONLY)]
        )
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _FIELDS}
        chosen["lora"] = tuple(chosen["lora"] or ())
        choice = ModelChoice(**chosen)
        command(choice=choice, **given)

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

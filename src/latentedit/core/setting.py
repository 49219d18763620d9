"""Settings: frozen dataclasses of plain values that pydantic checks, and their form in JSON."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

import pydantic
import pydantic.dataclasses
from pydantic import AfterValidator, Field, PlainValidator

from latentedit.core.errors import ConfigError, nearest

Config = TypeVar("Config")

Level = Annotated[float, Field(gt=0, le=1)]
"""A noise level s that is not clean, in (0, 1]."""

MAX_COUNT = 10_000
"""Maximum number of steps: a record with a billion steps would run for years."""

MAX_STRENGTHS = 64
"""Maximum number of strengths in a sweep, each of which is an edit."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""A number of steps, noises or images, from 1 up."""

Guidance = Annotated[float, Field(ge=-100, le=100)]
"""A classifier-free guidance weight, or a factor like it with a sign."""

Natural = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A number of things that may be missing, from 0 up."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share, in [0, 1]."""

RESIDUAL: float = 1.0
"""The share of what the codec lost of the source that edits drop where a strong change draws other lines."""

Positive = Annotated[float, Field(gt=0, le=100)]
"""A factor without a sign; never 0."""

Weight = Annotated[float, Field(ge=0, le=100)]
"""A factor without a sign; 0 turns its term off."""

Scale = Annotated[float, Field(gt=0, le=1000)]
"""A factor of a length or a ratio; never 0."""

Probe = Annotated[float, Field(gt=0, le=1e6)]
"""The length at which a finite difference is taken, in units of the direction."""


Combine = Literal["sum", "inverse", "projection"]
"""How the cross-talk of combined directions is handled, see `identification.composition`."""


def _start(value: object, info: pydantic.ValidationInfo, *, least: float = 1e-9) -> object:
    if isinstance(value, str) and (found := re.fullmatch(r"([1-9]\d{0,3})/(\d{1,4})", value)):
        if int(found[1]) <= int(found[2]):
            return value
    # bool is a subclass of int, and True is not a level.
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= 1:
        return float(value)
    raise ConfigError(
        f'{info.field_name} must be a number above 0 and at most 1, or the steps that are left, such as "24/28"; got '
        f"{value!r:.80}"
    )


Start = Annotated[float | str, PlainValidator(_start)]
"""A noise level, or how many of the steps of a model's own grid are left there: "24/28"."""

Until = Annotated[float | str, PlainValidator(functools.partial(_start, least=0.0))]
"""The same, or 0 for the clean end."""


def _falling(levels: tuple[float, float]) -> tuple[float, float]:
    if levels[1] > levels[0]:
        raise ConfigError(f"levels must fall, from the first to the last; got {list(levels)}. Exchange them")
    return levels


Levels = Annotated[tuple[Level, Share], AfterValidator(_falling)]
"""The highest and the lowest noise level of a search, falling or equal."""


def check_pairs(noises: int, *, antithetic: bool) -> None:
    """Refuse an odd number of noises that come in pairs e and -e."""
    if antithetic and noises % 2 == 1:
        raise ConfigError(f"antithetic noises come in pairs; got {noises}. Take an even number of noises")


# Strict: "3" is no integer and True is no number; nan and infinity are refused wherever a float stands.
_CONFIG = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

# Our messages for pydantic's error types.
_PROBLEMS = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list of values",
    "dict_type": "must be names with values, such as {{'steps': 20}}",
}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field, Field))
def settings(cls: type[Config]) -> type[Config]:
    """Make a frozen, keyword-only dataclass with slots whose values are checked against its annotations.

    A value outside its range or type and an unknown name are a `ConfigError`, also those of ``__post_init__``.
    """
    made = pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True, config=_CONFIG)(cls)
    validate: Any = made.__init__

    @functools.wraps(validate)
    def checked(self: Any, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
        except pydantic.ValidationError as error:
            names = [field.name for field in dataclasses.fields(cast(Any, made))]
            raise _explained(error, names) from None

    cast(Any, made).__init__ = checked
    return cast("type[Config]", made)


def check_value(kind: Any, **values: object) -> None:
    """Check arguments against an annotated type: ``check(Level, level=level)``; a `ConfigError` names the argument."""
    for name, value in values.items():
        try:
            _adapter(kind).validate_python(value)
        except pydantic.ValidationError as error:
            raise _explained(error, (), name) from None


@functools.cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind, config=pydantic.ConfigDict(strict=True, allow_inf_nan=False))


def to_plain(config: Any) -> dict[str, Any]:
    """The fields of a configuration dataclass as JSON values: tuples become lists, configurations mappings."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_plain(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration that `to_plain` wrote. Missing fields take their defaults."""
    kinds = {field.name: field.type for field in dataclasses.fields(cast(Any, cls))}
    check_value(Mapping[str, Any], **{f"the settings of {cls.__name__}": values})
    for key in values:
        if key not in kinds:
            raise ConfigError(f"{cls.__name__} has no setting {key!r}: {nearest(key, list(kinds))}")
    return cls(**{key: _built(kinds[key], value) for key, value in values.items()})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _built(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and not dataclasses.is_dataclass(value):
        return from_plain(cast("type[Any]", kind), cast("Mapping[str, Any]", value))
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _explained(error: pydantic.ValidationError, names: Iterable[str], name: str = "") -> ConfigError:
    """A `ConfigError` with all errors of pydantic in one line."""
    return ConfigError("; ".join(_sentence(cast(Any, detail), names, name) for detail in error.errors()))


def _sentence(detail: Mapping[str, Any], names: Iterable[str], name: str) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    where = [str(part) for part in detail["loc"]]
    subject = name or (where[0] if where else "the settings")
    if kind == "unexpected_keyword_argument":
        return f"there is no setting {subject!r}: {nearest(subject, names)}"
    if kind == "value_error":
        return str(context["error"])
    index = "".join(f"[{part}]" for part in (where if name else where[1:]) if part.isdigit())
    if kind == "missing":
        return f"{subject}{index} is missing"
    if kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"there is no {subject} {value!r:.80}: {nearest(str(value), choices)}"
    problem = _PROBLEMS[kind].format(**context) if kind in _PROBLEMS else f"does not fit: {detail['msg']}"
    return f"{subject}{index} {problem}; got {value!r:.80}"

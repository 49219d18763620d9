"""Configurations as plain values and back, with unknown names refused."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args

from latentedit.core.errors import ConfigError, nearest

Config = TypeVar("Config")


def to_plain(config: Any) -> dict[str, Any]:
    """The fields of a configuration dataclass as values that JSON knows: tuples are lists, configurations mappings."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def from_plain(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration that `to_plain` wrote; fields that are left out take their defaults, nested ones too.

    Raises:
        ConfigError: a field that the configuration does not have, with the nearest names, or a value it refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for key in values:
        if key not in fields:
            raise ConfigError(f"expected settings of {cls.__name__}; got {key!r}: {nearest(key, list(fields))}")
    return cls(**{key: _built(fields[key].type, item) for key, item in values.items()})


def _built(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and not dataclasses.is_dataclass(value):
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected the settings of {cast('type[Any]', kind).__name__} by name; got {value!r}")
        return from_plain(cast("type[Any]", kind), cast("Mapping[str, Any]", value))
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def check_number(name: str, value: object, low: int | float, high: int | float, *, above: bool = False) -> None:
    """Refuse a setting outside its range.

    Args:
        name: what the error calls it.
        value: the setting.
        low: smallest value allowed.
        high: largest value allowed.
        above: ``low`` itself is refused.

    Raises:
        ConfigError: no number (nan included), or outside ``[low, high]``.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if low <= number <= high and not (above and number == low):
        return
    raise ConfigError(f"expected {name} in {'(' if above else '['}{low:g}, {high:g}]; got {value!r}")


def check_count(name: str, value: object) -> None:
    """Refuse a number of steps or noises that is no whole number from 1 up.

    Raises:
        ConfigError: no whole number, or below 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"expected {name} to be a whole number, at least 1; got {value!r}")


def check_choice(name: str, value: object, kinds: Any) -> None:
    """Refuse a name that is none of a Literal's.

    Raises:
        ConfigError: with the nearest of those that there are.
    """
    if value not in get_args(kinds):
        raise ConfigError(f"expected a known {name}; got {value!r}: {nearest(str(value), get_args(kinds))}")

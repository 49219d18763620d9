"""Configurations as plain values and back, with unknown names refused."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from latentedit.errors import ConfigError, nearest

Config = TypeVar("Config")


def to_plain(config: Any) -> dict[str, Any]:
    """The fields of a configuration dataclass as values that JSON knows: tuples become lists."""
    values: dict[str, Any] = dataclasses.asdict(config)
    return {
        key: list(cast("tuple[Any, ...]", item)) if isinstance(item, tuple) else item for key, item in values.items()
    }


def from_plain(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration that `to_plain` wrote; fields that are left out take their defaults.

    Raises:
        ConfigError: a field that the configuration does not have, with the nearest names, or a value it refuses.
    """
    known = [field.name for field in dataclasses.fields(cast(Any, cls))]
    for key in values:
        if key not in known:
            raise ConfigError(f"expected settings of {cls.__name__}; got {key!r}: {nearest(key, known)}")
    return cls(
        **{key: tuple(cast("list[Any]", item)) if isinstance(item, list) else item for key, item in values.items()}
    )


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

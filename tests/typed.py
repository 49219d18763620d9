"""The check of arrays' shapes and dtypes at run time, which pyright cannot see, as jaxtyping's checker of types."""

import types
import typing
from collections.abc import Callable
from typing import Any

from beartype import beartype
from jaxtyping import AbstractArray


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arrays that a function takes and returns; tests pass wrong values of other types on purpose."""
    if not isinstance(function, types.FunctionType):
        return function
    arrays = {name: hint for name, hint in function.__annotations__.items() if _holds_array(hint)}
    function.__annotations__ = arrays
    return beartype(function) if arrays else function


def _holds_array(hint: Any) -> bool:
    return any(isinstance(one, type) and issubclass(one, AbstractArray) for one in (hint, *typing.get_args(hint)))

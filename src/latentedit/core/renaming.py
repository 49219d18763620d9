"""Old names of parameters, which work for one version with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from latentedit.core.errors import ConfigError

T = TypeVar("T", bound=Callable[..., Any])

PARAMETERS = {
    "picture": "image",
    "to": "prompt",
    "caption": "source_prompt",
    "beside": "references",
    "anyway": "force",
    "local": "auto_mask",
    "mixing": "combine",
}
"""Old names and new ones."""


def accepts_old_names(function: T) -> T:
    """Let a function, or the constructor of a class, take the old names of `PARAMETERS` with a FutureWarning."""
    if isinstance(function, type):
        cls: Any = function
        cls.__init__ = accepts_old_names(cls.__init__)
        return cls

    @functools.wraps(function)
    def with_new_names(*args: Any, **given: Any) -> Any:
        for old in [name for name in PARAMETERS if name in given]:
            new = PARAMETERS[old]
            if new in given:
                raise ConfigError(f"`{new}` and its old name `{old}` are both given. Leave out `{old}`")
            warnings.warn(
                f"`{old}` was renamed to `{new}`; the old name works in this version only", FutureWarning, stacklevel=2
            )
            given[new] = given.pop(old)
        return function(*args, **given)

    result: Any = with_new_names
    return result

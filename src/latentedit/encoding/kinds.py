"""What the verbs take: `edit` and `sweep` a model and an image, all others a latent of `encode`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from latentedit.core.errors import ConfigError
from latentedit.encoding.joint import JointLatent

F = TypeVar("F", bound=Callable[..., Any])

_OF_ENCODE = ("source_prompt", "captioner", "complete", "instructed", "references", "mask", "force")


def takes_latent(function: F) -> F:
    """Raise a ConfigError with what to type if the argument ``latent`` of a function is not a latent.

    The check runs before Python counts the arguments, so that ``identify(model, image, text)`` gets
    it, too.
    """
    name = function.__name__
    names = list(inspect.signature(function).parameters)
    position = names.index("latent")
    call = f"{name}({', '.join(names[: position + 1])})"

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        latent = given[position] if len(given) > position else named.get("latent")
        if not isinstance(latent, JointLatent):
            got = "none" if latent is None else f"a {type(latent).__name__}"
            raise ConfigError(f"`{call}` takes a latent; got {got}. {_remedy(latent)}")
        for option in _OF_ENCODE:
            if option in named:
                raise ConfigError(
                    f"`{name}` has no argument {option!r}, because the image is encoded already. "
                    "Give it to `encode`, or use `edit`"
                )
        return function(*given, **named)

    return cast("F", checked)


def takes_model_and_image(function: F) -> F:
    """Raise a ConfigError with what to type if a function gets a latent, or no image."""
    name = function.__name__

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        arguments = dict(zip(("model", "image"), given, strict=False)) | named
        model = arguments.get("model")
        image = arguments.get("image")
        if isinstance(model, JointLatent) or isinstance(image, JointLatent):
            raise ConfigError(
                f"`{name}` takes a model and an image; got a latent. Use latentedit.Session(latent).{name}(...)"
            )
        if _is_result(model):
            raise ConfigError(
                f"`{name}` takes a model and an image; got a result. Give {name}(model, result), or "
                f"go on in its latent with latentedit.Session(result.latent).{name}(...)"
            )
        if model is not None and image is None:
            raise ConfigError(
                f"`{name}` takes the model first, then the image; got a {type(model).__name__} "
                "alone. Load a model with latentedit.load, such as 'portraits'"
            )
        return function(*given, **named)

    return cast("F", checked)


def _is_result(value: object) -> bool:
    """Whether a value is the result of an edit or a basis, which has a latent of its own."""
    return isinstance(getattr(value, "latent", None), JointLatent)


def _remedy(value: object) -> str:
    if _is_result(value):
        return "Give its `.latent`"
    return "Encode first: latent = latentedit.encode(model, image)"

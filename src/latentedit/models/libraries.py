"""Classes of diffusers and transformers by name, and a context that silences both libraries."""

import inspect
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from latentedit.core.errors import ModelError
from latentedit.core.plugins import require
from latentedit.core.process import SharedContext
from latentedit.numerics.device import plain_default


def library_class(library: str, name: str) -> Any:
    """A class of diffusers or transformers by name."""
    if library not in ("diffusers", "transformers"):
        raise ModelError(
            f"the class {name} is from the library {library!r}, which is not supported. Do not use the model"
        )
    kind = getattr(require(library, "models"), name, None)
    if not isinstance(kind, type):
        raise ModelError(f"the installed {library} has no class {name}. Update it")
    return kind


def pipeline_of(kind: str, components: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """A pipeline of a class around the parts of another one, with its settings; nothing is copied or changed."""
    build = library_class("diffusers", kind)
    if hasattr(build, "update_components"):  # a modular one, which takes its parts later
        with quiet_libraries():
            modular = build()
            modular.update_components(**{name: part for name, part in components.items() if part is not None})
        return modular
    parameters = inspect.signature(build.__init__).parameters
    given = {**components, "scheduler": None}  # whose configuration some constructors rewrite
    settings = {name: config[name] for name in parameters if name in config and name not in given}
    parts = {
        name: given.get(name)
        for name, parameter in parameters.items()
        if name in given or (parameter.default is parameter.empty and name != "self")
    }
    with quiet_libraries():
        made = build(**settings | parts)
        made.scheduler = components.get("scheduler")
    return made


def stock_kinds(scheduler: Any) -> list[type]:
    """The classes of diffusers that a scheduler is of, the most special first."""
    return [kind for kind in inspect.getmro(type(scheduler)) if kind.__module__.startswith("diffusers.")]


def takes_setting(scheduler: Any, name: str) -> bool:
    """Whether a class of diffusers that a scheduler is of heeds a setting; others keep those of earlier ones."""
    return any(name in inspect.signature(kind.__init__).parameters for kind in stock_kinds(scheduler))


def described(scheduler: Any) -> str:
    """The class of a scheduler for messages, and the one of diffusers that it is derived from."""
    kind, stock = type(scheduler), [one.__name__ for one in stock_kinds(scheduler) if hasattr(one, "step")]
    known = "" if kind.__name__ in stock[:1] else f", {f'derived from {stock[0]}' if stock else 'a class of your own'}"
    return kind.__name__ + known


def scheduler_of(kind: str | type, config: Mapping[str, Any]) -> Any:
    """A new scheduler of a class or of its name in diffusers, which no earlier call has changed."""
    # diffusers would replace the configuration's own defaults, which that key lists, by those of this kind
    given = {key: value for key, value in config.items() if key != "_use_default_values"}
    try:
        with quiet_libraries(), plain_default():
            build: Any = library_class("diffusers", kind) if isinstance(kind, str) else kind
            return build.from_config(given)
    except Exception as error:  # configurations fail in as many ways as they have settings
        raise ModelError(
            f"a {getattr(kind, '__name__', kind)} does not take the scheduler's configuration: {error}"
        ) from error


@contextmanager
def quiet_libraries() -> Generator[None]:
    """Silence progress bars and logs of diffusers and transformers, and keep the global random state."""
    with _QUIET.open(), torch.random.fork_rng(devices=[]):  # noqa: TID251 - threads overlap
        yield


def _silence() -> Callable[[], None]:
    """Silence the libraries; return the function that undoes it."""
    undo = ExitStack()
    for library in ("transformers", "diffusers"):
        bars: Any = require(library, "models").utils.logging
        if bars.is_progress_bar_enabled():
            bars.disable_progress_bar()
            undo.callback(bars.enable_progress_bar)
    for logger in map(logging.getLogger, ("transformers", "diffusers", "accelerate")):
        undo.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
    return undo.close


_QUIET = SharedContext(_silence)

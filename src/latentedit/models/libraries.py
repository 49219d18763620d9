"""The classes of diffusers and transformers, one by one, without what their packages import beside.

Asked for one network, diffusers imports every network of its kind, and its schedulers import scipy.stats for a noise
that nothing here uses: a third of the time that an edit from the shell takes to start. These packages stand in
`sys.modules` from the first `library_class` on, and are run when somebody asks them for a name that is not there.
"""

import functools
import importlib
import importlib.util
import inspect
import logging
import sys
import types
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from latentedit.core.errors import ModelError, require
from latentedit.core.process import SharedContext

_ON_DEMAND = (
    "scipy.stats",
    "scipy.integrate",
    "diffusers.models.autoencoders",
    "diffusers.models.transformers",
    "diffusers.models.unets",
)
"""Packages whose ``__init__`` imports much, and whose modules can be imported without it."""


class _OnDemand(types.ModuleType):
    """A package whose ``__init__`` is run when somebody asks for one of its names; its modules are found before."""

    def __getattr__(self, name: str) -> Any:
        object.__setattr__(self, "__class__", types.ModuleType)  # runs once, and what runs sees a plain module
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


@functools.cache
def _import_on_demand() -> None:
    """Put the packages into `sys.modules`, but for those that are there already or are not installed."""
    for name in _ON_DEMAND:
        parent, _, own = name.rpartition(".")
        if name in sys.modules or importlib.util.find_spec(parent.partition(".")[0]) is None:
            continue
        spec = importlib.util.find_spec(name)
        if spec is not None:
            package = importlib.util.module_from_spec(spec)
            package.__class__ = _OnDemand
            sys.modules[name] = package
            setattr(sys.modules[parent], own, package)


def library_class(library: str, name: str) -> Any:
    """A class of diffusers or transformers by name.

    Raises:
        ModelError: another library, or a name that the installed version does not have.
    """
    if library not in ("diffusers", "transformers"):
        raise ModelError(
            f"the class {name} is of the library {library!r}, which is not used here. Do not use the model"
        )
    _import_on_demand()
    found = getattr(require(library, "models"), name, None)
    if not isinstance(found, type):
        raise ModelError(f"{library} has no class {name} in the version that is installed. Update it")
    return found


def stock_pipeline(kind: str, components: Mapping[str, Any], configuration: Mapping[str, Any]) -> Any:
    """A pipeline of diffusers around parts, without a scheduler; parts that are not there are None, nothing is copied.

    Args:
        kind: its class.
        components: parts by name.
        configuration: what ``model_index.json`` says beside the parts.
    """
    build = library_class("diffusers", kind)
    known = inspect.signature(build.__init__).parameters
    parts = {name: components.get(name) for name, parameter in known.items() if parameter.default is parameter.empty}
    given = {**components, **configuration, "scheduler": None}
    with quiet_libraries():
        return build(**{name: value for name, value in (parts | given).items() if name in known and name != "self"})


@contextmanager
def quiet_libraries() -> Generator[None]:
    """No progress bars and reports of diffusers and transformers inside, and the global random state kept."""
    with _QUIET.open(), torch.random.fork_rng(devices=[]):  # noqa: TID251 - threads overlap
        yield


def _silenced() -> Callable[[], None]:
    """Silence the libraries; what undoes it."""
    settings: Any = require("transformers", "models").utils.logging
    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers", "accelerate")]
    levels, shown = [logger.level for logger in loggers], settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)

    def restore() -> None:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            settings.enable_progress_bar()

    return restore


_QUIET = SharedContext(_silenced)

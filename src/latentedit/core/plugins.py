"""Optional packages, and plugins by entry points: commands, models, editors, captioners, domains, ...

Every kind has one group, ``latentedit.KIND``.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from latentedit.core.errors import (
    LatentEditError,
    MissingDependencyError,
    ModelError,
    RegistryError,
    nearest,
    to_install,
)
from latentedit.core.other_words import advice_on

# Packages of the extra "models" without which its rooms cannot be imported. ComfyUI installs some of them.
_MODELS_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "scipy", "jaxtyping")
# Names that our own packages register, so that an error can name the ones to install.
_PACKAGES = {
    "latentedit.commands": {
        "bench": "latentedit-bench",
        "reproduce": "latentedit-bench",
    },
    "latentedit.models": {
        "portraits": "latentedit-portraits",
        "portraits-unet": "latentedit-models",
        "portraits-kontext": "latentedit-models",
        "pixels-discs": "latentedit-models",
        "pixels-portraits": "latentedit-models",
        "scenes": "latentedit-portraits latentedit-scenes",
    },
    "latentedit.captioners": {"portraits": "latentedit-portraits", "scenes": "latentedit-portraits latentedit-scenes"},
    "latentedit.framers": {"portraits": "latentedit-portraits"},
    "latentedit.domains": {
        "portraits": "latentedit-portraits latentedit-drawn",
        "recolored-portraits": "latentedit-portraits latentedit-drawn",
        "scenes": "latentedit-portraits latentedit-scenes",
    },
}

_Made = TypeVar("_Made")


def has_models() -> bool:
    """Whether the extra "models" is installed, without which there is no edit by text."""
    return all(importlib.util.find_spec(package) is not None for package in _MODELS_PACKAGES)


def explain_missing_models(subject: str) -> str:
    """Return the message that a command or a function needs models, with what to install."""
    return f"{subject} needs models, which are not installed. {to_install('latentedit[models]')}"


# The keys include the function, which tests replace, and the import path, which a program may extend.
@functools.cache
def _all_points(installed: Callable[[], Any], places: tuple[str, ...]) -> Any:
    """All entry points, read once for all groups: that takes as long for one."""
    del places
    return installed()


@functools.cache
def _points(
    installed: Callable[[], Any], places: tuple[str, ...], group: str, own: tuple[tuple[str, str], ...]
) -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of a group and own objects by name, cached for a process and its import path."""
    points = {point.name: point for point in sorted(_all_points(installed, places).select(group=group))}
    for name, address in own:
        points[name] = importlib.metadata.EntryPoint(name, address, group)
    return dict(sorted(points.items()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The entry points of one group such as "latentedit.editors"; their kind, "editor", is for messages.

    ``own`` maps names of this package, which are not entry points, to the addresses of their objects.
    """

    group: str
    kind: str
    own: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def points(self) -> dict[str, importlib.metadata.EntryPoint]:
        """Entry points by name, sorted, without importing them."""
        own = tuple(self.own.items())
        return _points(importlib.metadata.entry_points, tuple(sys.path), self.group, own)

    def names(self) -> list[str]:
        """The registered names."""
        return list(self.points())

    def load(self, name: str) -> Any:
        """Import the object registered under a name; a `RegistryError` for an unknown name or a failing import."""
        points = self.points()
        if name not in points:
            raise self.unknown(name)
        try:
            return points[name].load()
        except Exception as error:
            if not has_models() and points[name].value.startswith("latentedit."):
                raise RegistryError(explain_missing_models(f"the {self.kind} {name!r}")) from error
            point, reason = points[name], f"{type(error).__name__}: {error}"
            package = f"install {point.dist.name} again" if point.dist is not None else "install its package again"
            raise RegistryError(
                f"the {self.kind} {name!r} cannot be imported from {point.value} ({reason}). Correct it, or {package}"
            ) from error

    def make(self, name: str, kind: type[_Made], *arguments: Any) -> _Made:
        """Call the object registered under a name, and check the type of what it returns."""
        made = self.load(name)(*arguments)
        if not isinstance(made, kind):
            raise RegistryError(f"the {self.kind} {name!r} returns a {type(made).__name__}, not a {kind.__name__}")
        return made

    def missing(self) -> list[str]:
        """Names of our own packages that are not installed."""
        return sorted(_PACKAGES.get(self.group, {}).keys() - self.points().keys())

    def requirements(self, name: str) -> list[str]:
        """Packages of ours that provide a name; none for third-party names."""
        return _PACKAGES.get(self.group, {}).get(name, "").split()

    def complete(self, incomplete: str) -> list[str]:
        """Names with this prefix, for shell completion."""
        return [name for name in self.names() if name.startswith(incomplete)]

    def unknown(self, name: str) -> RegistryError:
        """The error for a name that is not registered."""
        if requirements := self.requirements(name):
            return RegistryError(f"{name} is not installed. {to_install(*requirements)}")
        names = self.names()
        advice = advice_on(name) if self.kind == "command" else ""
        hint = f"Use {advice}" if advice else nearest(name, names) if names else "none is installed"
        return RegistryError(f"no {self.kind} is called {name!r}{'. ' if hint[0].isupper() else ': '}{hint}")


BACKBONES = Registry(group="latentedit.backbones", kind="backbone")
"""Class name of a denoiser, or of a pipeline that differs from others with its denoiser, to a subclass of `Backbone`
with `denoiser` and `parts`; its class for a configuration, `Backbone.of`, is called as ``adapter(pipeline, name=,
settings=)``."""

MODELS = Registry(group="latentedit.models", kind="bundled model")
"""Name to the path of a diffusers folder."""

EDITORS = Registry(group="latentedit.editors", kind="editor")
"""Name to a subclass of `Editor`."""

CAPTIONERS = Registry(group="latentedit.captioners", kind="captioner")
"""Name to a callable ``(backbone) -> Captioner``."""

FRAMERS = Registry(group="latentedit.framers", kind="framer")
"""Name to a callable ``(backbone) -> Framer``."""

DOMAINS = Registry(group="latentedit.domains", kind="domain")
"""Name to a domain, whose right answers are known, see `latentedit_bench`."""

EXPERIMENTS = Registry(group="latentedit.experiments", kind="experiment")
"""Name to an experiment, see `latentedit_bench`."""

METRICS = Registry(group="latentedit.metrics", kind="metric")
"""Name to a metric of edited images, see `latentedit_bench`."""


HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
"""``org/name``, also at a revision."""


def unknown_model(name: str | Path) -> LatentEditError:
    """The error for a model that is neither bundled nor a folder nor a hub id: a `RegistryError`, of a path another."""
    if isinstance(name, Path) or Path(name).name != name:
        return ModelError(f"there is no model folder at {Path(name)}. Check the path")
    return RegistryError(f"{MODELS.unknown(name)}. A folder or a hub id (org/name) is taken too")


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package, or raise a `MissingDependencyError` with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"the package {package!r} is not installed. {to_install(f'latentedit[{extra}]')}"
        ) from error

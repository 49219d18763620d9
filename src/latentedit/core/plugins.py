"""Installed software: optional packages, and plugins by entry points: models, editors, captioners, domains, ...

Every kind has one group, ``latentedit.KIND``; latentedit registers its own plugins as third parties do.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType

from latentedit.base.plugins import Registry
from latentedit.core.errors import LatentEditError, MissingDependencyError, ModelError, RegistryError, to_install

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

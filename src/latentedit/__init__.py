"""Edits a picture by moving it in the joint image-text latent space of a diffusion model.

The public names are loaded when they are first used, so that importing the package is fast and imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from latentedit._version import __version__

if TYPE_CHECKING:
    from latentedit.api.request import EditRequest
    from latentedit.api.result import EditResult
    from latentedit.api.session import Session
    from latentedit.api.verbs import edit, identify, load, manipulate, sweep
    from latentedit.core.condition import Condition
    from latentedit.directions.base import Direction
    from latentedit.directions.direction_file import load_direction, save_direction
    from latentedit.directions.hsds import HSDS
    from latentedit.directions.local_basis import LocalBasis, local_basis
    from latentedit.latents.encode import encode
    from latentedit.latents.joint import JointLatent
    from latentedit.models.base import Backbone

__all__ = [
    "HSDS",
    "Backbone",
    "Condition",
    "Direction",
    "EditRequest",
    "EditResult",
    "JointLatent",
    "LocalBasis",
    "Session",
    "__version__",
    "edit",
    "encode",
    "identify",
    "load",
    "load_direction",
    "local_basis",
    "manipulate",
    "save_direction",
    "sweep",
]

_HOME = {
    "Backbone": "latentedit.models.base",
    "Condition": "latentedit.core.condition",
    "Direction": "latentedit.directions.base",
    "EditRequest": "latentedit.api.request",
    "EditResult": "latentedit.api.result",
    "HSDS": "latentedit.directions.hsds",
    "JointLatent": "latentedit.latents.joint",
    "LocalBasis": "latentedit.directions.local_basis",
    "Session": "latentedit.api.session",
    "edit": "latentedit.api.verbs",
    "encode": "latentedit.latents.encode",
    "identify": "latentedit.api.verbs",
    "load": "latentedit.api.verbs",
    "load_direction": "latentedit.directions.direction_file",
    "local_basis": "latentedit.directions.local_basis",
    "manipulate": "latentedit.api.verbs",
    "save_direction": "latentedit.directions.direction_file",
    "sweep": "latentedit.api.verbs",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'latentedit' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

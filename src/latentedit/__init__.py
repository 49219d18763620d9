"""Edits a picture by moving it in the joint image-text latent space of a diffusion model.

The public names are loaded when they are first used, so that importing the package is fast and imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentedit.backbones.base import Backbone
    from latentedit.directions.base import Direction
    from latentedit.directions.direction_file import load_direction, save_direction
    from latentedit.directions.hsds import HSDS
    from latentedit.directions.local_basis import LocalBasis, local_basis
    from latentedit.editing.result import EditResult
    from latentedit.editing.verbs import edit, identify, load, manipulate, sweep
    from latentedit.encoding.encode import encode
    from latentedit.encoding.joint import JointLatent
    from latentedit.types import Condition

__version__ = "0.1.0"

__all__ = [
    "HSDS",
    "Backbone",
    "Condition",
    "Direction",
    "EditResult",
    "JointLatent",
    "LocalBasis",
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
    "Backbone": "latentedit.backbones.base",
    "Condition": "latentedit.types",
    "Direction": "latentedit.directions.base",
    "EditResult": "latentedit.editing.result",
    "HSDS": "latentedit.directions.hsds",
    "JointLatent": "latentedit.encoding.joint",
    "LocalBasis": "latentedit.directions.local_basis",
    "edit": "latentedit.editing.verbs",
    "encode": "latentedit.encoding.encode",
    "identify": "latentedit.editing.verbs",
    "load": "latentedit.editing.verbs",
    "load_direction": "latentedit.directions.direction_file",
    "local_basis": "latentedit.directions.local_basis",
    "manipulate": "latentedit.editing.verbs",
    "save_direction": "latentedit.directions.direction_file",
    "sweep": "latentedit.editing.verbs",
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

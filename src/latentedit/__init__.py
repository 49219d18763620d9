"""Edits a picture by moving it in the joint image-text latent space of a diffusion model.

The public names are loaded when they are first used, so that importing the package is fast and imports no torch.
"""

from typing import TYPE_CHECKING

from latentedit._version import __version__
from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit import directions, editors
    from latentedit.api.replay import replay
    from latentedit.api.request import EditRequest
    from latentedit.api.result import EditResult
    from latentedit.api.session import Session
    from latentedit.api.verbs import edit, identify, manipulate, sweep
    from latentedit.core import errors
    from latentedit.core.condition import Condition
    from latentedit.directions.base import Direction
    from latentedit.directions.hsds import HSDS
    from latentedit.directions.local_basis import LocalBasis, local_basis
    from latentedit.latents.encode import encode
    from latentedit.latents.joint import JointLatent
    from latentedit.models.base import Backbone
    from latentedit.models.callable import CallableBackbone
    from latentedit.models.registry import from_pipeline, load

__all__ = [
    "HSDS",
    "Backbone",
    "CallableBackbone",
    "Condition",
    "Direction",
    "EditRequest",
    "EditResult",
    "JointLatent",
    "LocalBasis",
    "Session",
    "__version__",
    "directions",
    "edit",
    "editors",
    "encode",
    "errors",
    "from_pipeline",
    "identify",
    "load",
    "local_basis",
    "manipulate",
    "replay",
    "sweep",
]

_HOME = {
    "Backbone": "latentedit.models.base",
    "CallableBackbone": "latentedit.models.callable",
    "Condition": "latentedit.core.condition",
    "Direction": "latentedit.directions.base",
    "EditRequest": "latentedit.api.request",
    "EditResult": "latentedit.api.result",
    "HSDS": "latentedit.directions.hsds",
    "JointLatent": "latentedit.latents.joint",
    "LocalBasis": "latentedit.directions.local_basis",
    "Session": "latentedit.api.session",
    "directions": "latentedit.directions",
    "edit": "latentedit.api.verbs",
    "editors": "latentedit.editors",
    "encode": "latentedit.latents.encode",
    "errors": "latentedit.core.errors",
    "from_pipeline": "latentedit.models.registry",
    "identify": "latentedit.api.verbs",
    "load": "latentedit.models.registry",
    "local_basis": "latentedit.directions.local_basis",
    "manipulate": "latentedit.api.verbs",
    "replay": "latentedit.api.replay",
    "sweep": "latentedit.api.verbs",
}
"""Where each public name lives."""


__getattr__, __dir__ = exports(__name__, _HOME)

"""Edits an image by moving it in the joint image-text latent space of a diffusion model.

The public names are loaded when they are first used, so that importing the package is fast and imports no torch.
"""

from typing import TYPE_CHECKING

from latentedit._version import __version__ as __version__
from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit import batch as batch
    from latentedit import calibration as calibration
    from latentedit import cli as cli
    from latentedit import core as core
    from latentedit import editing as editing
    from latentedit import editors as editors
    from latentedit import encoding as encoding
    from latentedit import geometry as geometry
    from latentedit import identification as identification
    from latentedit import keeping as keeping
    from latentedit import models as models
    from latentedit import numerics as numerics
    from latentedit import photo as photo
    from latentedit import pixels as pixels
    from latentedit import testing as testing
    from latentedit import viewer as viewer
    from latentedit.core.errors import LatentEditError as LatentEditError
    from latentedit.editing.discovery import discover as discover
    from latentedit.editing.discovery import transport as transport
    from latentedit.editing.replay import replay as replay
    from latentedit.editing.result import EditResult as EditResult
    from latentedit.editing.result import SweepResult as SweepResult
    from latentedit.editing.result import view as view
    from latentedit.editing.session import Session as Session
    from latentedit.editing.verbs import edit as edit
    from latentedit.editing.verbs import identify as identify
    from latentedit.editing.verbs import manipulate as manipulate
    from latentedit.editing.verbs import sweep as sweep
    from latentedit.editors.moving import edit_latent as edit_latent
    from latentedit.encoding.encode import encode as encode
    from latentedit.encoding.joint import JointLatent as JointLatent
    from latentedit.geometry.pullback import LocalBasis as LocalBasis
    from latentedit.geometry.pullback import local_basis as local_basis
    from latentedit.identification.direction import Direction as Direction
    from latentedit.identification.hsds import HSDS as HSDS
    from latentedit.keeping.api import KeepResult as KeepResult
    from latentedit.keeping.api import keep as keep
    from latentedit.keeping.api import wrap_pipeline as wrap_pipeline
    from latentedit.keeping.checking import CheckResult as CheckResult
    from latentedit.keeping.checking import check as check
    from latentedit.keeping.undoing import undo as undo
    from latentedit.models.base import Backbone as Backbone
    from latentedit.models.callable import CallableBackbone as CallableBackbone
    from latentedit.models.registry import from_pipeline as from_pipeline
    from latentedit.models.registry import load as load
    from latentedit.numerics.condition import Condition as Condition

__getattr__, __dir__, __all__ = exports(__name__)

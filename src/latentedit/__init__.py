"""Edits an image by moving it in the joint image-text latent space of a diffusion model.

The public names are loaded when they are first used, so that importing the package is fast and imports no torch.
"""

from typing import TYPE_CHECKING

from latentedit._version import __version__ as __version__
from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit import editors as editors
    from latentedit import geometry as geometry
    from latentedit.core import errors as errors
    from latentedit.core.condition import Condition as Condition
    from latentedit.directions.direction import Direction as Direction
    from latentedit.directions.hsds import HSDS as HSDS
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
    from latentedit.geometry.local_basis import LocalBasis as LocalBasis
    from latentedit.geometry.local_basis import local_basis as local_basis
    from latentedit.latents.encode import encode as encode
    from latentedit.latents.joint import JointLatent as JointLatent
    from latentedit.models.base import Backbone as Backbone
    from latentedit.models.callable import CallableBackbone as CallableBackbone
    from latentedit.models.registry import from_pipeline as from_pipeline
    from latentedit.models.registry import load as load
    from latentedit_keep.api import KeepResult as KeepResult
    from latentedit_keep.api import keep as keep
    from latentedit_keep.api import wrap_pipeline as wrap_pipeline
    from latentedit_keep.checking import CheckResult as CheckResult
    from latentedit_keep.checking import check as check
    from latentedit_keep.undoing import undo as undo

__getattr__, __dir__, __all__ = exports(
    __name__,
    add="direction=[a, b]",
    apply="latentedit.manipulate(model, image, direction)",
    blend="direction=[a, b], or latentedit.keep(original, edited, mask=mask)",
    calibrate="`latentedit models calibrate` in a shell",
    caption="`latentedit caption` in a shell",
    compare="`latentedit direction compare` in a shell, or latentedit.check(original, edited) for images",
    compose="direction=[a, b]",
    decode="`.image` of a result, or `model.decode(latent.z)`",
    device="`device` of latentedit.load",
    diff="latentedit.check(original, edited)",
    direction="latentedit.identify(model, image, prompt=...)",
    find_direction="latentedit.identify(model, image, prompt=...)",
    from_pretrained="latentedit.load(name)",
    generate="the pipeline itself: latentedit edits images",
    history="`record` of a result",
    inpaint="latentedit.edit(model, image, prompt, mask=mask)",
    interpolate="`latentedit path` in a shell, or latentedit.geometry.paths_between",
    invert="latentedit.encode(model, image): methods that invert do so from its latent",
    list_models="`latentedit models` in a shell",
    list_methods="`latentedit methods` in a shell; `method` of latentedit.edit takes a name of it",
    load_direction="latentedit.Direction.load(path), or give the path as `direction`",
    **dict.fromkeys(("load_image", "open"), "the path itself: every function takes it as image"),
    mask="an image that is white where it may change, as `mask`",
    methods="`latentedit methods` in a shell; `method` of latentedit.edit takes a name of it",
    psnr="latentedit.check(original, edited)",
    sample="the pipeline itself: latentedit edits images",
    save="`.save(path)` of a result",
    save_direction="`save` of the direction, which latentedit.identify(model, image, ...) finds",
    seed="`seed` of latentedit.edit",
    segment="an image that is white where it may change, as `mask`",
    set_seed="`seed` of latentedit.edit",
    show="`.show()` of a result",
    train_direction="latentedit.identify(model, image, prompt=...)",
)

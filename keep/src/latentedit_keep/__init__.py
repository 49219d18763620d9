"""An editor's change on the original's own pixels: alignment, colors, detection, compositing. Needs no torch.

The public names are loaded when they are first used: other programs import only errors and files.
"""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit_keep.api import KeepResult as KeepResult
    from latentedit_keep.api import keep as keep
    from latentedit_keep.api import wrap_pipeline as wrap_pipeline
    from latentedit_keep.checking import CheckResult as CheckResult
    from latentedit_keep.checking import Measure as Measure
    from latentedit_keep.checking import Region as Region
    from latentedit_keep.checking import Report as Report
    from latentedit_keep.checking import Step as Step
    from latentedit_keep.checking import check as check
    from latentedit_keep.checking import outcome as outcome
    from latentedit_keep.undoing import undo as undo

__getattr__, __dir__, __all__ = exports(__name__)

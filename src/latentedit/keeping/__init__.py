"""An editor's change on the original's own pixels: alignment, colors, detection, compositing. Needs no torch.

The public names are loaded when they are first used: other programs import only errors and files.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.keeping.api import KeepResult as KeepResult
    from latentedit.keeping.api import keep as keep
    from latentedit.keeping.api import wrap_pipeline as wrap_pipeline
    from latentedit.keeping.checking import CheckResult as CheckResult
    from latentedit.keeping.checking import Measure as Measure
    from latentedit.keeping.checking import Region as Region
    from latentedit.keeping.checking import Report as Report
    from latentedit.keeping.checking import Step as Step
    from latentedit.keeping.checking import check as check
    from latentedit.keeping.checking import outcome as outcome
    from latentedit.keeping.rounds import Chain as Chain
    from latentedit.keeping.undoing import undo as undo

__getattr__, __dir__, __all__ = exports(__name__)

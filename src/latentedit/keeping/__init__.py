"""An editor's change on the original's own pixels: alignment, colors, detection, compositing. Needs no torch.

`keep`, `check`, `undo`, their results and `wrap_pipeline` are in `latentedit`.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.keeping.checking import Measure as Measure
    from latentedit.keeping.checking import Region as Region
    from latentedit.keeping.checking import Report as Report
    from latentedit.keeping.checking import Step as Step
    from latentedit.keeping.checking import outcome as outcome
    from latentedit.keeping.rounds import Chain as Chain

__getattr__, __dir__, __all__ = exports(__name__)

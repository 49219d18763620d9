"""Testing: contracts that a new model or editor inherits, and a pipeline with random weights.

The contracts are pytest classes; a module of tests imports one and subclasses it.
"""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.testing.contracts.backbone import BackboneContract as BackboneContract
    from latentedit.testing.contracts.captioner import CaptionerContract as CaptionerContract
    from latentedit.testing.contracts.editor import EditorContract as EditorContract
    from latentedit.testing.contracts.operator import OperatorContract as OperatorContract
    from latentedit.testing.contracts.pipeline import PipelineContract as PipelineContract
    from latentedit.testing.miniature import saved as saved
    from latentedit.testing.miniature import sd3_pipeline as sd3_pipeline

__getattr__, __dir__, __all__ = exports(__name__)

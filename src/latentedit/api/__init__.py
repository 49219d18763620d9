"""What a person does with pictures: encode, identify, manipulate, edit, undo, replay."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.api.outputs import read_record as read_record
    from latentedit.api.request import EditRequest as EditRequest
    from latentedit.api.result import EditResult as EditResult
    from latentedit.api.result import Effect as Effect
    from latentedit.api.result import write_sweep as write_sweep
    from latentedit.api.session import Session as Session
    from latentedit.api.undo import undo_direction as undo_direction
    from latentedit.api.verbs import edit as edit
    from latentedit.api.verbs import edit_pictures as edit_pictures
    from latentedit.api.verbs import identify as identify
    from latentedit.api.verbs import manipulate as manipulate
    from latentedit.api.verbs import sweep as sweep
    from latentedit.display.viewer import View as View
    from latentedit.display.viewer import view as view

__getattr__, __dir__, __all__ = exports(__name__)

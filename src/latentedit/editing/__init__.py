"""The road of every edit: request, session, result, record, sheets. The verbs are in `latentedit`."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.editing.discovery import Discovery as Discovery
    from latentedit.editing.discovery import TransportResult as TransportResult
    from latentedit.editing.discovery import probability_reader as probability_reader
    from latentedit.editing.effect import Effect as Effect
    from latentedit.editing.outputs import read_record as read_record
    from latentedit.editing.outputs import same_image as same_image
    from latentedit.editing.request import EditRequest as EditRequest
    from latentedit.editing.sheet import draw_grid as draw_grid
    from latentedit.editing.verbs import edit_images as edit_images

__getattr__, __dir__, __all__ = exports(__name__)

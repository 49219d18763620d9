"""One picture at several strengths as an HTML page to play with: self-contained, no server, no request."""

from typing import TYPE_CHECKING

from latentedit.core.lazy import exports

if TYPE_CHECKING:
    from latentedit.api.viewer.from_results import view as view
    from latentedit.api.viewer.views import Frame as Frame
    from latentedit.api.viewer.views import View as View

__getattr__, __dir__, __all__ = exports(__name__)

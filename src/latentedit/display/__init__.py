"""How results are shown: a self-contained HTML viewer with a strength slider, and sheets of labeled images."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit_keep.viewer.view import View as View
    from latentedit_keep.viewer.view import ViewerFrame as ViewerFrame

__getattr__, __dir__, __all__ = exports(__name__)

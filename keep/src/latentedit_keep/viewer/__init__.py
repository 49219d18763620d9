"""How results are shown: a self-contained HTML page with a slider of strength."""

from typing import TYPE_CHECKING

from latentedit_keep.base.names import exports

if TYPE_CHECKING:
    from latentedit_keep.viewer.page import viewer_element as viewer_element
    from latentedit_keep.viewer.page import viewer_script as viewer_script
    from latentedit_keep.viewer.view import View as View
    from latentedit_keep.viewer.view import ViewerFrame as ViewerFrame

__getattr__, __dir__, __all__ = exports(__name__)

"""How results are shown: a self-contained HTML page with a slider of strength."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.viewer.page import viewer_element as viewer_element
    from latentedit.viewer.page import viewer_script as viewer_script
    from latentedit.viewer.view import View as View
    from latentedit.viewer.view import ViewerFrame as ViewerFrame

__getattr__, __dir__, __all__ = exports(__name__)

"""OpenCV where it is installed; its own types say less than what its functions return."""

from typing import Any

from latentedit.core.errors import require

cv2: Any = require("cv2", "keep")

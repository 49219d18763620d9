"""OpenCV; its own types say less than what its functions return."""

import importlib
from typing import Any

cv2: Any = importlib.import_module("cv2")

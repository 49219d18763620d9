"""OpenCV; its own types say less than what its functions return."""

from typing import Any

import cv2 as _cv2

cv2: Any = _cv2

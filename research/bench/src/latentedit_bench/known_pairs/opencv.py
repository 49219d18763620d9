"""OpenCV without its type stubs, which are imprecise."""

from typing import Any

import cv2 as _cv2

cv2: Any = _cv2

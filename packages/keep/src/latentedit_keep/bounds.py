"""Where a change may be kept, when the user says so."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentedit_keep.composite import levels
from latentedit_keep.errors import ImageError
from latentedit_keep.pictures import PixelPicture
from latentedit_keep.warp import cv2

_FEATHER = 1 / 100
"""Half the width of the soft edge as a share of the shorter side."""


def bounds_of(found: PixelPicture, size: tuple[int, int]) -> NDArray[np.floating[Any]]:
    """A mask in [0, 1], softened inwards: what is black stays black.

    Args:
        found: white where the change may be kept; colours count by their brightness, transparent parts are black.
        size: of the original, width and height.

    Raises:
        ImageError: another size, black everywhere, or white in places only that are narrower than the soft edge.
    """
    name = f"the mask {found.path}" if found.path is not None else "the mask"
    if found.size != size:
        raise ImageError(
            f"{name} has {found.size[0]}x{found.size[1]} pixels, the original {size[0]}x{size[1]}. Save it at the "
            "original's size"
        )
    plane = cv2.cvtColor(levels(found.pixels[..., :3]), cv2.COLOR_RGB2GRAY) / 255
    if found.pixels.shape[2] == 4:
        plane *= found.pixels[..., 3] / np.float32(np.iinfo(found.pixels.dtype).max)
    if not plane.any():
        raise ImageError(f"{name} is black everywhere, so nothing may be kept. Paint white what may")
    width = 2 * round(_FEATHER * min(size)) + 1
    darkest = cv2.erode(plane, np.ones((width, width), dtype=np.uint8))
    soft = np.minimum(plane, cv2.blur(darkest, (width, width), borderType=cv2.BORDER_REPLICATE))
    if soft.max() < 1 / 255:
        raise ImageError(f"the white parts of {name} are only a few pixels wide, so nothing may be kept. Paint more")
    return np.where(plane >= 1 / 255, soft, 0).astype(np.float32)

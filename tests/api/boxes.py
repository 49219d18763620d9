"""Where a plain picture stands on a sheet."""

import numpy as np
from PIL import Image


def box_of(sheet: np.ndarray, image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, width and height of the pixels in the colour of a plain picture."""
    found = (sheet == image.getpixel((0, 0))).all(axis=2)
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    box = (int(columns[0]), int(rows[0]), len(columns), len(rows))
    assert found[box[1] : box[1] + box[3], box[0] : box[0] + box[2]].all(), "a panel is one whole rectangle"
    assert found.sum() == box[2] * box[3]
    return box

import numpy as np
from PIL import Image

from latentedit_drawn.pixels import SIDE, draw_discs, shrink


def test_discs_have_one_color_on_white_and_radii_in_range() -> None:
    images = draw_discs(20, seed=0)
    assert images.shape == (20, SIDE, SIDE, 3)
    for image in images:
        assert (image[0] == 255).all()
        inside = (image.min(2) < 128).mean()
        # radii of .1 to .2 of a side, and half a pixel at the edge: 2 pi r / (2 * 64)
        assert np.pi * 0.1**2 - 0.01 < inside < np.pi * 0.2**2 + 0.01
        darkest = image.reshape(-1, 3)[image.sum(2).argmin()]
        assert darkest.min() == 0
        assert darkest.max() == 255, "a pure hue"
    assert np.array_equal(draw_discs(5, seed=0), images[:5])
    assert not np.array_equal(draw_discs(5, seed=1), images[:5])


def test_shrink_equals_pillows_box_filter() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    theirs = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX)) for one in images]
    assert np.abs(shrink(images).astype(int) - np.stack(theirs)).max() <= 1, "halves are rounded either way"

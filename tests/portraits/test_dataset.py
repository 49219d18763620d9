from pathlib import Path

import numpy as np

from latentedit.portraits.attributes import draw_split
from latentedit.portraits.dataset import SIZE, render_split
from latentedit.portraits.render import render_array


def test_a_split_is_rendered_once_and_kept(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    renders = render_split(
        tmp_path, "test", 3, seed=0, framed=False, workers=1, progress=lambda *done: told.append(done)
    )
    assert told == [(3, 3)]
    assert renders.attributes == draw_split("test", 3, 0)
    assert renders.pixels.shape == (3, SIZE, SIZE, 3)
    assert np.array_equal(renders.pixels[1], render_array(renders.attributes[1]))

    again = render_split(tmp_path, "test", 3, seed=0, framed=False, workers=1, progress=lambda *done: told.append(done))
    assert told == [(3, 3)]  # nothing was rendered again
    assert np.array_equal(again.pixels, renders.pixels)
    assert not list(tmp_path.glob("*.partial*"))

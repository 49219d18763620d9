from pathlib import Path

import numpy as np
import torch

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.dataset import SIZE, render_split, to_pixels
from latentedit_portraits.render import render_array


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


def test_pixels_run_from_minus_one_to_one() -> None:
    bytes_ = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert to_pixels(bytes_, torch.device("cpu"))[0, :, 0].tolist() == [[-1.0, 1.0]] * 3

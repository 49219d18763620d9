from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.dataset import SIZE, render_arrays, render_split, to_pixels
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
    assert renders.labelled.labels.tolist() == [item.indices() for item in renders.attributes]
    assert renders.labelled.pixels is renders.pixels


def rows(job: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    seed, start, stop = job
    return {"row": np.arange(start, stop), "seed": np.full((stop - start, 2), seed)}


def test_arrays_are_rendered_in_order_once_and_kept(tmp_path: Path) -> None:
    path, told = tmp_path / "new" / "rows.npz", []
    for _ in range(2):
        arrays = render_arrays(path, rows, 450, seed=6, progress=lambda *done: told.append(done))
        assert arrays["row"].tolist() == list(range(450))
        assert arrays["seed"].tolist() == [[6, 6]] * 450
    assert told == [(200, 450), (400, 450), (450, 450)]
    assert [item.name for item in path.parent.iterdir()] == ["rows.npz"]


def test_pixels_run_from_minus_one_to_one() -> None:
    bytes_ = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert to_pixels(bytes_, torch.device("cpu"))[0, :, 0].tolist() == [[-1.0, 1.0]] * 3

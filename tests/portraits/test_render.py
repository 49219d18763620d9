from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.dataset import SIZE, kept_array, render_split, to_pixels
from latentedit_portraits.render import COLORS, Framing, render, render_array

PORTRAIT = draw_split("test", 1, 0)[0].replace(hair="short", hair_color="black", background="blue", accessory="none")


@pytest.mark.parametrize("size", [64, 128, 200])
def test_size(size: int) -> None:
    assert render(PORTRAIT, size).size == (size, size)


def test_the_background_has_its_colour() -> None:
    expected = tuple(int(COLORS["background"]["blue"][i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(render_array(PORTRAIT)[0, 0]) == expected


@pytest.mark.parametrize("field", [name for name in VALUES if name != "facial_hair_color"])
def test_every_attribute_shows(field: str) -> None:
    pictures = [render_array(PORTRAIT.replace(**{field: value})) for value in VALUES[field] if value != "none"]
    differences = [np.abs(a.astype(int) - b).max() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(differences) > 20


def test_glasses_change_the_eyes_and_nothing_below_them() -> None:
    change = np.abs(render_array(PORTRAIT).astype(int) - render_array(PORTRAIT.replace(accessory="glasses")))
    assert change[40:70].max() > 100
    assert change[85:].max() == 0


def test_framing_shifts_by_whole_pixels() -> None:
    moved = render_array(PORTRAIT, framing=Framing(shift_x=4 / 128))
    # anti-aliasing is the same at whole-pixel shifts up to rounding of coordinates
    assert np.abs(moved[:, 4:].astype(int) - render_array(PORTRAIT)[:, :-4]).mean() < 0.5
    assert np.abs(moved[:, 4:].astype(int) - render_array(PORTRAIT)[:, 4:]).mean() > 2  # the control


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
    assert {file.suffix for file in tmp_path.iterdir()} == {".npy", ".json"}


def test_renders_that_were_stopped_are_not_left_without_their_descriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the pixels lie nothing is written again: they come last."""

    def stopped(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("latentedit_portraits.dataset.write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            render_split(tmp_path, "train", 2, seed=1, framed=False)
    assert list(tmp_path.iterdir()) == []
    render_split(tmp_path, "train", 2, seed=1, framed=False)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy"]


def test_another_process_may_render_the_same_split_in_the_meantime(tmp_path: Path) -> None:
    def other(*_: object) -> None:
        render_split(tmp_path, "test", 1, seed=0, framed=False, workers=1)

    renders = render_split(tmp_path, "test", 1, seed=0, framed=False, workers=1, progress=other)
    assert np.array_equal(renders.pixels[0], render_array(renders.attributes[0]))


def test_another_process_may_make_the_same_array_in_the_meantime(tmp_path: Path) -> None:
    path = tmp_path / "values.npy"

    class SavedByAnother:
        def __array__(self, *_: object, **__: object) -> np.ndarray:
            kept_array(path, lambda: np.arange(3))
            return np.arange(3)

    assert kept_array(path, lambda: cast("np.ndarray", SavedByAnother())).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_pixels_run_from_minus_one_to_one() -> None:
    bytes_ = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert to_pixels(bytes_, torch.device("cpu"))[0, :, 0].tolist() == [[-1.0, 1.0]] * 3

"""Pictures of every kind, the same for the same seed, and squares that all change places or none is lost."""

import random

import numpy as np
import pytest
from PIL import Image

from latentedit_bench.data.strange_pictures import STRANGE, photographs, scrambled, textures


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRANGE)
def test_so_many_different_pictures_always_the_same(kind: str) -> None:
    found = STRANGE[kind](9, 1)
    assert len(found) == 9
    assert all(one.mode == "RGB" and min(one.size) >= 32 for one in found)
    bytes_of = [one.tobytes() for one in found]
    assert len(set(bytes_of)) >= 8, "a square photograph may come whole again"
    assert bytes_of == [one.tobytes() for one in STRANGE[kind](9, 1)]
    assert bytes_of != [one.tobytes() for one in STRANGE[kind](9, 2)]


def test_photographs_begin_whole_and_textures_are_others() -> None:
    whole = photographs(5, 0)
    assert whole[0].size == (512, 512)  # the astronaut
    assert not {one.tobytes() for one in whole} & {one.tobytes() for one in textures(5, 0)}
    assert len(photographs(3, 0, "calibration")) == 3


def test_scrambling_keeps_every_square() -> None:
    numbered = np.arange(64, dtype=np.uint8).reshape(8, 8).repeat(16, 0).repeat(16, 1)
    picture = Image.fromarray(np.stack([numbered] * 3, axis=2))
    made = np.asarray(scrambled(picture, random.Random(0)))
    assert made.shape == (128, 128, 3)
    assert sorted(made[::16, ::16, 0].flatten().tolist()) == list(range(64))
    assert not np.array_equal(made, np.asarray(picture))

"""Every harm keeps the size; squares change places, colours change and nothing else does."""

import pytest
import torch

from latentedit.core.rng import draw
from latentedit.guard.corruptions import HARMS


@pytest.fixture
def pixels() -> torch.Tensor:
    return draw((2, 3, 16, 24), seed=0, purpose="harms").clamp(-1, 1)


@pytest.mark.parametrize("name", HARMS)
def test_each_gives_other_pictures_of_the_same_size(name: str, pixels: torch.Tensor) -> None:
    made = HARMS[name].make(pixels)
    assert made.shape == pixels.shape
    assert not torch.equal(made, pixels)
    assert made.abs().max() <= 1 + 1e-6
    assert torch.allclose(HARMS[name].make(pixels[:1]), made[:1]), "neighbours do not matter"


@pytest.mark.parametrize(("name", "cells"), [("quarters exchanged", 2), ("shuffled", 4)])
def test_no_square_stays_and_none_is_lost(name: str, cells: int) -> None:
    numbered = torch.arange(cells * cells, dtype=torch.float32).reshape(1, 1, cells, cells).expand(1, 3, -1, -1)
    moved = HARMS[name].make(numbered.repeat_interleave(4, 2).repeat_interleave(4, 3))[0, 0, ::4, ::4]
    assert sorted(moved.flatten().tolist()) == list(range(cells * cells))
    assert not (moved == numbered[0, 0]).any()

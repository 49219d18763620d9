import pytest
import torch

from latentedit.core.errors import ShapeError
from latentedit_bench.metrics.locality import side_effect
from tests.bench.metrics.constructed import noise


def test_it_is_the_effect_inside_the_mask_alone() -> None:
    """The shadow lies in the left half: none of it, all of it, half of it with something beside it that it is not."""
    source = torch.zeros(3, 3, 4, 6)
    truth, edited, mask = source.clone(), source.clone(), torch.zeros(3, 1, 4, 6, dtype=torch.bool)
    mask[..., :3] = True
    truth[..., :3], truth[..., 3:] = -0.2, 0.8
    edited[0, ..., 3:] = 0.8
    edited[1] = truth[1]
    edited[2, ..., :3] = -0.1
    edited[2, 0, :2, :3] += 0.3
    edited[2, 0, 2:, :3] -= 0.3
    assert side_effect(edited, source, truth, mask).tolist() == pytest.approx([0, 1, 0.5], abs=1e-6)  # single precision


def test_without_side_effects_there_is_no_number() -> None:
    pictures, mask = (noise(2, 3, 4, 6, seed=seed) for seed in range(3)), torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    assert side_effect(*pictures, mask).isnan().all()
    with pytest.raises(ShapeError, match="Resize it"):
        side_effect(*(noise(2, 3, 4, 6, seed=seed) for seed in range(3)), mask[..., :3])

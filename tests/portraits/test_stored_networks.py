"""Networks in a model folder: storage and inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentedit_portraits.classifiers import to_pixels
from latentedit_portraits.framer import PortraitFramer
from latentedit_portraits.reader import PortraitReader


@pytest.mark.parametrize(("kind", "side"), [(PortraitReader, 128), (PortraitFramer, 64)])
@torch.no_grad()
def test_loaded_weights_equal_the_saved_ones_in_half_precision(kind: Any, side: int, tmp_path: Path) -> None:
    """Eleven bits of mantissa: a relative error of 2^-11; integers are exact."""
    saved = kind.build(0)
    saved.features[1].num_batches_tracked += 7
    kind(saved).save(tmp_path)
    found = kind.from_folder(tmp_path).network
    for name, value in saved.state_dict().items():
        assert found.state_dict()[name].dtype == value.dtype
        assert torch.allclose(found.state_dict()[name], value, rtol=2**-11, atol=2**-24)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found(pixels), saved(pixels), atol=5e-3)
    assert not torch.allclose(found(pixels), kind.build(1).eval()(pixels), atol=5e-3)


def test_pixels_out_of_range_are_clamped() -> None:
    reader = PortraitReader(PortraitReader.build(0).eval())
    pixels = 3 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    beyond, ends = reader.probabilities(pixels), reader.probabilities(pixels.clamp(-1, 1))
    assert all(torch.equal(beyond[name], ends[name]) for name in ends)


def test_bytes_become_pixels_in_minus_one_to_one() -> None:
    bytes_ = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert to_pixels(bytes_)[0, :, 0].tolist() == [[-1.0, 1.0]] * 3

"""What the adapters share, on the smallest of them."""

import pytest
import torch

from latentedit.core.errors import DeviceError, ShapeError
from latentedit.models.network import NetworkBackbone
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.models.sd3 import StableDiffusion3Backbone


def test_coordinates_are_wider_than_a_half_precision_network(
    sd: StableDiffusionBackbone, without_t5: StableDiffusion3Backbone
) -> None:
    for backbone in (sd, without_t5):
        assert isinstance(backbone, NetworkBackbone)
        assert (backbone.device.type, backbone.dtype, backbone.network_dtype) == ("cpu", torch.float32, torch.float32)


def test_pixels_and_devices_that_do_not_fit_are_refused(
    sd: StableDiffusionBackbone, without_t5: StableDiffusion3Backbone
) -> None:
    for backbone in (sd, without_t5):
        side = backbone.capabilities.sizes[0]
        with pytest.raises((ShapeError, TypeError), match="3"):
            backbone.encode(torch.zeros(1, 1, side, side))
        with pytest.raises(ShapeError, match="multiples"):
            backbone.encode(torch.zeros(1, 3, side + 1, side))
        with pytest.raises(DeviceError, match="Move it"):
            backbone.encode(torch.zeros(1, 3, side, side, device="meta"))

"""What the adapters share, on the smallest of them."""

import pytest
import torch
from torch import nn

from latentedit.core.errors import ConfigError, DeviceError, ShapeError
from latentedit.models.network import NetworkBackbone, existing_device, known_dtype, placed
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


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32


def test_networks_are_cast_and_frozen() -> None:
    network = placed(Network(), torch.device("cpu"), torch.bfloat16)
    assert network.weight.dtype == torch.bfloat16
    assert not network.weight.requires_grad
    assert not network.training
    mixed = Network()
    mixed.weight.data = mixed.weight.data.double()  # kept by its maker, though the network says float32
    assert placed(mixed, torch.device("cpu"), torch.float32).weight.dtype == torch.float64


def test_what_there_is_not_is_named() -> None:
    assert known_dtype(None) == torch.float32
    assert known_dtype(torch.bfloat16) == torch.bfloat16
    with pytest.raises(ConfigError, match="int8"):
        known_dtype(torch.int8)
    assert existing_device("cpu") == torch.device("cpu")
    assert existing_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("cuda:99", "abacus"):
        with pytest.raises(DeviceError, match=device):
            existing_device(device)

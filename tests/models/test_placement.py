"""Devices and dtypes by name, and networks moved there for good."""

import pytest
import torch
from torch import nn

from latentedit.core.errors import ConfigError, DeviceError
from latentedit.models.placement import existing_device, known_dtype, placed


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

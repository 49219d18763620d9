"""What adapters share, whatever their network: where it runs, in which dtype, and the checks of what it is given."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentedit.core.errors import DeviceError, ShapeError
from latentedit.models.base import Backbone
from latentedit.models.placement import existing_device, known_dtype


class NetworkBackbone(Backbone):
    """A backbone whose networks of diffusers run on one device and in one dtype, coordinates in float32 or better.

    Adapters call `_settle` before they place their networks.
    """

    def _settle(
        self, settings: Mapping[str, Any] | None, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        """Keep what the folder says, and choose device and dtype.

        Raises:
            ConfigError: a dtype that makes no sense.
            DeviceError: a device that this machine lacks.
        """
        self.defaults: Mapping[str, Any] = dict(settings or {})
        self._network_dtype = known_dtype(dtype)
        self._device = existing_device(device)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and conditions: float32, or float64 where the network runs in it."""
        return torch.promote_types(self._network_dtype, torch.float32)

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype in which the networks run, but for the picture codec."""
        return self._network_dtype

    def _check_pixels(self, pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(f"expected pixels of shape [b, 3, h, w]; got {list(pixels.shape)}")
        self.latent_shape(pixels.shape[-2], pixels.shape[-1])
        self._check_device(pixels)

    def _check_device(self, tensor: Tensor) -> None:
        if tensor.device.type != self._device.type:
            raise DeviceError(f"expected a tensor on {self._device}; got one on {tensor.device}. Move it with .to()")

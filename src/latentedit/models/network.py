"""What adapters share, whatever their network: where it runs, in which dtype, its sizes, codec and checks."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentedit.core.errors import ConfigError, DeviceError, ModelError, ShapeError
from latentedit.models.base import Backbone, Capabilities
from latentedit.models.libraries import quiet_libraries
from latentedit.models.loading import ModelFolder
from latentedit.models.text_part import word_pieces
from latentedit.models.weights import fingerprint

CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")

_NETWORK_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class NetworkBackbone(Backbone):
    """A backbone whose networks of diffusers run on one device and in one dtype, coordinates in float32 or better.

    Adapters are built from the components of a pipeline, networks that they move and freeze, tokenizers and a scheduler
    or its configuration, and hand their other arguments to `_settle` before they place the networks.

    Args:
        components: of the pipeline by name, see `parts`.
        name: for messages and records.
        fingerprint: of the weights; none by default.
        settings: content of the folder's ``latentedit.json``. Every adapter reads "guidance" (default weight) and
            "sizes" (smallest, preferred and largest side in pixels), those with text "vocabulary" (words seen in
            training).
        device: None is CUDA where there is one, else the CPU.
        dtype: of the networks; None is float32. The picture codec runs in float32 or better.

    Raises:
        ConfigError: a dtype that makes no sense.
        DeviceError: a device that this machine lacks.
        ModelError: parts or settings that do not fit together.
    """

    @classmethod
    def from_folder(
        cls,
        folder: ModelFolder,
        *,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """Load the parts of a checked folder.

        Args:
            folder: checked by `open_folder`.
            name: for messages and records.
            device: None is CUDA where there is one, else the CPU.
            dtype: of the networks; None is float32.
            options: of the adapter itself.

        Raises:
            ModelError: weights that do not match their configuration, and what the class itself raises.
        """
        chosen, build = existing_device(device), cls._build_from
        return build(folder, folder.components(known_dtype(dtype)), name=name, device=chosen, dtype=dtype, **options)

    @classmethod
    def _build_from(cls, folder: ModelFolder, components: Mapping[str, Any], **settings: Any) -> Self:
        adapter: Any = cls
        return adapter(components, fingerprint=fingerprint(folder.weights), settings=folder.settings, **settings)

    def _settle(
        self,
        *,
        channels: int,
        scale: int,
        stride: int,
        name: str,
        fingerprint: str = "",
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Keep what the folder says, and choose device and dtype; `_declare` ends what this begins.

        Args:
            channels: of a latent.
            scale: pixels a side of one latent.
            stride: sides of latents are multiples of this.
            name: see the class.
            fingerprint: see the class.
            settings: see the class.
            device: see the class.
            dtype: see the class.
        """
        self.name, self.fingerprint = name, fingerprint
        self.defaults: Mapping[str, Any] = dict(settings or {})
        self._network_dtype = known_dtype(dtype)
        self._device = existing_device(device)
        self._channels, self._scale, self._stride = channels, scale, stride
        self._multiple = scale * stride

    def _declare(self, capabilities: Capabilities) -> None:
        Backbone.__init__(self, name=self.name, fingerprint=self.fingerprint, capabilities=capabilities)

    def _vocabulary(self) -> frozenset[str] | None:
        """Words that the model met in training; None where that is unknown."""
        known = self.defaults.get("vocabulary")
        return None if known is None else word_pieces(known)

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

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """``(channels, height / scale, width / scale)``.

        Raises:
            ShapeError: sides that are not positive multiples of what the network needs.
        """
        multiple = self._multiple
        if min(height_px, width_px) < multiple or height_px % multiple or width_px % multiple:
            raise ShapeError(f"picture sides are multiples of {multiple} px; got {height_px} x {width_px}")
        return (self._channels, height_px // self._scale, width_px // self._scale)

    def _sizes(self, trained_px: int, largest_px: int) -> tuple[int, int, int]:
        """Smallest, preferred and largest side: a quarter of the trained one and more, or what the folder says."""
        multiple = self._multiple
        smallest = max(multiple, trained_px // 4 // multiple * multiple)
        sizes = [int(side) for side in self.defaults.get("sizes", (smallest, trained_px, largest_px))]
        if len(sizes) != 3 or sizes != sorted(sizes) or sizes[0] < multiple:
            raise ModelError(f"'sizes' are three rising sides of at least {multiple} px; got {sizes}")
        return (sizes[0], sizes[1], sizes[2])

    def _check_latents(self, z: Tensor) -> None:
        if z.ndim != 4 or z.shape[1] != self._channels or any(side % self._stride for side in z.shape[-2:]):
            raise ShapeError(
                f"latents are [b, {self._channels}, h, w] with h and w in multiples of {self._stride}; "
                f"got {list(z.shape)}"
            )

    def _check_pixels(self, pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ShapeError(f"pixels are [b, 3, h, w]; got {list(pixels.shape)}")
        self.latent_shape(pixels.shape[-2], pixels.shape[-1])
        self._check_device(pixels)

    def _check_device(self, tensor: Tensor) -> None:
        if tensor.device.type != self._device.type:
            raise DeviceError(f"the model is on {self._device}, a tensor on {tensor.device}. Move it with .to()")


class CodecBackbone(NetworkBackbone):
    """A backbone on the latents of an ``AutoencoderKL``: ``x = (mode of the posterior - shift) * scaling_factor``."""

    def _place_codec(self, vae: Any, *, shift: float) -> None:
        self._vae = placed(vae, self._device, self.dtype)
        self._vae.enable_slicing()  # one at a time: memory and rounding do not depend on the batch
        self._vae_shift = shift

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """``(mode - shift) * scaling_factor`` of the VAE's posterior.

        Raises:
            ShapeError: not [b, 3, h, w], or sides that do not fit the network.
            DeviceError: on another device.
        """
        self._check_pixels(pixels)
        mode: Tensor = self._vae.encode(pixels.to(self.dtype)).latent_dist.mode()
        return (mode - self._vae_shift) * self._vae.config.scaling_factor

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The VAE's picture of ``z / scaling_factor + shift``."""
        self._check_latents(z)
        self._check_device(z)
        latents = z.to(self.dtype) / self._vae.config.scaling_factor + self._vae_shift
        return self._vae.decode(latents, return_dict=False)[0]


def vae_scale(vae: Any) -> int:
    """Pixels a side of one latent."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def placed(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Moved and frozen; cast only if need be, for T5 keeps some matrices in float32 when it is loaded in float16.

    Its group norms are fed with contiguous tensors only: PyTorch has no forward mode for others.
    """
    with quiet_libraries():
        moved = network.to(device) if network.dtype == dtype else network.to(device=device, dtype=dtype)
    for module in moved.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    return moved.eval().requires_grad_(False)


def known_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The dtype asked for, float32 by default.

    Raises:
        ConfigError: a dtype that networks do not run in.
    """
    chosen = torch.float32 if dtype is None else dtype
    if chosen not in _NETWORK_DTYPES:
        raise ConfigError(f"networks do not run in {chosen}. Use one of {', '.join(map(str, _NETWORK_DTYPES))}")
    return chosen


def existing_device(device: torch.device | str | None) -> torch.device:
    """The device asked for, or the best there is.

    Raises:
        DeviceError: a device that this machine lacks.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"this machine has no device {device}. Use device='cpu'") from error
    return chosen

"""Images to clean latents and back, for every autoencoder of diffusers: ``x = (mode - mean) * scale``.

What differs is confined here: whether there is a posterior (AutoencoderKL) or none (AutoencoderDC, AutoencoderTiny),
one mean and scale or one a channel (Qwen-Image, Wan), statistics of 2 x 2 patches (FLUX.2), an axis of frames
(autoencoders made for video), an alpha channel (Qwen-Image 2.1), which is 1 and is dropped. Latents of the package are
``[b, c, h, w]`` at the autoencoder's own resolution.
"""

import contextlib
import threading
from collections.abc import Generator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from latentedit.core.errors import ModelError

COLORS = 3

PATCH_SIDE = 2
"""Side of one patch in latents; features of a patch are ordered channel, row, column."""

Size = tuple[int, int]
"""Rows and columns of patches."""

# Two threads must not use an autoencoder while it is cast.
_CASTING = threading.RLock()


class Codec:
    """The autoencoder of a pipeline, whose latents come out in a dtype; it stays on its device and in its own dtype.

    Images pass one at a time, so memory and rounding do not depend on the batch. A float16 autoencoder whose
    configuration says ``force_upcast`` runs in float32, as in the stock pipelines.
    """

    def __init__(self, vae: Any, dtype: torch.dtype) -> None:
        config = vae.config
        colors = config.get("in_channels") or config.get("input_channels") or COLORS
        if colors not in (COLORS, COLORS + 1):
            raise ModelError(f"the autoencoder is for images of {colors} channels. Use a model of RGB images")
        self._vae, self._dtype, self._alpha = vae, dtype, colors > COLORS
        self._patched = hasattr(vae, "bn")
        self._frames = hasattr(vae, "temperal_downsample") or hasattr(config, "temperal_downsample")
        self.channels = int(config.get("latent_channels", 0) or config["z_dim"])
        self.scale_px = scale_px(config)
        mean, std = config.get("latents_mean"), config.get("latents_std")
        factor = 1.0 if self._frames else float(config.get("scaling_factor") or 1.0)
        if mean is not None and std is not None:
            shape = (1, -1, 1, 1)
            self._mean = torch.tensor(mean, dtype=torch.float32).reshape(shape)
            self._scale = factor / torch.tensor(std, dtype=torch.float32).reshape(shape)
        else:
            self._mean, self._scale = float(config.get("shift_factor") or 0.0), factor

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c lh lw"]:
        """The mode of the posterior, normalized for the network."""
        with self._precise() as dtype:
            latents = torch.cat([self._mode(image.to(dtype)) for image in pixels.split(1)]).to(self._dtype)
        mean, scale = self._statistics(latents)
        if self._patched:
            return unpatchify((patchify(latents) - mean) * scale)
        return (latents - mean) * scale

    def decode(self, z: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
        """The autoencoder's image of normalized latents."""
        latents = z.to(self._dtype)
        mean, scale = self._statistics(latents)
        latents = unpatchify(patchify(latents) / scale + mean) if self._patched else latents / scale + mean
        with self._precise() as dtype:
            return torch.cat([self._image(latent.to(dtype)) for latent in latents.split(1)]).to(self._dtype)

    def _mode(self, image: Tensor) -> Tensor:
        image = functional.pad(image, (0, 0, 0, 0, 0, 1), value=1.0) if self._alpha else image
        output = self._vae.encode(image[:, :, None] if self._frames else image)
        if hasattr(output, "latent_dist"):
            mode: Tensor = output.latent_dist.mode()
        else:
            mode = output.latent if hasattr(output, "latent") else output.latents
        return mode[:, :, 0] if self._frames else mode

    def _image(self, latent: Tensor) -> Tensor:
        image: Tensor = self._vae.decode(latent[:, :, None] if self._frames else latent, return_dict=False)[0]
        return (image[:, :, 0] if self._frames else image)[:, :COLORS]

    def _statistics(self, like: Tensor) -> tuple[Any, Any]:
        """Mean and scale, on the device and in the dtype of some latents."""
        if self._patched:
            norm, epsilon = self._vae.bn, self._vae.config.batch_norm_eps
            mean, variance = (part.to(like).reshape(1, -1, 1, 1) for part in (norm.running_mean, norm.running_var))
            return mean, (variance + epsilon).rsqrt()
        if isinstance(self._mean, Tensor):
            return self._mean.to(like), self._scale.to(like) if isinstance(self._scale, Tensor) else self._scale
        return self._mean, self._scale

    @contextlib.contextmanager
    def _precise(self) -> Generator[torch.dtype]:
        """Give the dtype in which the autoencoder runs inside the context.

        Saved as tensors of their own, parameters stay in float32 for derivatives that are taken later.
        """
        upcast = self._vae.config.get("force_upcast")
        with _CASTING if upcast else contextlib.nullcontext():
            dtype: torch.dtype = self._vae.dtype
            if not upcast or dtype != torch.float16:
                yield dtype
                return
            self._vae.to(torch.float32)
            try:
                with saved_tensors_hooks(Tensor.detach, Tensor.detach):
                    yield torch.float32
            finally:
                self._vae.to(dtype)


def scale_px(config: Any) -> int:
    """Pixels a side of one latent."""
    for name in ("block_out_channels", "encoder_block_out_channels"):
        if config.get(name) is not None:
            return 2 ** (len(config[name]) - 1)
    return 2 ** len(config["temperal_downsample"])


def patchify(latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b pc ph pw"]:
    """Patches as channels."""
    return functional.pixel_unshuffle(latents, PATCH_SIDE)


def unpatchify(patches: Float[Tensor, "b pc ph pw"]) -> Float[Tensor, "b c h w"]:
    """The inverse of `patchify`."""
    return functional.pixel_shuffle(patches, PATCH_SIDE)


def pack(latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
    """Patches as tokens, row by row."""
    return patchify(latents).flatten(2).transpose(1, 2)


def unpack(tokens: Float[Tensor, "b n d"], size: Size) -> Float[Tensor, "b c h w"]:
    """The inverse of `pack`."""
    return unpatchify(tokens.transpose(1, 2).unflatten(2, size))

"""The picture codec of `portraits`: a stock AutoencoderKL, trained on 64-pixel crops."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentedit_portraits.dataset import ENCODED, to_pixels
from latentedit_portraits.fitting import FitSettings, Training, seeded

CHANNELS = 8
_CROP = 64  # side of a crop that is trained on, in pixels
_KL_WEIGHT = 5e-5  # of the pull to the normal distribution, beside the squared error
_ABSOLUTE_WEIGHT = 0.1  # of the absolute error, likewise


def build_autoencoder(seed: int) -> AutoencoderKL:
    """The untrained codec: f8, 8 channels, two to four million parameters."""
    build: Any = AutoencoderKL  # its annotations say tuples of one element
    with seeded(seed):
        return build(
            in_channels=3,
            out_channels=3,
            latent_channels=CHANNELS,
            block_out_channels=(16, 32, 64, 128),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=128,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )


def encode_posterior(autoencoder: AutoencoderKL, pixels: Float[Tensor, "b 3 h w"]) -> Any:
    """The codec's posterior over raw latents, with ``mode()``, ``mean``, ``std`` and ``logvar``."""
    network: Any = autoencoder
    return network.encode(pixels).latent_dist


def decode(autoencoder: AutoencoderKL, code: Float[Tensor, "b c lh lw"]) -> Float[Tensor, "b 3 h w"]:
    """Raw latents to pixels, about [-1, 1]."""
    network: Any = autoencoder
    return network.decode(code).sample


def fit_autoencoder(
    autoencoder: AutoencoderKL, pixels: NDArray[np.uint8], settings: FitSettings, run: Training
) -> float:
    """Train the codec on random crops: squared and absolute error and a weak pull to the normal distribution.

    The network stays eager: compiled on a CPU, the gradient above a nearest-neighbour upsampling layer was zero
    (torch 2.13).
    """
    device = next(autoencoder.parameters()).device

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        target = _draw_crops(pixels, settings.batch, generator, device)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = encode_posterior(autoencoder, target)
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            code = posterior.mean.float() + posterior.std.float() * noise
            output = decode(autoencoder, code).float()
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        error = functional.mse_loss(output, target) + _ABSOLUTE_WEIGHT * functional.l1_loss(output, target)
        return error + _KL_WEIGHT * kl

    return run.fit("autoencoder", autoencoder, loss, settings)


def _draw_crops(
    pixels: NDArray[np.uint8], batch: int, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "b 3 h w"]:
    offsets = pixels.shape[1] - _CROP + 1
    chosen = torch.randint(len(pixels), (batch,), generator=generator).tolist()
    corners = torch.randint(offsets, (batch, 2), generator=generator).tolist()
    crops = [pixels[i, y : y + _CROP, x : x + _CROP] for i, (y, x) in zip(chosen, corners, strict=True)]
    return to_pixels(np.stack(crops), device)


@torch.no_grad()
def reconstruction_psnr_db(autoencoder: AutoencoderKL, pixels: NDArray[np.uint8]) -> list[float]:
    """PSNR in decibels of each picture after encoding by the posterior's mode and decoding, clipped to [-1, 1]."""
    found: list[float] = []
    for target in to_pixels(pixels, next(autoencoder.parameters()).device).split(ENCODED):
        output = decode(autoencoder, encode_posterior(autoencoder, target).mode()).clamp(-1, 1)
        error = (output - target).square().mean(dim=(1, 2, 3))
        found += (10 * torch.log10(4.0 / error)).tolist()
    return found

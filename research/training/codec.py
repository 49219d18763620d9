"""The image codec of `portraits`: a stock AutoencoderKL, trained on crops, then on full images, then its decoder alone.

Crops are cheap, but a codec that is trained on crops only is worse on full images, because its norms and its attention
are global. The last stage trains only the decoder, so that latents no longer change. Every fourth image has arbitrary
colors, framing and parts, so that portraits by other programs are reconstructed well, too.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentedit.numerics import seeded
from latentedit_portraits.classifiers import to_pixels
from research.training.data import ENCODED, SEED, cached_array, encode_in_batches
from research.training.loop import FitSettings, Trainer, mixed_precision

CHANNELS = 8
_CROP = 64  # side of a training crop, in pixels
_KL_WEIGHT = 5e-5  # weight of the KL divergence, relative to the squared error
_ABSOLUTE_WEIGHT = 0.05  # weight of the absolute error, relative to the squared error
_OTHERS = 4  # one in four images has arbitrary colors and framing


def build_autoencoder() -> AutoencoderKL:
    """The untrained codec: f8, 8 channels, two to four million parameters."""
    build: Any = AutoencoderKL  # its annotations say tuples of one element
    with seeded(SEED):
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
    autoencoder: AutoencoderKL,
    portraits: NDArray[np.uint8],
    others: NDArray[np.uint8],
    plans: Mapping[str, FitSettings],
    trainer: Trainer,
) -> float:
    """Train the codec on squared error, absolute error and a weak KL divergence.

    The network stays eager: compiled on a CPU, the gradient above a nearest-neighbor upsampling layer was zero
    (torch 2.13).

    Args:
        autoencoder: the codec, on its device.
        portraits: images ``[n, 128, 128, 3]``, three quarters of each batch.
        others: images of the same size, the last quarter.
        plans: settings of the stages "autoencoder" (crops), "autoencoder_whole" (full images) and "decoder".
        trainer: the training loop.
    """
    network: Any = autoencoder  # its annotations lack the memory format
    network.to(memory_format=torch.channels_last)
    seconds = 0.0
    full = portraits.shape[1]
    for stage, side in (("autoencoder", _CROP), ("autoencoder_whole", full), ("decoder", full)):
        network.encoder.requires_grad_(stage != "decoder")
        loss = _Loss(autoencoder=autoencoder, sources=(portraits, others), side=side, batch=plans[stage].batch_size)
        seconds += trainer.fit(stage, autoencoder, loss, plans[stage])
    network.encoder.requires_grad_(True)
    return seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Loss:
    """The loss of one batch."""

    autoencoder: AutoencoderKL
    sources: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    side: int
    batch: int

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        del step
        device = next(self.autoencoder.parameters()).device
        others = self.batch // _OTHERS
        drawn = zip(self.sources, (self.batch - others, others), strict=True)
        target = torch.cat([_draw_crops(pixels, count, self.side, generator, device) for pixels, count in drawn])
        target = target.contiguous(memory_format=torch.channels_last)
        with mixed_precision(device):
            posterior = encode_posterior(self.autoencoder, target)
            noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
            code = posterior.mean.float() + posterior.std.float() * noise
            output = decode(self.autoencoder, code).float()
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        error = functional.mse_loss(output, target) + _ABSOLUTE_WEIGHT * functional.l1_loss(output, target)
        return error + _KL_WEIGHT * kl


def _draw_crops(
    pixels: NDArray[np.uint8], count: int, side: int, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "b 3 h w"]:
    offsets = pixels.shape[1] - side + 1
    chosen = torch.randint(len(pixels), (count,), generator=generator).tolist()
    corners = torch.randint(offsets, (count, 2), generator=generator).tolist()
    crops = [pixels[i, y : y + side, x : x + side] for i, (y, x) in zip(chosen, corners, strict=True)]
    return to_pixels(np.stack(crops), device)


@torch.no_grad()
def reconstruction_psnr_db(autoencoder: AutoencoderKL, pixels: NDArray[np.uint8]) -> list[float]:
    """PSNR in decibels of each image after encoding by the posterior's mode and decoding, clipped to [-1, 1]."""
    psnr: list[float] = []
    for target in to_pixels(pixels, next(autoencoder.parameters()).device).split(ENCODED):
        output = decode(autoencoder, encode_posterior(autoencoder, target).mode()).clamp(-1, 1)
        error = (output - target).square().mean(dim=(1, 2, 3))
        psnr += (10 * torch.log10(4.0 / error)).tolist()
    return psnr


@torch.no_grad()
def normalized_latents(autoencoder: AutoencoderKL, pixels: NDArray[np.uint8], trainer: Trainer) -> NDArray[np.float16]:
    """Normalized latents ``[n, 8, 16, 16]`` of all images, cached in the trainer's folder.

    The codec is rescaled so that every channel has unit variance (exact: the encoder's last and the decoder's first
    layer are linear). The remaining mean and deviation are stored in its configuration, as the stock pipeline requires.
    """
    scales_path = trainer.folder / "latents.scale.npz"

    def normalized() -> NDArray[np.float16]:
        values = encode_in_batches(lambda chunk: encode_posterior(autoencoder, chunk).mode(), pixels, trainer)
        deviation = values.std(axis=(0, 2, 3), keepdims=True)
        values /= deviation
        mean, scale = float(values.mean()), float(1 / values.std())
        np.savez(scales_path, deviation=deviation.ravel(), mean=mean, scale=scale)
        return ((values - mean) * scale).astype(np.float16)

    latents, scales = cached_array(trainer.folder / "latents.npy", normalized), np.load(scales_path)
    rescale_channels(autoencoder, torch.from_numpy(scales["deviation"]))
    autoencoder.register_to_config(shift_factor=float(scales["mean"]), scaling_factor=float(scales["scale"]))
    return latents


@torch.no_grad()
def rescale_channels(autoencoder: AutoencoderKL, deviation: torch.Tensor) -> None:
    """Divide each latent channel by a number in the encoder's last layer, multiply by it in the decoder's first."""
    last, first = autoencoder.encoder.conv_out, autoencoder.decoder.conv_in
    factor = deviation.to(last.weight)
    channels = len(factor)
    last.weight[:channels] /= factor[:, None, None, None]
    last.bias[:channels] /= factor  # pyrefly: ignore[unsupported-operation]
    last.bias[channels:] -= 2 * factor.log()  # pyrefly: ignore[unsupported-operation]
    first.weight *= factor[None, :, None, None]


@torch.no_grad()
def reconstruct(autoencoder: AutoencoderKL, pixels: NDArray[np.uint8], trainer: Trainer) -> NDArray[np.uint8]:
    """Images after encoding and decoding, as bytes ``[n, h, w, 3]``."""
    chunks: list[NDArray[np.uint8]] = []
    for start in range(0, len(pixels), ENCODED):
        code = encode_posterior(autoencoder, to_pixels(pixels[start : start + ENCODED], trainer.device)).mode()
        scaled = decode(autoencoder, code).clamp(-1, 1).add(1).mul(127.5).round().byte()
        chunks.append(scaled.permute(0, 2, 3, 1).cpu().numpy())
        trainer.report_progress("reconstructions", start + len(code), len(pixels))
    return np.concatenate(chunks)

"""Small unconditional diffusion models on pixels, all alike but for their data: portraits, and plain discs.

They are what a comparison of data sets needs: one network, one recipe, and pictures of clearly different complexity. A
disc has four numbers (place, size and hue); a portrait has twelve attributes and a framing.
"""

import colorsys
import random
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

from latentedit.core.flow import per_element
from latentedit.core.rng import seeded
from latentedit.core.schedule import DiscreteSchedule
from latentedit_portraits.dataset import to_pixels
from latentedit_portraits.fitting import FitSettings, Training, mixed_precision

SIDE = 64
"""Of a picture, in pixels."""

_WIDTHS = (16, 32, 64, 128)
_GROUPS = 16
_SHARPNESS = 4
"""Samples a pixel and axis at the edge of a disc."""


def noise_scheduler() -> DDIMScheduler:
    """DDPM's linear betas, s in [0.010, 0.994]; the network predicts v, which is as easy at all levels."""
    return DDIMScheduler(
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def build_pixel_unet(seed: int) -> nn.Module:
    """The untrained network: four sizes from 64 to 8 pixels, attention at the last and in the middle."""
    build: Any = UNet2DModel  # its annotations say tuples of strings of any length
    with seeded(seed):
        return build(
            sample_size=SIDE,
            block_out_channels=_WIDTHS,
            layers_per_block=1,
            norm_num_groups=_GROUPS,
            attention_head_dim=_GROUPS * 2,
            down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        )


def draw_discs(count: int, *, seed: int) -> NDArray[np.uint8]:
    """Discs of one pure hue each on white, ``[count, 64, 64, 3]``; smooth at their edges.

    Args:
        count: how many.
        seed: of all of them; a longer draw begins with the shorter one.
    """
    generator = random.Random(f"portraits/discs/{seed}")
    fine = (np.arange(SIDE * _SHARPNESS) + 0.5) / (SIDE * _SHARPNESS)
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for picture in pictures:
        x, y, radius = (generator.uniform(*bounds) for bounds in ((0.25, 0.75), (0.25, 0.75), (0.1, 0.2)))
        colour = 255 * np.array(colorsys.hsv_to_rgb(generator.random(), 1, 1))
        inside = (fine[:, None] - y) ** 2 + (fine - x) ** 2 <= radius**2
        share = inside.reshape(SIDE, _SHARPNESS, SIDE, _SHARPNESS).mean((1, 3))[..., None]
        picture[:] = np.round(share * colour + (1 - share) * 255)
    return pictures


def shrink(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures ``[n, k * 64, k * 64, 3]`` at 64 pixels, by the mean over cells."""
    count, side = pictures.shape[:2]
    cells = pictures.reshape(count, SIDE, side // SIDE, SIDE, side // SIDE, 3)
    return np.round(cells.mean((2, 4), dtype=np.float32)).astype(np.uint8)


def fit_pixels(network: nn.Module, pictures: NDArray[np.uint8], settings: FitSettings, run: Training) -> float:
    """Train a network to predict v, at uniform times; pictures are bytes ``[n, 64, 64, 3]``."""
    device = run.device
    schedule = DiscreteSchedule.from_alphas_cumprod(noise_scheduler().alphas_cumprod)
    stock: Any = network
    stock.to(memory_format=torch.channels_last)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(pictures), (settings.batch,), generator=generator).tolist()
        clean = to_pixels(pictures[chosen], device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        times = _stratified_times(settings.batch, schedule.times, generator)
        scales = schedule.alpha_sigma(schedule.level(times.double()))
        alpha, sigma = (per_element(scale.float().to(device), clean) for scale in scales)
        x_t = (alpha * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        with mixed_precision(device):
            output = network(x_t, times.to(device), return_dict=False)[0]
        return (output.float() - (alpha * noise - sigma * clean)).square().mean()

    return run.fit("pixels", network, loss, settings)


def _stratified_times(batch: int, times: int, generator: torch.Generator) -> Int[Tensor, " b"]:
    """One time from each of equal parts of the range, so that every batch has seen all of it."""
    quantile = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return (quantile * times).long().clamp(max=times - 1)

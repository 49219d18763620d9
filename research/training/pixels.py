"""Small unconditional pixel-space diffusion models that differ only in their data, to compare data sets."""

from typing import Any

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

from latentedit.numerics import DiscreteSchedule, alpha_sigma_from_level, per_element, seeded
from latentedit_drawn.pixels import SIDE, draw_discs, shrink
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.classifiers import to_pixels
from research.training.data import SEED, render_cached, render_framed
from research.training.folder import write_pipeline
from research.training.loop import FitSettings, Plan, Trainer, mixed_precision


def noise_scheduler() -> DDIMScheduler:
    """DDPM's linear betas, s in [0.010, 0.994]; the network predicts v, whose scale is the same at all levels."""
    return DDIMScheduler(
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def build_pixel_unet() -> nn.Module:
    """The untrained network: four sizes from 64 to 8 pixels, attention at the last and in the middle."""
    build: Any = UNet2DModel  # its annotations say tuples of strings of any length
    with seeded(SEED):
        return build(
            sample_size=SIDE,
            block_out_channels=(16, 32, 64, 128),
            layers_per_block=1,
            norm_num_groups=16,
            attention_head_dim=32,
            down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        )


def fit_pixels(network: nn.Module, images: NDArray[np.uint8], settings: FitSettings, trainer: Trainer) -> float:
    """Train a network to predict v, at uniform times; images are bytes ``[n, 64, 64, 3]``."""
    device = trainer.device
    schedule = DiscreteSchedule.from_alphas_cumprod(noise_scheduler().alphas_cumprod)
    stock: Any = network
    stock.to(memory_format=torch.channels_last)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(images), (settings.batch_size,), generator=generator).tolist()
        clean = to_pixels(images[chosen], device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        times = _stratified_times(settings.batch_size, schedule.times, generator)
        scales = alpha_sigma_from_level(schedule.level(times.double()))
        alpha, sigma = (per_element(scale.float().to(device), clean) for scale in scales)
        x_t = (alpha * clean + sigma * noise).contiguous(memory_format=torch.channels_last)
        with mixed_precision(device):
            output = network(x_t, times.to(device), return_dict=False)[0]
        return (output.float() - (alpha * noise - sigma * clean)).square().mean()

    return trainer.fit("pixels", network, loss, settings)


def _stratified_times(batch: int, times: int, generator: torch.Generator) -> Int[Tensor, " b"]:
    """One random time from each of equal parts of the range, so that every batch covers it."""
    quantile = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return (quantile * times).long().clamp(max=times - 1)


def train_discs(trainer: Trainer, plan: Plan) -> dict[str, float]:
    """Train the network on plain discs, and write the model."""
    return _train(trainer, plan, draw_discs(plan.images, seed=SEED))


def train_portraits(trainer: Trainer, plan: Plan) -> dict[str, float]:
    """Train the network on portraits, and write the model."""
    portraits = draw_split("train", plan.images, SEED)
    return _train(trainer, plan, shrink(render_cached("train", portraits, render_framed, trainer)))


def _train(trainer: Trainer, plan: Plan, images: NDArray[np.uint8]) -> dict[str, float]:
    network: Any = build_pixel_unet().to(trainer.device)
    seconds = fit_pixels(network, images, plan.fits["pixels"], trainer)
    network.to(memory_format=torch.contiguous_format)
    write_pipeline(trainer.folder / "model", DDIMPipeline(unet=network, scheduler=noise_scheduler()), {})
    return {"pixels": seconds}

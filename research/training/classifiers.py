"""Training of the attribute classifiers and of the framer of portraits."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentedit_portraits.classifiers import ImageNetwork, split_logits, to_pixels
from latentedit_portraits.domains import SceneAttributes
from research.training.loop import FitSettings, Trainer, mixed_precision
from research.training.texts import value_indices

_NOISE = 0.06  # maximum standard deviation of the noise augmentation; pixels are in [-1, 1]


def fit_reader(
    network: ImageNetwork,
    sources: Sequence[NDArray[np.uint8]],
    scenes: Sequence[SceneAttributes],
    settings: FitSettings,
    trainer: Trainer,
) -> float:
    """Train a classifier on every source equally often.

    Brightness, contrast, sharpness and noise are augmented, so that it is robust to blur by a codec or a sampler. Each
    source has the images of the first scenes, as bytes ``[n, 128, 128, 3]``.
    """
    device = next(network.parameters()).device
    kind = type(scenes[0])
    labels = value_indices(kind, [{name: getattr(scene, name) for name in kind.values} for scene in scenes]).to(device)
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        pixels = sources[step % len(sources)]
        chosen = torch.randint(len(pixels), (settings.batch_size,), generator=generator).sort().values
        image = _augmented(to_pixels(pixels[chosen.numpy()], device), generator)
        with mixed_precision(device):
            logits = split_logits(network(image), kind)
        truth = labels[chosen.to(device)]
        losses = [functional.cross_entropy(part.float(), truth[:, i]) for i, part in enumerate(logits)]
        return torch.stack(losses).mean()

    seconds = trainer.fit("reader", network, loss, settings)
    network.eval()
    return seconds


def _augmented(pixels: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """The images with random brightness, contrast, blur and noise."""
    shape = (len(pixels), 1, 1, 1)
    contrast = 1 + 0.1 * (2 * torch.rand(shape, generator=generator) - 1)
    brightness = 0.1 * (2 * torch.rand(shape, generator=generator) - 1)
    blur = torch.rand(shape, generator=generator)
    noise = _NOISE * torch.rand(shape, generator=generator)
    blurred = functional.interpolate(functional.avg_pool2d(pixels, 2), scale_factor=2.0, mode="bilinear")
    mixed = torch.lerp(pixels, blurred, blur.to(pixels.device))
    grain = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    return mixed * contrast.to(pixels.device) + brightness.to(pixels.device) + noise.to(pixels.device) * grain


def fit_framer(
    network: ImageNetwork,
    pixels: NDArray[np.uint8],
    framings: Float32[np.ndarray, "n 4"],
    settings: FitSettings,
    trainer: Trainer,
) -> float:
    """Train the framer on views, bytes ``[n, 64, 64, 3]``, mirrored and with noise; for targets see `framings_of`."""
    device = next(network.parameters()).device
    truth = torch.from_numpy(framings).to(device)
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(pixels), (settings.batch_size,), generator=generator)
        views = to_pixels(pixels[chosen.numpy()], device)
        target = truth[chosen.to(device)]
        if torch.rand((), generator=generator) < 0.5:
            views, target = views.flip(3), target * target.new_tensor([-1, 1, 1, 1])
        grain = 0.1 * torch.rand((settings.batch_size, 1, 1, 1), generator=generator)
        noisy = views + (grain * torch.randn(views.shape, generator=generator)).to(device)
        output, present = network(noisy), target[:, 3]
        error = functional.smooth_l1_loss(output[:, :3], target[:, :3], beta=0.02, reduction="none").sum(1)
        presence_loss = functional.binary_cross_entropy_with_logits(output[:, 3], present)
        return (error * present).mean() + 0.1 * presence_loss

    seconds = trainer.fit("framer", network, loss, settings)
    network.eval()
    return seconds

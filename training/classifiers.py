"""How the classifier of attributes and the framer of portraits are trained."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentedit_portraits.worlds import Described, ImageNetwork, split_logits, to_pixels
from training.loop import FitSettings, Training, mixed_precision
from training.texts import value_indices

_NOISE = 0.06  # largest deviation of the noise that is added in training, of a range of 2


def fit_reader(
    network: ImageNetwork,
    sources: Sequence[NDArray[np.uint8]],
    scenes: Sequence[Described],
    settings: FitSettings,
    run: Training,
) -> float:
    """Train the reader on every source equally often.

    Brightness, contrast, sharpness and noise vary, so that it does not depend on what a codec or a sampler blurs. Each
    source holds the images of the first scenes, as bytes ``[n, 128, 128, 3]``.
    """
    device = next(network.parameters()).device
    kind = type(scenes[0])
    labels = value_indices(kind, [{name: getattr(one, name) for name in kind.values} for one in scenes]).to(device)
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        pixels = sources[step % len(sources)]
        chosen = torch.randint(len(pixels), (settings.batch,), generator=generator).sort().values
        image = _disturb(to_pixels(pixels[chosen.numpy()], device), generator)
        with mixed_precision(device):
            logits = split_logits(network(image), kind)
        truth = labels[chosen.to(device)]
        losses = [functional.cross_entropy(part.float(), truth[:, i]) for i, part in enumerate(logits)]
        return torch.stack(losses).mean()

    seconds = run.fit("reader", network, loss, settings)
    network.eval()
    return seconds


def _disturb(pixels: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Other brightness and contrast, some blur, some noise."""
    batch = len(pixels)
    contrast = 1 + 0.1 * (2 * torch.rand((batch, 1, 1, 1), generator=generator) - 1)
    brightness = 0.1 * (2 * torch.rand((batch, 1, 1, 1), generator=generator) - 1)
    blur = torch.rand((batch, 1, 1, 1), generator=generator)
    noise = _NOISE * torch.rand((batch, 1, 1, 1), generator=generator)
    blurred = functional.interpolate(functional.avg_pool2d(pixels, 2), scale_factor=2.0, mode="bilinear")
    mixed = torch.lerp(pixels, blurred, blur.to(pixels.device))
    grain = torch.randn(pixels.shape, generator=generator).to(pixels.device)
    return mixed * contrast.to(pixels.device) + brightness.to(pixels.device) + noise.to(pixels.device) * grain


def fit_framer(
    network: ImageNetwork,
    pixels: NDArray[np.uint8],
    framings: Float32[np.ndarray, "n 4"],
    settings: FitSettings,
    run: Training,
) -> float:
    """Train the framer on views, bytes ``[n, 64, 64, 3]``, their mirror images, and some noise; see `framings_of`."""
    device = next(network.parameters()).device
    truth = torch.from_numpy(framings).to(device)
    network.train()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        del step
        chosen = torch.randint(len(pixels), (settings.batch,), generator=generator)
        seen = to_pixels(pixels[chosen.numpy()], device)
        wanted = truth[chosen.to(device)]
        if torch.rand((), generator=generator) < 0.5:
            seen, wanted = seen.flip(3), wanted * wanted.new_tensor([-1, 1, 1, 1])
        grain = 0.1 * torch.rand((settings.batch, 1, 1, 1), generator=generator)
        noisy = seen + (grain * torch.randn(seen.shape, generator=generator)).to(device)
        found, there = network(noisy), wanted[:, 3]
        error = functional.smooth_l1_loss(found[:, :3], wanted[:, :3], beta=0.02, reduction="none").sum(1)
        absent = functional.binary_cross_entropy_with_logits(found[:, 3], there)
        return (error * there).mean() + 0.1 * absent

    seconds = run.fit("framer", network, loss, settings)
    network.eval()
    return seconds

"""A one-step generator of heights that others distilled (adaptive-terrain-diffusion, PyPI), as a model of latentedit.

The network takes ``x + sigma e`` of heights, 128 pixels a side, the sigma of EDM and a difficulty in [0, 1], and gives
the clean image. So alpha is 1, and in flow coordinates

    s = sigma / (1 + sigma)        z = (x + sigma e) / (1 + sigma)        x_hat = its answer

It was distilled at sigma 80 only, and elsewhere it is no denoiser: the model has the one level 80 / 81, and one step
from there to the clean image whatever number of steps is wanted. A condition is a difficulty from 1 to 100.
"""

from pathlib import Path

import torch
from torch import Tensor

from latentedit import CallableBackbone, Condition
from latentedit.core import ConfigError
from latentedit.models import Capabilities
from latentedit.numerics import LevelGrid, model_from_canonical, velocity_from_prediction
from research.foreign.galaxies import FOLDER, installed_package
from research.foreign.onnx_graph import OnnxGraph

SIDE, SIGMA, MOST = 128, 80.0, 100
LEVEL = SIGMA / (1 + SIGMA)
MIDDLE = "conv2d_81"  # output of the middle block
FILE = "weights/terrain_consistency_unet_difficulty100.onnx"


def terrain_network(folder: Path = FOLDER) -> OnnxGraph:
    """The network, as its author distilled it."""
    return OnnxGraph(installed_package("terrain_diffusion", folder) / FILE, taps={"mid": MIDDLE})


def difficulty(text: str) -> float:
    """The network's number for a text, a whole number from 1 to 100; the middle for an empty one."""
    if not text:
        return 0.5
    if not (text.isdigit() and 1 <= int(text) <= MOST):
        raise ConfigError(f"a difficulty is a whole number from 1 to {MOST}; got {text!r}")
    return (int(text) - 1) / (MOST - 1)


def terrain_backbone(network: OnnxGraph) -> CallableBackbone:
    """The network at its level, with the site "mid"; texts are difficulties."""

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        sigma, alpha = s / (1 - s), torch.ones_like(s)
        noisy = model_from_canonical(z, alpha, sigma)
        clean = network(noisy, sigma.to(z), condition.tokens[:, 0, 0].to(z))
        return velocity_from_prediction("sample", clean, noisy, alpha, sigma)

    return CallableBackbone(
        velocity,
        embed=lambda texts: Condition.of(torch.tensor([difficulty(text) for text in texts])),
        latent_shape=(1, SIDE, SIDE),
        sites=dict(network.taps.items()),
        name="terrain",
        fingerprint="terrain-0.4.2",
        capabilities=Capabilities(s_min=LEVEL, s_max=LEVEL, start_std=LEVEL, pixels=False, sizes=(SIDE, SIDE, SIDE)),
        grid=lambda _steps: LevelGrid(levels=(LEVEL, 0.0)),
    )

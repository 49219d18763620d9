"""Six score networks of galaxies that others trained (galaxygrad on PyPI), as models of latentedit.

The wheel of galaxygrad 0.0.20 has the weights of six mixers, of images of 32 or 64 pixels a side by two telescopes. Its
license is not stated, so it is installed into a folder of its own and nothing of it is kept here. (Its own code cannot
be imported as it is: its ``__init__`` names two networks that it does not define. So the weights are read here.)

A network is the score of ``y_t = exp(-t / 2) y_0 + sqrt(1 - exp(-t)) e`` with t in (0, 10]; its wrappers say ``y =
10 log(1 + flux)``, but the "log" networks draw values from -4 to 0, so theirs is another unknown scale. The process
preserves variance, ``alpha = exp(-t / 2)`` and ``sigma^2 = 1 - alpha^2``, so in flow coordinates

    s = sigma / (alpha + sigma)        t = -2 log(alpha)        e_hat = -sigma score(y_t, t)

and the rest is `latentedit.numerics.velocity_from_prediction`. Weights were fitted at all t with equal density, so of
the levels below .05 (t < .003) the networks saw next to nothing; the last step of a grid goes from .05 to 0.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentedit import CallableBackbone, Condition
from latentedit.core import ConfigError
from latentedit.models import Capabilities
from latentedit.numerics import (
    alpha_sigma_from_level,
    model_from_canonical,
    per_element,
    stream,
    velocity_from_prediction,
)

FOLDER = Path(__file__).resolve().parents[2] / "out" / "foreign"
NETWORKS: Mapping[str, str] = {
    "hsc-32": "hsc_ScoreNet32",
    "ztf-32": "ZTF_ScoreNet32",
    "hsc-log-32": "hsc_LogNet32",
    "hsc-64": "hsc_ScoreNet64",
    "ztf-64": "ZTF_ScoreNet64",
    "hsc-log-64": "hsc_LogNet64",
}
"""Our names of the networks to those of the files; "hsc" and "ztf" are the telescopes."""

LAST_TIME = 10.0
PATCH, WIDTH, HIDDEN, BLOCKS = 4, 64, 512, 4
START_STD = 1 / (math.exp(-LAST_TIME / 2) + math.sqrt(1 - math.exp(-LAST_TIME)))  # 1 / (alpha + sigma) at the last time
S_MIN, S_MAX = 0.05, math.sqrt(1 - math.exp(-LAST_TIME)) * START_STD
MIDDLE = 1  # the block whose output is the site "mid": the second of four

Score = Callable[[Float[Tensor, "b *latent"], Float[Tensor, " b"]], Float[Tensor, "b *latent"]]
"""The score of noisy data in the network's own coordinates, ``(y_t, t) -> grad log p_t(y_t)``."""


class MixerBlock(nn.Module):
    """Two layers over the patches and two over the channels, each pair after a norm over both and with a shortcut."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patch_mixer = nn.Sequential(nn.Linear(patches, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, patches))
        self.channel_mixer = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        self.norm1, self.norm2 = nn.LayerNorm([patches, WIDTH]), nn.LayerNorm([patches, WIDTH])

    def forward(self, tokens: Float[Tensor, "b patches width"]) -> Float[Tensor, "b patches width"]:
        """The tokens after the block."""
        tokens = tokens + self.patch_mixer(self.norm1(tokens).mT).mT
        return tokens + self.channel_mixer(self.norm2(tokens))


class ScoreNetwork(nn.Module):
    """The mixer of galaxygrad, with tokens of ``[b, patches, channels]``; ``side`` is that of the image in pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2, WIDTH, PATCH, stride=PATCH)
        self.conv_out = nn.ConvTranspose2d(WIDTH, 1, PATCH, stride=PATCH)
        patches = (side // PATCH) ** 2
        self.blocks = nn.ModuleList(MixerBlock(patches) for _ in range(BLOCKS))
        self.norm, self.side = nn.LayerNorm([patches, WIDTH]), side

    def forward(self, y: Float[Tensor, "b 1 side side"], t: Float[Tensor, " b"]) -> Float[Tensor, "b 1 side side"]:
        """The score at time t."""
        plane = per_element(t.to(y) / LAST_TIME, y).expand_as(y)
        grid = self.conv_in(torch.cat([y, plane], 1))
        tokens = grid.flatten(2).mT
        for block in self.blocks:
            tokens = block(tokens)
        return self.conv_out(self.norm(tokens).mT.reshape(grid.shape))


def installed_package(name: str, folder: Path = FOLDER) -> Path:
    """The folder of a package of requirements.txt; pip installs the pinned wheels below ``folder`` if it is missing."""
    place = folder / "packages"
    if not (place / name).is_dir():
        pinned = str(Path(__file__).with_name("requirements.txt"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--upgrade"]
        subprocess.run([*pip, "--require-hashes", "--target", str(place), "-r", pinned], check=True)
    return place / name


def read_arrays(file: Path) -> list[np.ndarray]:
    """The arrays of a file of equinox, which are one after the other in NumPy's own format; nothing is unpickled."""
    arrays: list[np.ndarray] = []
    with file.open("rb") as stored:
        while stored.tell() < os.fstat(stored.fileno()).st_size:
            arrays.append(np.load(stored, allow_pickle=False))
    return arrays


def from_arrays(arrays: Sequence[np.ndarray]) -> ScoreNetwork:
    """The network of the arrays of a file, in the order in which galaxygrad stores them.

    JAX does not flip the kernel of a transposed convolution and has its output channels first; norms of galaxygrad that
    come before the patches are mixed have the channels first.
    """
    *weights, last_time = [torch.from_numpy(np.asarray(array, dtype=np.float32)) for array in arrays]
    if float(last_time) != LAST_TIME or len(weights) != 6 + 12 * BLOCKS:
        raise ConfigError(f"these are not the weights of a network of galaxygrad 0.0.20: {len(arrays)} arrays")
    network = _blank(PATCH * math.isqrt(weights[-1].shape[1]))
    rest = iter(weights)
    values = [next(rest), next(rest).flatten(), next(rest).flip(2, 3).transpose(0, 1), next(rest).flatten()]
    parameters = [network.conv_in.weight, network.conv_in.bias, network.conv_out.weight, network.conv_out.bias]
    for block in network.blocks:
        assert isinstance(block, MixerBlock)
        for mixer in (block.patch_mixer, block.channel_mixer):
            parameters += list(mixer.parameters())
            values += [next(rest) for _ in range(4)]
        parameters += [*block.norm1.parameters(), *block.norm2.parameters()]
        values += [next(rest).T, next(rest).T, next(rest), next(rest)]
    parameters += list(network.norm.parameters())
    values += [next(rest).T, next(rest).T]
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            assert parameter is not None
            assert parameter.shape == value.shape
            parameter.copy_(value)
    return network.eval().requires_grad_(requires_grad=False)


def _blank(side: int) -> ScoreNetwork:
    """A network without numbers, which draws none."""
    with torch.device("meta"):
        network = ScoreNetwork(side)
    return network.to_empty(device="cpu")


def trained(name: str, folder: Path = FOLDER) -> ScoreNetwork:
    """One of `NETWORKS`, as its authors trained it."""
    if name not in NETWORKS:
        raise ConfigError(f"there is no network {name!r}. Known: {', '.join(NETWORKS)}")
    return from_arrays(read_arrays(installed_package("galaxygrad", folder) / f"eqx_{NETWORKS[name]}.eqx"))


@torch.no_grad()
def permuted_twin(network: ScoreNetwork, seed: int) -> ScoreNetwork:
    """The same architecture with the entries of each tensor in random order: scales stay, what was learned goes."""
    twin = _blank(network.side)
    for index, (own, trained_one) in enumerate(zip(twin.parameters(), network.parameters(), strict=True)):
        order = torch.randperm(own.numel(), generator=stream(seed, "permuted twin", index))
        own.copy_(trained_one.flatten()[order].reshape(own.shape))
    return twin.eval().requires_grad_(requires_grad=False)


def velocity_of_score(
    score: Score, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"]
) -> Float[Tensor, "b *latent"]:
    """``E[e - x | z]`` of a score of galaxygrad's process; see the module."""
    alpha, sigma = alpha_sigma_from_level(s)
    y = model_from_canonical(z, alpha, sigma)
    noise = -per_element(sigma, z) * score(y, -2 * alpha.log())
    return velocity_from_prediction("epsilon", noise, y, alpha, sigma)


def galaxy_backbone(network: ScoreNetwork, *, name: str) -> CallableBackbone:
    """One network, which reads no text, with the sites "block.0", "mid" (the second of four blocks), "block.2", ..."""
    names = ["mid" if index == MIDDLE else f"block.{index}" for index in range(BLOCKS)]
    return CallableBackbone(
        lambda z, s, _condition: velocity_of_score(network, z, s),
        embed=None,
        sites=dict(zip(names, network.blocks, strict=True)),
        name=name,
        fingerprint=name,
        **_settings(network.side),
    )


def telescopes_backbone(networks: Mapping[str, ScoreNetwork], *, name: str) -> CallableBackbone:
    """Networks of one scale and size as the conditions of one model: a text is the name of a network, or empty.

    The velocity under a condition is the mean of those of the networks, weighted by the condition's only token, so
    conditions can be mixed; the empty text weights all alike.
    """
    (side,) = {network.side for network in networks.values()}
    names = list(networks)

    def embed(texts: Sequence[str]) -> Condition:
        rows = [[float(one == text) for one in names] if text else [1 / len(names)] * len(names) for text in texts]
        return Condition.of(torch.tensor(rows))

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        weights = condition.tokens[:, 0].to(z).unbind(1)
        each = (velocity_of_score(network, z, s) for network in networks.values())
        return sum((per_element(weight, z) * v for weight, v in zip(weights, each, strict=True)), torch.zeros_like(z))

    return CallableBackbone(velocity, embed=embed, name=name, fingerprint=name, **_settings(side))


def _settings(side: int) -> dict[str, Any]:
    """Levels and size."""
    levels = Capabilities(s_min=S_MIN, s_max=S_MAX, start_std=START_STD, pixels=False, sizes=(side, side, side))
    return {"capabilities": levels, "latent_shape": (1, side, side)}

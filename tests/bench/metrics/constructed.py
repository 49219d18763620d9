"""Pictures and edits of them whose scores are known."""

import dataclasses

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """Two pictures, the answers, and a change as long as the wanted one and orthogonal to it."""

    source: Float64[Tensor, "b 3 h w"]
    truth: Float64[Tensor, "b 3 h w"]
    beside: Float64[Tensor, "b 3 h w"]

    @property
    def wanted(self) -> Float64[Tensor, "b 3 h w"]:
        return self.truth - self.source

    def edited(self, effect: float, leakage: float) -> Float64[Tensor, "b 3 h w"]:
        """An edit of that effect and leakage, by their definition."""
        return self.source + effect * self.wanted + leakage * self.beside


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> Float64[Tensor, "..."]:
    """Normal numbers in float64."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def world(*, seed: int = 0, batch: int = 2) -> World:
    """Random pictures of 6 x 5 pixels."""
    source, wanted, other = (noise(batch, 3, 6, 5, seed=10 * seed + index, scale=0.2) for index in range(3))
    flat, along = other.flatten(1), wanted.flatten(1)
    flat = flat - (flat * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True) * along
    flat = flat * along.norm(dim=1, keepdim=True) / flat.norm(dim=1, keepdim=True)
    return World(source=source, truth=source + wanted, beside=flat.reshape(other.shape))

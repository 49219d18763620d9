"""Any model as a backbone, given as functions for velocity, text and images."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.models.base import Backbone
from latentedit.models.capabilities import Capabilities
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, uniform_grid

_Made = TypeVar("_Made")


class CallableBackbone(Backbone):
    """A model given as functions.

    Args:
        velocity: ``(z, s, condition) -> E[e - x | z, c]`` with z of ``[b, *latent]``, s of ``[b]`` and a text each.
        embed: texts to a `Condition`; the empty text is the unconditional one.
        latent_shape: ``(height_px, width_px) -> shape`` of one latent.
        encode: images ``[b, 3, h, w]`` in [-1, 1] to clean latents; None is a model without images.
        decode: clean latents to images.
        name: for messages and records.
        fingerprint: identifies the weights; directions belong to the model with this fingerprint.
        capabilities: levels, sizes, guidance; see `Capabilities`.
        device: of the latents.
        dtype: of the latents, float32 or float64.
        grid: number of steps to levels; equal steps by default.
        guided: ``(z, s, condition, unconditional, weight) -> v_w``, both branches of classifier-free guidance in one
            call; by default ``velocity`` gets the rows of both.

    Example:
        >>> import latentedit as le, torch
        >>> texts = lambda texts: le.Condition(
        ...     tokens=torch.tensor([[[float(len(t))]] for t in texts]), pooled=torch.zeros(len(texts), 0)
        ... )
        >>> model = le.CallableBackbone(
        ...     lambda z, s, c: z - c.tokens[:, :, :, None], embed=texts, latent_shape=lambda h, w: (1, h // 8, w // 8)
        ... )
        >>> model.velocity(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]), model.embed(["abc"])).mean()
        tensor(-3.)
    """

    def __init__(
        self,
        velocity: Callable[[Tensor, Tensor, Condition], Tensor],
        *,
        embed: Callable[[Sequence[str]], Condition],
        latent_shape: Callable[[int, int], tuple[int, ...]],
        encode: Callable[[Tensor], Tensor] | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        name: str = "callable",
        fingerprint: str = "",
        capabilities: Capabilities | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        grid: Callable[[int], LevelGrid] = uniform_grid,
        guided: Callable[[Tensor, Tensor, Condition, Condition, float], Tensor] | None = None,
    ) -> None:
        pixels = encode is not None and decode is not None
        super().__init__(name=name, fingerprint=fingerprint, capabilities=capabilities or Capabilities(pixels=pixels))
        self._function, self._embed, self._shape, self._grid = velocity, embed, latent_shape, grid
        self._encode, self._decode, self._guided = encode, decode, guided
        self._device, self._dtype = torch.device(device), dtype

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return self._shape(height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        return self._grid(steps)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        return self._function(z, s, condition)

    def embed(self, texts: Sequence[str]) -> Condition:
        return self._embed(texts)

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b *latent"]:
        return self._given(self._encode, "encode")(pixels)

    def decode(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
        return self._given(self._decode, "decode")(z)

    def _given(self, function: _Made | None, name: str) -> _Made:
        if function is None:
            raise ConfigError(f"{self.name} has no image codec: it was made without {name}. Pass {name}=")
        return function

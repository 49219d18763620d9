"""Any model as a backbone, given as functions for velocity, text and images."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.models.base import Backbone
from latentedit.models.capabilities import UNKNOWN_SIZES, Capabilities
from latentedit.models.sites import Site
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, grid_above

_Made = TypeVar("_Made")


class CallableBackbone(Backbone):
    """A model given as functions.

    Args:
        velocity: ``(z, s, condition) -> E[e - x | z, c]`` with z of ``[b, *latent]``, s of ``[b]`` and a text each.
        embed: texts to a `Condition`; the empty text is the unconditional one. None is a model that reads no text.
        latent_shape: ``(height_px, width_px) -> shape`` of one latent, or that shape where there is a single one.
        encode: images ``[b, 3, h, w]`` in [-1, 1] to clean latents; None is a model without images.
        decode: clean latents to images.
        sites: modules of the network whose outputs are features, by the names under which `features` and local bases
            know them; each runs once in a pass. A `Site` names a part of a module's output.
        name: for messages and records.
        fingerprint: identifies the weights; directions belong to the model with this fingerprint.
        capabilities: levels, sizes, guidance; see `Capabilities`. A model with images needs their ``sizes``.
        device: of the latents.
        dtype: of the latents, float32 or float64.
        grid: number of steps to levels; by default equal steps inside the range of the ``capabilities``, and one to 0.
        guided: ``(z, s, condition, unconditional, weight) -> v_w``, both branches of classifier-free guidance in one
            call; by default ``velocity`` gets the rows of both.

    Raises:
        ConfigError: ``encode`` and ``decode`` without the sizes of images.

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
        embed: Callable[[Sequence[str]], Condition] | None,
        latent_shape: Callable[[int, int], tuple[int, ...]] | tuple[int, ...],
        encode: Callable[[Tensor], Tensor] | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        sites: Mapping[str, nn.Module | Site] | None = None,
        name: str = "callable",
        fingerprint: str = "",
        capabilities: Capabilities | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        grid: Callable[[int], LevelGrid] | None = None,
        guided: Callable[[Tensor, Tensor, Condition, Condition, float], Tensor] | None = None,
    ) -> None:
        pixels = encode is not None and decode is not None
        if pixels and (capabilities is None or capabilities.sizes == UNKNOWN_SIZES):
            raise ConfigError(
                f"{name} has images, and their sizes are not given. Give the smallest, the preferred and the largest "
                "side, such as capabilities=latentedit.models.Capabilities(sizes=(64, 512, 1024))"
            )
        super().__init__(name=name, fingerprint=fingerprint, capabilities=capabilities or Capabilities(pixels=False))
        self.reads_text = embed is not None
        self._function, self._embed, self._shape, self._levels = velocity, embed, latent_shape, grid
        self._encode, self._decode, self._guided = encode, decode, guided
        self._inside = {
            site: module if isinstance(module, Site) else Site(module=module) for site, module in (sites or {}).items()
        }
        self._device, self._dtype = torch.device(device), dtype

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        return self._dtype

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        return self._shape if isinstance(self._shape, tuple) else self._shape(height_px, width_px)

    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        if self._levels is not None:
            return self._levels(steps)
        return grid_above(self.capabilities.s_min, steps, start=self.capabilities.s_max)

    def _sites(self) -> Mapping[str, Site]:
        return self._inside

    def check_shape(self, z: Tensor) -> None:
        sizes, given = self.capabilities.sizes, tuple(z.shape[1:])
        single = isinstance(self._shape, tuple) or sizes[0] == sizes[2]
        if not isinstance(self._shape, tuple) and sizes == UNKNOWN_SIZES:
            return
        known = self.latent_shape(sizes[1], sizes[1])
        if given != known if single else len(given) != len(known) or given[:1] != known[:1]:
            shape = ", ".join(map(str, known if single else (*known[:1], *["..."] * (len(known) - 1))))
            raise ShapeError(f"latents of {self.name} are floats [b, {shape}]; got {list(z.shape)}")

    def _checked(self, z: Tensor, s: Tensor, condition: Condition) -> Condition:
        self.check_shape(z)
        return super()._checked(z, s, condition)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        v = self._function(z, s, condition)
        if v.shape != z.shape:
            raise ShapeError(
                f"the velocity of {self.name} must have the latents' shape {list(z.shape)}; got {list(v.shape)}"
            )
        return v

    def embed(self, texts: Sequence[str]) -> Condition:
        if self._embed is not None:
            return self._embed(texts)
        return Condition.of(torch.zeros(len(texts), device=self._device, dtype=self._dtype))

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b *latent"]:
        return self._given(self._encode, "encode")(pixels)

    def decode(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
        return self._given(self._decode, "decode")(z)

    def _given(self, function: _Made | None, name: str) -> _Made:
        if function is None:
            raise ConfigError(f"{self.name} has no image codec: it was made without {name}. Pass {name}=")
        return function

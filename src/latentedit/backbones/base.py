"""The contract of a model: one velocity field in flow coordinates, with a picture codec and a text encoder."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.errors import CoordinateError, DeviceError, ShapeError
from latentedit.noise.grid import LevelGrid
from latentedit.types import Condition


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backbone can do, as data.

    Args:
        s_min: lowest level at which the velocity is defined.
        s_max: highest level; sampling starts there.
        start_std: standard deviation of z at ``s_max`` (1 for rectified flow, 1 / (alpha + sigma) for VP).
        derivatives: any of "jvp" and "vjp", where the network supports forward- and reverse-mode differentiation.
        pixels: the backbone has a picture codec (`encode`, `decode`).
        guidance: default classifier-free guidance weight of sampling; 1 is the conditional velocity itself.
        size_multiple: picture sides must be multiples of this.
        sizes: smallest, preferred and largest side of a picture in pixels.
    """

    s_min: float = 0.0
    s_max: float = 1.0
    start_std: float = 1.0
    derivatives: frozenset[str] = frozenset({"jvp", "vjp"})
    pixels: bool = True
    guidance: float = 1.0
    size_multiple: int = 1
    sizes: tuple[int, int, int] = (1, 1, 1)


class Backbone(abc.ABC):
    """A diffusion model as a velocity field ``v(z, s, c) = E[e - x | z, c]`` on ``z = (1 - s) x + s e``.

    Laws:
        1. ``velocity`` of a batch equals the velocities of its elements, each alone.
        2. ``velocity`` is a pure function: the same arguments give the same result, whatever was called before.
        3. ``evaluations`` grows by the number of elements at each call of ``velocity``.
        4. ``velocity`` refuses shapes, devices and levels that do not fit, by name.
        5. ``embed(texts)[i]`` equals ``embed([texts[i]])``.
        6. ``embed`` and ``velocity`` leave the global random state as it was.

    Subclasses write the private hooks; the public methods here validate and count.
    """

    defaults: Mapping[str, Any] = MappingProxyType({})
    """What the model's maker recommends (``latentedit.json``): settings of "editors" by name, the "captioner", ..."""

    def __init__(self, *, name: str, fingerprint: str, capabilities: Capabilities) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.capabilities = capabilities
        self.evaluations = 0

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Where the network lives."""

    @property
    @abc.abstractmethod
    def dtype(self) -> torch.dtype:
        """The dtype of latents that the backbone returns; coordinates are computed in it (float32 or float64)."""

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype in which the network itself runs."""
        return self.dtype

    @abc.abstractmethod
    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """Shape of one latent for a picture of this size, without the batch."""

    @abc.abstractmethod
    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The model's own levels, falling from ``s_max`` to the clean end in ``steps`` steps.

        Args:
            steps: number of solver steps, at least 1.
            height_px: of the picture, for schedules that depend on it; 0 is the preferred size.
            width_px: likewise.
        """

    def velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """The velocity ``E[e - x | z, c]``.

        Args:
            z: canonical latents.
            s: level of each element, in ``[capabilities.s_min, capabilities.s_max]``; always one a latent.
            condition: one text a latent, or a single one for all.

        Raises:
            ShapeError: levels or conditions that do not match the batch.
            DeviceError: tensors on another device than the network.
            CoordinateError: a level outside the range.

        Cost:
            One evaluation an element.
        """
        if s.shape != (len(z),):
            raise ShapeError(f"expected one level a latent, s of shape [{len(z)}]; got {list(s.shape)}")
        if z.device.type != self.device.type or s.device != z.device:
            raise DeviceError(f"expected z and s on {self.device}; got {z.device} and {s.device}")
        low, high = self.capabilities.s_min, self.capabilities.s_max
        if not bool(((s >= low - 1e-6) & (s <= high + 1e-6)).all()):
            raise CoordinateError(
                f"expected levels s in [{low:.4g}, {high:.4g}] for {self.name}; got {s.min():.4g} to {s.max():.4g}"
            )
        condition = condition.expand(len(z))
        self.evaluations += len(z)
        return self._velocity(z, s, condition)

    @abc.abstractmethod
    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """The velocity; arguments are already checked."""

    @abc.abstractmethod
    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as conditions; the empty text is the unconditional one."""

    @abc.abstractmethod
    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b *latent"]:
        """Pictures in [-1, 1] to clean latents (the mode of the codec's posterior), normalised as the network wants."""

    @abc.abstractmethod
    def decode(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
        """Clean latents to pictures, about [-1, 1], not clipped."""

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """What the user should know about these captions: words dropped for length, words the model has never seen."""
        del texts
        return []

    def draw_start(self, shape: Sequence[int], *, generator: torch.Generator) -> Float[Tensor, "b *latent"]:
        """Starting latents of sampling, ``N(0, start_std^2)``, drawn in float32 on the generator's device.

        One CPU generator gives the same latents on every device.
        """
        noise = torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device=generator.device)
        return (self.capabilities.start_std * noise).to(self.device, self.dtype)

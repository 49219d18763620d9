"""The contract of a solver: one step of dz/ds = v(z, s) between two levels, in either direction."""

import abc
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import CoordinateError

Field = Callable[[Float[Tensor, "b *latent"], Float[Tensor, " b"]], Float[Tensor, "b *latent"]]
"""A velocity field ``(z, s) -> v`` with one level an element: a `GuidedField`, or any function of that form."""


class Solver(abc.ABC):
    """One step of the flow ``dz/ds = v(z, s)``.

    Laws:
        1. ``step`` asks the field exactly ``evaluations_per_step`` times.
        2. The error over a fixed interval falls like ``h ** order`` with the step h, for smooth fields.
        3. A field that is constant in z and s is integrated exactly.
        4. ``step`` treats the elements of the batch independently.
    """

    order: ClassVar[int]
    evaluations_per_step: ClassVar[int]

    def step(self, field: Field, z: Float[Tensor, "b *latent"], s: float, s_next: float) -> Float[Tensor, "b *latent"]:
        """The latents at ``s_next`` of the latents at ``s``; towards noise (inversion) or data (sampling) alike.

        Raises:
            CoordinateError: levels that are equal or outside [0, 1].

        Cost:
            ``evaluations_per_step`` evaluations of the field.
        """
        if not (math.isfinite(s) and math.isfinite(s_next)) or s == s_next or min(s, s_next) < 0 or max(s, s_next) > 1:
            raise CoordinateError(f"a step goes between two different levels in [0, 1]; got {s} and {s_next}")
        return self._step(field, z, s, s_next)

    @abc.abstractmethod
    def _step(self, field: Field, z: Tensor, s: float, s_next: float) -> Tensor:
        """The step; levels are already checked."""


def level_batch(s: float, z: Float[Tensor, "b *latent"]) -> Float[Tensor, " b"]:
    """One level for every element of a batch, in at least float32, on the device of z."""
    dtype = torch.promote_types(z.dtype, torch.float32)
    return torch.full((len(z),), s, dtype=dtype, device=z.device)

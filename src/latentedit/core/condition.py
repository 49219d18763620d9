"""Embedded text as an element of a vector space."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ShapeError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """Embedded text: tokens and pooled part travel together through sums, multiples and interpolation.

    Laws (up to rounding):
        1. ``a + b == b + a``, ``(a + b) + c == a + (b + c)``.
        2. ``k * (a + b) == k * a + k * b``.
        3. ``a.lerp(b, 0) == a`` and ``a.lerp(b, 1) == b``, both bit for bit.

    Args:
        tokens: one vector a token, ``[b, tokens, width]``.
        pooled: one vector a text, ``[b, pooled width]``; width 0 where a model has none.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b p"]

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or self.pooled.ndim != 2 or len(self.tokens) != len(self.pooled):
            raise ShapeError(
                "expected tokens [b, n, d] and pooled [b, p] of one batch; "
                f"got {list(self.tokens.shape)} and {list(self.pooled.shape)}"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def __add__(self, other: "Condition") -> "Condition":
        return self._with(other, torch.add)

    def __sub__(self, other: "Condition") -> "Condition":
        return self._with(other, torch.sub)

    def __mul__(self, factor: float | Float[Tensor, " b"]) -> "Condition":
        """Multiply by a number, or each element of the batch by its own."""
        if isinstance(factor, Tensor):
            return Condition(tokens=self.tokens * factor[:, None, None], pooled=self.pooled * factor[:, None])
        return Condition(tokens=self.tokens * factor, pooled=self.pooled * factor)

    __rmul__ = __mul__

    def lerp(self, other: "Condition", weight: float) -> "Condition":
        """``(1 - weight) * self + weight * other``; weights outside [0, 1] extrapolate."""
        return self._with(other, lambda a, b: torch.lerp(a, b, weight))

    def __getitem__(self, index: slice | Tensor) -> "Condition":
        return Condition(tokens=self.tokens[index], pooled=self.pooled[index])

    def repeat(self, times: int) -> "Condition":
        """The whole batch ``times`` times over, ``[times * b, ...]``; element i stays at i, i + b, i + 2 b, ..."""
        return Condition(tokens=self.tokens.repeat(times, 1, 1), pooled=self.pooled.repeat(times, 1))

    def expand(self, batch: int) -> "Condition":
        """One text for a batch of pictures; a condition that already has that batch comes back as it is.

        Raises:
            ShapeError: neither one element nor ``batch`` elements.
        """
        if len(self) == batch:
            return self
        if len(self) != 1:
            raise ShapeError(f"expected one text or one a picture ({batch}); got {len(self)}")
        return self.repeat(batch)

    def to(self, target: torch.device | torch.dtype) -> "Condition":
        """The same condition on another device or in another dtype."""
        return Condition(tokens=self.tokens.to(target), pooled=self.pooled.to(target))

    @staticmethod
    def cat(conditions: Sequence["Condition"]) -> "Condition":
        """Several batches as one."""
        return Condition(
            tokens=torch.cat([condition.tokens for condition in conditions]),
            pooled=torch.cat([condition.pooled for condition in conditions]),
        )

    def _with(self, other: "Condition", combine: Callable[[Tensor, Tensor], Tensor]) -> "Condition":
        if self.tokens.shape != other.tokens.shape or self.pooled.shape != other.pooled.shape:
            raise ShapeError(
                "expected two conditions of one shape; "
                f"got tokens {list(self.tokens.shape)} and {list(other.tokens.shape)}, "
                f"pooled {list(self.pooled.shape)} and {list(other.pooled.shape)}"
            )
        return Condition(tokens=combine(self.tokens, other.tokens), pooled=combine(self.pooled, other.pooled))

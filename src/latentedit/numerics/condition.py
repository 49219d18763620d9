"""Embedded text as an element of a vector space, with the other inputs of a network besides its latents."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentedit.core.errors import ConfigError, Hinted, ShapeError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition(Hinted):
    """Embedded text: tokens and pooled part go together through sums, multiples and interpolation.

    Mask, reference, guidances and arrival are not vectors. A result has those of its operands.

    Laws (up to rounding):
        1. ``a + b == b + a``, ``(a + b) + c == a + (b + c)``.
        2. ``k * (a + b) == k * a + k * b``.
        3. ``a.lerp(b, 0) == a`` and ``a.lerp(b, 1) == b``, both bit for bit, with their masks.
        4. The mask of ``a + b`` has the tokens of both: where one text is shorter, its token is the zero vector there.
           The other parts are those of both, or of the one that has any; two different ones are refused.

    Args:
        tokens: one vector a token, ``[b, tokens, width]``.
        pooled: one vector a text, ``[b, pooled width]``; width 0 where a model has none.
        mask: true at the tokens that the network attends to, ``[b, tokens]``; None is all of them.
        reference: clean latents of reference images for the network, ``[b, *latent]`` each; None without any.
        guidance: the weight that a guidance-distilled network takes as an input; None for all other networks.
        arrival: the level at which a step of a flow map arrives; None asks for the velocity.
        image_guidance: the weight of the reference images, see `Backbone.velocity`; None is 1, the network's own.

    Raises:
        ShapeError: parts of different batches.
        ConfigError: image guidance without reference images.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b p"]
    mask: Bool[Tensor, "b n"] | None = None
    reference: tuple[Tensor, ...] | None = None
    guidance: float | None = None
    arrival: float | None = None
    image_guidance: float | None = None

    def __post_init__(self) -> None:
        fits = self.tokens.ndim == 3 and self.pooled.ndim == 2 and len(self.tokens) == len(self.pooled)
        masked = self.mask is None or self.mask.shape == self.tokens.shape[:2]
        if not fits or not masked or any(len(latent) != len(self) for latent in self.reference or ()):
            given = (self.tokens, self.pooled, self.mask, *(self.reference or ()))
            raise ShapeError(
                "texts must be tokens [b, n, d], pooled [b, p], a mask [b, n] and references [b, ...] of one batch; "
                f"got {', '.join('no mask' if part is None else str(list(part.shape)) for part in given)}"
            )
        if self.image_guidance is not None and self.reference is None:
            raise ConfigError(
                f"the model sees no image next to this text, so image guidance is 1; got {self.image_guidance:g}. "
                "Use an instruction, and a model that takes instructions"
            )

    @staticmethod
    def of(values: "Float[Tensor, 'b *n'] | Sequence[Any]") -> "Condition":
        """Numbers or vectors as conditions, such as a class label or a degree: one token each, ``[b, 1, n]``.

        Example:
            >>> Condition.of([10.0, 90.0]).tokens.shape
            torch.Size([2, 1, 1])
        """
        rows = torch.as_tensor(values)
        rows = rows if rows.is_floating_point() else rows.float()
        return Condition(tokens=rows.reshape(len(rows), 1, -1), pooled=rows.new_zeros(len(rows), 0))

    def __len__(self) -> int:
        return len(self.tokens)

    def __add__(self, other: "Condition") -> "Condition":
        return self._with(other, torch.add)

    def __sub__(self, other: "Condition") -> "Condition":
        return self._with(other, torch.sub)

    def __mul__(self, factor: float | Float[Tensor, " b"]) -> "Condition":
        """Multiply by a number, or each element of the batch by its own."""
        own = factor[:, None] if isinstance(factor, Tensor) else factor
        wide = factor[:, None, None] if isinstance(factor, Tensor) else factor
        return dataclasses.replace(self, tokens=self.tokens * wide, pooled=self.pooled * own)

    __rmul__ = __mul__

    def lerp(self, other: "Condition", weight: float) -> "Condition":
        """``(1 - weight) * self + weight * other``; weights outside [0, 1] extrapolate."""
        # Ends are exact (law 3), although a mask in between has the tokens of both.
        between = self._with(other, lambda a, b: torch.lerp(a, b, weight))
        return dataclasses.replace(between, mask={0.0: self.mask, 1.0: other.mask}.get(float(weight), between.mask))

    @property
    def words(self) -> "Condition":
        """The text alone, without reference images."""
        return dataclasses.replace(self, reference=None, image_guidance=None)

    def guided_by_image(self, weight: float | None) -> "Condition":
        """The same with another weight of its reference images; 1 or None is the network's own."""
        return dataclasses.replace(self, image_guidance=None if weight == 1 else weight)

    @property
    def evaluations(self) -> int:
        """Network evaluations of a velocity under this condition, an element: one more with image guidance."""
        return 1 if self.image_guidance is None else 2

    def __getitem__(self, index: slice | Tensor) -> "Condition":
        return self._map(lambda part: part[index])

    def repeat(self, times: int) -> "Condition":
        """The batch repeated ``times`` times, ``[times * b, ...]``; element i stays at i, i + b, i + 2 b, ..."""
        return self._map(lambda part: part.repeat(times, *[1] * (part.ndim - 1)))

    def expand(self, batch: int) -> "Condition":
        """One text for a batch of images; a condition that already has that batch comes back as it is.

        Raises:
            ShapeError: neither one element nor ``batch`` elements.
        """
        if len(self) == batch:
            return self
        if len(self) != 1:
            raise ShapeError(f"there must be one text or one an image ({batch}); got {len(self)}")
        return self.repeat(batch)

    def to(self, target: torch.device | torch.dtype) -> "Condition":
        """The same condition on another device or in another dtype; a mask keeps its dtype."""
        return self._map(
            lambda part: part if part.dtype == torch.bool and isinstance(target, torch.dtype) else part.to(target)
        )

    @staticmethod
    def cat(conditions: Sequence["Condition"]) -> "Condition":
        """Several batches as one; rows without a mask attend to all of their tokens."""
        first = conditions[0]
        references = [one.reference or () for one in conditions]
        alike = {(len(one.reference or ()), one.guidance, one.arrival, one.image_guidance) for one in conditions}
        if len(alike) > 1:
            raise ShapeError("texts in one batch need the same number of reference images, guidances and arrival")
        full = (torch.ones_like(one.tokens[..., 0], dtype=torch.bool) for one in conditions)
        masks = [default if one.mask is None else one.mask for one, default in zip(conditions, full, strict=True)]
        return Condition(
            tokens=torch.cat([one.tokens for one in conditions]),
            pooled=torch.cat([one.pooled for one in conditions]),
            mask=None if all(one.mask is None for one in conditions) else torch.cat(masks),
            reference=None if first.reference is None else tuple(map(torch.cat, zip(*references, strict=True))),
            guidance=first.guidance,
            arrival=first.arrival,
            image_guidance=first.image_guidance,
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Condition":
        """The same change of every part that has one row a text."""
        return dataclasses.replace(
            self,
            tokens=change(self.tokens),
            pooled=change(self.pooled),
            mask=None if self.mask is None else change(self.mask),
            reference=None if self.reference is None else tuple(map(change, self.reference)),
        )

    def _with(self, other: "Condition", combine: Callable[[Tensor, Tensor], Tensor]) -> "Condition":
        if self.tokens.shape != other.tokens.shape or self.pooled.shape != other.pooled.shape:
            raise ShapeError(
                "conditions of different shapes cannot be combined; "
                f"got tokens {list(self.tokens.shape)} and {list(other.tokens.shape)}, "
                f"pooled {list(self.pooled.shape)} and {list(other.pooled.shape)}"
            )
        return Condition(
            tokens=combine(self.tokens, other.tokens),
            pooled=combine(self.pooled, other.pooled),
            # Where one text is shorter, its token is the zero vector there: the longer mask is right for both (law 4).
            mask=None if self.mask is None or other.mask is None else self.mask | other.mask,
            reference=_common("reference images", self.reference, other.reference),
            guidance=_common("weights of embedded guidance", self.guidance, other.guidance),
            arrival=_common("levels of arrival", self.arrival, other.arrival),
            image_guidance=_common("weights of image guidance", self.image_guidance, other.image_guidance),
        )


def _common(what: str, a: Any, b: Any) -> Any:
    """The value of both, or of the one that has any; a `ShapeError` for two different values."""
    if a is None or b is None:
        return b if a is None else a
    if not _same(a, b):
        raise ShapeError(f"two conditions have different {what} and cannot be added. Embed both texts alike")
    return a


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b or (torch.equal(a, b) if isinstance(a, Tensor) else a == b)

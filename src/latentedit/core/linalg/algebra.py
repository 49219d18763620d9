"""Operators made of operators: the pieces that a filter of a Jacobian needs, without a matrix."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.linalg.operator import LinearOperator


@final
class Affine(LinearOperator):
    """``scale * A + shift * I``.

    Args:
        operator: A.
        scale: one number for all, or one an element.
        shift: likewise.

    Raises:
        ShapeError: neither one number nor one an element.

    Cost:
        That of A.
    """

    def __init__(
        self, operator: LinearOperator, scale: float | Float[Tensor, " b"], shift: float | Float[Tensor, " b"]
    ) -> None:
        super().__init__(shape=operator.shape, dtype=operator.dtype, device=operator.device)
        self._operator = operator
        self._scale = self._column(scale)
        self._shift = self._column(shift)

    def _matvec(self, u: Tensor) -> Tensor:
        return self._scale * self._operator.matvec(u) + self._shift * u

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._scale * self._operator.rmatvec(u) + self._shift * u

    def _column(self, number: float | Tensor) -> float | Tensor:
        if not isinstance(number, Tensor):
            return number
        if tuple(number.shape) != self.shape[:1]:
            raise ShapeError(
                f"a scale or a shift must be one number an element, [{self.shape[0]}]; got {list(number.shape)}"
            )
        return number.to(self.dtype).reshape(-1, *[1] * (len(self.shape) - 1))


@final
class Mean(LinearOperator):
    """``(1/m) sum_i A_i``, the average of an operator's blocks of rows: over noises, for every picture.

    Rows of A are ordered noise by noise with the pictures inside, ``row = noise * b + picture`` as in
    ``z.repeat(m, 1, ...)``; the mean acts on the b pictures.

    Args:
        operator: A, on ``[m * b, *latent]``.
        groups: m.

    Raises:
        ConfigError: fewer than one group.
        ShapeError: rows that cannot be divided into so many groups.

    Cost:
        That of A.
    """

    def __init__(self, operator: LinearOperator, groups: int) -> None:
        rows, *latent = operator.shape
        if groups < 1:
            raise ConfigError(f"groups must be at least 1; got {groups}")
        if rows % groups:
            raise ShapeError(f"{rows} rows do not make {groups} groups of one size. Give a multiple of {groups}")
        super().__init__(shape=(rows // groups, *latent), dtype=operator.dtype, device=operator.device)
        self._operator = operator
        self._groups = groups

    def _matvec(self, u: Tensor) -> Tensor:
        return self._average(self._operator.matvec(self._spread(u)))

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._average(self._operator.rmatvec(self._spread(u)))

    def _spread(self, u: Tensor) -> Tensor:
        return u.repeat(self._groups, *[1] * (u.ndim - 1))

    def _average(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self._groups, -1)).mean(0)


@final
class Product(LinearOperator):
    """``A B``: first B, then A.

    Args:
        after: A.
        before: B.

    Raises:
        ShapeError: operators of different shapes.

    Cost:
        That of both.
    """

    def __init__(self, after: LinearOperator, before: LinearOperator) -> None:
        if after.shape != before.shape:
            raise ShapeError(
                f"operators of different shapes cannot be composed; got {list(after.shape)} and {list(before.shape)}"
            )
        super().__init__(shape=after.shape, dtype=after.dtype, device=after.device)
        self._after = after
        self._before = before

    def _matvec(self, u: Tensor) -> Tensor:
        return self._after.matvec(self._before.matvec(u))

    def _rmatvec(self, u: Tensor) -> Tensor:
        return self._before.rmatvec(self._after.rmatvec(u))

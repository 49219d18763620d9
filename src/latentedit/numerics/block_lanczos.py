"""The largest singular values of a map that is given by its products, and their vectors, with few products.

Block Golub-Kahan-Lanczos: from orthonormal rows F, the products ``A F`` and then ``A^T`` of what is new in them extend
two orthonormal bases with, in the notation of columns,

    A V = U B        A^T U = V B^T + F C

and a small matrix B whose singular triplets ``B = P S Q^T`` give those of A: ``v = V q``, ``u = U p``, ``A v = s u``.
All residuals ``A^T u - s v = F C p`` are known without a product. F holds every direction in which the space can still
grow; those in which the wanted residuals are largest grow next. When the space is full it is cut to the best triplets,
which changes none of the equations (a thick restart), so memory does not grow with the number of steps.

Against the power iteration on a block (Park et al. 2023), which forgets every space but the last, this needs a number
of products that grows with the square root of one over the relative gap instead of with one over the gap.
"""

import dataclasses
import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.core.setting import check_value
from latentedit.numerics.operator import BlockOperator
from latentedit.numerics.precision import float64_device, to_float64

# Triplets that a restart keeps beyond those that are wanted.
_BEYOND = 10

# Rows that the space has beyond twice those that a restart keeps.
_ROOM = 20

# Residual, in its singular value, above which the next triplet says nothing yet: a start may be blind for the top.
_SETTLED = 0.2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruncatedSVD:
    """The r largest singular values of a map A, with their vectors as rows, in the operator's dtype.

    Laws, up to the rounding of the products:
        1. ``A v[k] = singular_values[k] * u[k]``; rows of u and of v are orthonormal; values fall.
        2. The entry of ``v[k]`` of largest absolute value is positive.
    """

    u: Float[Tensor, "r *out"]  # left vectors; arbitrary where the singular value is 0
    singular_values: Float[Tensor, " r"]
    v: Float[Tensor, "r *in"]
    residuals: Float[Tensor, " r"]  # ``|A^T u - s v| / s_1`` of each
    iterations: int  # times that the space grew
    products: int  # rows multiplied by A or its transpose
    converged: bool  # the space of the right vectors is within the tolerance of that of A


def truncated_svd(
    operator: BlockOperator,
    rank: int,
    *,
    generator: torch.Generator,
    tolerance_degrees: float = 0.25,
    most_products: int | None = None,
    block: int | None = None,
    start: Float[Tensor, "k *in"] | None = None,
    progress: Progress | None = None,
) -> TruncatedSVD:
    """The ``rank`` largest singular triplets.

    It stops when the largest principal angle between the right vectors' space and that of A is within the tolerance
    by ``sin(angle) <= |A^T A V - V S^2| / (s_r^2 - s_{r+1}^2)``, the next singular value being taken as large as its
    own residual allows. The bound is usually several times the angle. Where ``s_r`` and ``s_{r+1}`` are equal the
    space is not defined and the search goes on to the end; it also ends where A and its transpose disagree by more
    than what is left to gain, as in half precision.

    Args:
        operator: A.
        rank: r.
        generator: of the random start, on the CPU.
        tolerance_degrees: see above, in degrees.
        most_products: give up after so many; None is ``max(100, 50 * rank)``, half of what 50 steps of power iteration
            take.
        block: rows that are multiplied at once; None is ``max(2, rank / 10)``. A singular value that is repeated more
            often than this may be found fewer times than it is there.
        start: rows to start from, as from a neighboring map; ``block`` random ones are added.
        progress: called with "basis" after each step, in products.

    Raises:
        ConfigError: a rank below 1 or above the size of A, with the largest possible; a block below 1.
        ShapeError: a start that does not fit.
        ConvergenceError: products that are not finite.

    Cost:
        ``TruncatedSVD.products``. Besides them, small matrices and up to ``2 * rank + 40`` rows on each side, in
        float64.

    Source:
        Golub & Kahan 1965, Baglama & Reichel 2005 (restarts); the choice of what grows next is ours. The bound is that
        of Davis & Kahan 1970.
    """
    largest = operator.largest_rank
    if not 1 <= rank <= largest:
        raise ConfigError(f"rank must be from 1 to {largest}, the dimensions of the smaller space; got {rank}")
    check_value(Annotated[int | None, Field(ge=1)], block=block)
    if start is not None and tuple(start.shape[1:]) != operator.in_shape:
        raise ShapeError(f"start vectors must have the shape {list(operator.in_shape)}; got {list(start.shape[1:])}")
    rows = min(max(2, -(-rank // 10)) if block is None else block, largest)
    most = max(100, 50 * rank) if most_products is None else most_products
    search = _Search(operator, rank=rank, block=rows, generator=generator)
    search.begin(start)
    before, iterations, converged = operator.products, 0, False
    while not converged:
        search.grow()
        iterations += 1
        spent = operator.products - before
        converged = search.angle_bound() <= math.radians(tolerance_degrees)
        if progress is not None:
            progress("basis", most if converged else min(spent, most), most)
        if spent >= most or search.limited_by_noise():
            break
    return search.result(iterations=iterations, products=operator.products - before, converged=converged)


class _Search:
    """The two bases and the matrices between them, as rows; the module says which equations hold."""

    def __init__(self, operator: BlockOperator, *, rank: int, block: int, generator: torch.Generator) -> None:
        self._operator = operator
        self._rank, self._block, self._generator = rank, block, generator
        self._negligible = 1e4 * torch.finfo(torch.float64).eps
        self._v = self._rows(0, math.prod(operator.in_shape))
        self._u = self._rows(0, math.prod(operator.out_shape))
        self._b, self._c = self._rows(0, 0), self._rows(0, 0)
        self._f = self._v
        self._disagreement = 0.0
        self._complete = False
        self._solve()

    def begin(self, start: Tensor | None) -> None:
        """The first directions: those given, and random ones that see what they do not."""
        given = self._f if start is None else to_float64(start).to(self._v).flatten(1)
        self._f = _orthonormal(torch.cat([given, self._random(self._v.shape[1])]), self._v, self._negligible)[2]
        self._c = self._rows(len(self._f), 0)

    def grow(self) -> None:
        """One step: products with A, with its transpose, and the triplets of the larger space."""
        injected = not len(self._u)
        if not len(self._f):
            # The space maps into itself: only vectors from outside of it can tell whether that is all of A.
            injected = True
            self._f = _orthonormal(self._random(self._v.shape[1]), self._v, self._negligible)[2]
            self._c = self._rows(len(self._f), len(self._u))
        # All start vectors at first, for no residual orders them yet; then those of the largest residuals.
        count = len(self._f) if not len(self._v) else self._block
        chosen, waiting, c = self._f[:count], self._f[count:], self._c[count:]
        scale = float(self._s[0]) if len(self._s) else 0.0
        images = self._product(chosen, transposed=False)
        scale = max(scale, float(torch.linalg.matrix_norm(images, 2)))
        # Relative to the largest value known: what is smaller are rounding errors of the products.
        inside, along, new = _orthonormal(images, self._u, self._negligible * scale)
        old = self._b.shape
        b = self._rows(old[0] + len(new), old[1] + len(chosen))
        b[: old[0], : old[1]], b[: old[0], old[1] :], b[old[0] :, old[1] :] = self._b, inside.T, along.T
        self._v, self._u, self._b = torch.cat([self._v, chosen]), torch.cat([self._u, new]), b
        back = self._product(new, transposed=True)
        projected, beyond, fresh = _orthonormal(back, torch.cat([self._v, waiting]), self._negligible * scale)
        size = len(self._v)
        if len(new):
            # The products with A have given this block of B already; what its transpose gives otherwise is its error.
            error = torch.linalg.matrix_norm(projected[:, :size] - b[old[0] :], 2)
            self._disagreement = max(self._disagreement, float(error))
        self._f = torch.cat([waiting, fresh])
        self._c = self._rows(len(self._f), len(self._u))
        self._c[: len(waiting), : old[0]] = c
        self._c[: len(waiting), old[0] :], self._c[len(waiting) :, old[0] :] = projected[:, size:].T, beyond.T
        ended = not len(self._f) and (len(self._u) == self._u.shape[1] or (injected and not len(new)))
        self._complete = len(self._v) == self._v.shape[1] or ended
        self._solve()
        self._sort()
        self._restart()

    def angle_bound(self) -> float:
        """Upper bound of the largest principal angle to the wanted space, in radians, by what is known so far."""
        if self._complete:
            return 0.0
        # Without the next triplet there is no gap by which to bound the angle.
        if len(self._s) <= self._rank:
            return math.pi / 2
        s = self._s[: self._rank]
        square = float(torch.linalg.matrix_norm(self._c @ self._p[:, : self._rank] * s, 2))
        following, loose = float(self._s[self._rank]), float(self._residuals()[self._rank])
        if loose > _SETTLED * following:
            return math.pi / 2
        gap = float(s[-1]) ** 2 - following**2 - following * loose
        rest = math.hypot(square, self._disagreement * float(s[0]))
        return math.asin(rest / gap) if rest < gap else math.pi / 2

    def limited_by_noise(self) -> bool:
        """The products with A and with its transpose disagree by more than the residuals that are left."""
        grows = len(self._f) > 0 and len(self._s) > self._rank
        return grows and float(self._residuals().max()) < self._disagreement

    def result(self, *, iterations: int, products: int, converged: bool) -> TruncatedSVD:
        """The wanted triplets, with signs fixed."""
        rank, operator = self._rank, self._operator
        size = min(rank, len(self._s))
        s = functional.pad(self._s[:size], (0, rank - size))
        v = self._filled(self._qt[:size] @ self._v)
        u = self._filled(self._p[:, :size].T @ self._u)
        known = torch.hypot(self._residuals()[:size], torch.full_like(s[:size], self._disagreement))
        residuals = functional.pad(known, (0, rank - size))
        sign = v.gather(1, v.abs().argmax(1, keepdim=True)).sign()
        return TruncatedSVD(
            u=(sign * u).to(operator.device, operator.dtype).reshape(rank, *operator.out_shape),
            singular_values=s.to(operator.device, operator.dtype),
            v=(sign * v).to(operator.device, operator.dtype).reshape(rank, *operator.in_shape),
            residuals=(residuals / s[0].clamp_min(torch.finfo(s.dtype).tiny)).to(operator.device, operator.dtype),
            iterations=iterations,
            products=products,
            converged=converged,
        )

    def _solve(self) -> None:
        self._p, self._s, self._qt = torch.linalg.svd(self._b, full_matrices=False)

    def _residuals(self) -> Float[Tensor, " r"]:
        """``|A^T u - s v|`` of the wanted triplets and the next one."""
        return torch.linalg.vector_norm(self._c @ self._p[:, : self._rank + 1], dim=0)

    def _sort(self) -> None:
        """Turn f so that its first rows are the directions of the largest residuals, that of the next one included."""
        turn = torch.linalg.svd(self._c @ self._p[:, : self._rank + 1])[0]
        self._f, self._c = turn.T @ self._f, turn.T @ self._c

    def _restart(self) -> None:
        """Cut a space that is full to its best triplets; the equations of the module hold as before."""
        keep = self._rank + _BEYOND
        if len(self._v) + self._block <= 2 * keep + _ROOM or len(self._s) < keep:
            return
        p, s, qt = self._p[:, :keep], self._s[:keep], self._qt[:keep]
        self._v, self._u, self._b, self._c = qt @ self._v, p.T @ self._u, torch.diag(s), self._c @ p
        self._solve()

    def _product(self, rows: Tensor, *, transposed: bool) -> Tensor:
        operator = self._operator
        if not len(rows):
            return self._rows(0, (self._v if transposed else self._u).shape[1])
        shape = operator.out_shape if transposed else operator.in_shape
        shaped = rows.to(operator.device, operator.dtype).reshape(-1, *shape)
        product = (operator.rmatmat if transposed else operator.matmat)(shaped)
        if not bool(product.isfinite().all()):
            raise ConvergenceError("the operator gives products that are not finite. Use a wider dtype")
        return to_float64(product).flatten(1)

    def _filled(self, rows: Tensor) -> Tensor:
        """Rows completed to ``rank`` orthonormal ones; where they are missing the singular value is 0."""
        missing = self._rank - len(rows)
        if not missing:
            return rows
        # Vectors of a value 0 are arbitrary, and laws ask for as many orthonormal ones as there are values.
        more = torch.randn(missing, rows.shape[1], generator=self._generator, dtype=torch.float32).to(rows)
        return torch.cat([rows, _orthonormal(more, rows, self._negligible)[2]])

    def _random(self, size: int) -> Tensor:
        # In float32, so that one seed gives the same start in every dtype and on every device.
        return torch.randn(self._block, size, generator=self._generator, dtype=torch.float32).to(self._v)

    def _rows(self, count: int, size: int) -> Tensor:
        return torch.zeros(count, size, dtype=torch.float64, device=float64_device(self._operator.device))


def _orthonormal(
    rows: Float[Tensor, "k n"], span: Float[Tensor, "q n"], negligible: float
) -> tuple[Float[Tensor, "k q"], Float[Tensor, "k e"], Float[Tensor, "e n"]]:
    """``rows = inside @ span + along @ new`` with new orthonormal rows, but for parts that are negligible.

    Projected twice, since once leaves rounding as large as the cancellation; the new rows are the singular vectors of
    what remains, so that rows which depend on others are dropped and not turned into noise.
    """
    inside = rows @ span.T
    rest = rows - inside @ span
    again = rest @ span.T
    inside, rest = inside + again, rest - again @ span
    basis, triangle = torch.linalg.qr(rest.T)
    left, s, right = torch.linalg.svd(triangle.T, full_matrices=False)
    kept = s > negligible
    new = (right @ basis.T)[kept]
    new = new - (new @ span.T) @ span
    return inside, left[:, kept] * s[kept], new

"""The Jacobian of a function by its products: forward mode, two reverse passes, or central differences."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, UnsupportedDerivativeError
from latentedit.core.flow import per_element
from latentedit.core.linalg.operator import LinearOperator

Mode = Literal["forward", "double_backward", "finite_difference"]
"""How a Jacobian-vector product is computed."""

_RMS_STEP = {torch.float64: 1e-5}
_RMS_STEP_OTHERWISE = 2.2e-4


@final
class Derivative:
    """``J = df/dx`` at a point, of a function that treats the elements of its batch independently.

    The three ways to ``J u``:

    - "forward": one pass with tangents (`torch.func.jvp`).
    - "double_backward": ``g(w) = J^T w`` is linear in w, so ``J u`` is the derivative of ``<g(w), u>`` by w; for
      functions that have reverse-mode derivatives only.
    - "finite_difference": ``|u| (f(x + h u/|u|) - f(x - h u/|u|)) / (2 h)`` with each element's own norm ``|u|``, the
      two points asked in one call. Its error is relative to the rounding of f over h, and to h^2.

    Products are constants for autograd, and are computed whether or not the caller records gradients.

    Args:
        function: f. It is given ``[k * b, *latent]``: k copies of the batch one after the other, each row near the
            point of the same row. k is 2 in finite differences, else 1. It returns as many rows, of any shape.
        point: x.
        mode: see above.
        step: h, the norm of the perturbation of one element. By default 2.2e-4 a number (root mean square; 1e-2 in
            2048 dimensions, where float32 networks have a relative error of 1e-4), and 1e-5 a number in float64.
            Functions that compute in half precision need a larger one.
        name: of the function, for messages.

    Raises:
        ConfigError: an unknown mode, or a step that is not a positive number.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        point: Float[Tensor, "b *latent"],
        *,
        mode: Mode,
        step: float | None = None,
        name: str = "the function",
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"expected one of the modes {', '.join(get_args(Mode))}; got {mode!r}")
        numbers = math.prod(point.shape[1:])
        self._norm = step if step is not None else _RMS_STEP.get(point.dtype, _RMS_STEP_OTHERWISE) * math.sqrt(numbers)
        if not (math.isfinite(self._norm) and self._norm > 0):
            raise ConfigError(f"expected a positive step; got {step}")
        self._function = function
        self._point = point.detach().contiguous()
        self._mode: Mode = mode
        self._name = name

    def forward(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *out"]:
        """``J u`` of each element.

        Raises:
            UnsupportedDerivativeError: the function has no derivative of this mode.

        Cost:
            Evaluations of f, for each element: one pass with tangents, a forward and two reverse passes, or two.
        """
        if self._mode == "forward":
            return self._tangent(u)
        if self._mode == "double_backward":
            return self._double_backward(u)
        return self._difference(u)

    def reverse(self, w: Float[Tensor, "b *out"]) -> Float[Tensor, "b *latent"]:
        """``J^T w`` of each element, by one reverse pass in every mode.

        Raises:
            UnsupportedDerivativeError: the function has no reverse-mode derivative.

        Cost:
            A forward and a reverse pass.
        """
        with self._explained("reverse-mode"), torch.enable_grad():
            point = self._point.detach().requires_grad_()
            return torch.autograd.grad(self._recorded(point), point, w.detach())[0]

    def _tangent(self, u: Tensor) -> Tensor:
        with self._explained("forward-mode"), torch.no_grad():
            pair = torch.func.jvp(self._function, (self._point,), (u.detach().contiguous(),))
            return pair[1]

    def _double_backward(self, u: Tensor) -> Tensor:
        with self._explained("second reverse-mode"), torch.enable_grad():
            point = self._point.detach().requires_grad_()
            value = self._recorded(point)
            weight = torch.zeros_like(value).requires_grad_()
            (gradient,) = torch.autograd.grad(value, point, weight, create_graph=True)
            return torch.autograd.grad(gradient, weight, u.detach())[0]

    def _difference(self, u: Tensor) -> Tensor:
        dtype = self._point.dtype
        wide = torch.promote_types(dtype, torch.float32)
        with torch.no_grad():
            tangent = u.to(wide)
            length = torch.linalg.vector_norm(tangent.flatten(1), dim=1)
            unit = tangent / per_element(length.clamp_min(torch.finfo(wide).tiny), tangent)
            shift = (self._norm * unit).to(dtype)
            values = self._function(torch.cat([self._point + shift, self._point - shift]))
            ahead, behind = values.to(wide).chunk(2)
            return (per_element(length, ahead) * (ahead - behind) / (2 * self._norm)).to(dtype)

    def _recorded(self, point: Tensor) -> Tensor:
        value = self._function(point)
        if not value.requires_grad:
            raise NotImplementedError("it computes without recording gradients")
        return value

    @contextmanager
    def _explained(self, kind: str) -> Generator[None]:
        """Say which derivative is missing, and what to do; PyTorch's own words are the cause."""
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, NotImplementedError) or "is not implemented" in str(error)):
                raise
            reason = str(error).partition("\n")[0]
            raise UnsupportedDerivativeError(
                f"expected {kind} derivatives of {self._name}; it has none ({reason}). Use mode='finite_difference'"
            ) from error


@final
class JacobianOperator(LinearOperator):
    """The `Derivative` of a function from latents to latents as an operator.

    ``J^T u`` is one reverse pass in the modes "forward" and "double_backward"; finite differences have no transpose.

    Args:
        function: f, as in `Derivative`; each row of its result has the shape of a latent.
        point: x.
        mode: as in `Derivative`.
        step: likewise.
        name: of the function, for messages.

    Raises:
        ConfigError: an unknown mode, or a step that is not a positive number.

    Cost:
        That of `Derivative`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        point: Float[Tensor, "b *latent"],
        *,
        mode: Mode,
        step: float | None = None,
        name: str = "the function",
    ) -> None:
        super().__init__(shape=point.shape, dtype=point.dtype, device=point.device)
        self._derivative = Derivative(function, point, mode=mode, step=step, name=name)
        self._mode: Mode = mode

    def _matvec(self, u: Tensor) -> Tensor:
        return self._derivative.forward(u)

    def _rmatvec(self, u: Tensor) -> Tensor:
        if self._mode == "finite_difference":
            raise UnsupportedDerivativeError(
                "expected a Jacobian with a transpose; finite differences give none. "
                "Use mode='forward' or mode='double_backward'"
            )
        return self._derivative.reverse(u)

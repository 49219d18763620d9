"""The Jacobian of a function by its products: forward mode, two reverse passes, or central differences."""

import math
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import UnsupportedDerivativeError
from latentedit.core.setting import check_value
from latentedit.numerics.flow import per_element

Mode = Literal["forward", "double_backward", "finite_difference"]
"""How a Jacobian-vector product is computed."""

_RMS_STEP = {torch.float64: 1e-5, torch.float32: 2.2e-4}
_RMS_STEP_OF_HALF_PRECISION = 0.1

# PyTorch has one level of dual numbers for the process: threads take turns.
_DUAL_LEVEL = threading.RLock()


def rms_step(precision: torch.dtype) -> float:
    """The default step of finite differences, a number (root mean square)."""
    return _RMS_STEP.get(precision, _RMS_STEP_OF_HALF_PRECISION)


@final
class Derivative:
    """``J = df/dx`` at a point, of a function that treats the elements of its batch independently.

    The three ways to ``J u``:

    - "forward": one pass on dual numbers. Exact up to rounding; about two evaluations, and memory for the tangents but
      for no graph. Dual numbers pass through hooks that cast or move parameters, where `torch.func.jvp` fails.
    - "double_backward": ``g(w) = J^T w`` is linear in w, so ``J u`` is the derivative of ``<g(w), u>`` by w; for
      functions that have reverse-mode derivatives only. Exact up to rounding; a forward and two reverse passes, and
      memory for the graphs of both.
    - "finite_difference": ``|u| (f(x + h u/|u|) - f(x - h u/|u|)) / (2 h)`` with each element's own norm ``|u|``, the
      two points asked in one call; two evaluations. Its error is relative to the rounding of f over h, and to h^2:
      about 5e-2 in bfloat16, 1e-3 in float32 and 1e-8 in float64.

    Products are constants for autograd, and are computed whether or not the caller records gradients. A result that
    does not depend on x has the product zero.

    f is given ``[k * b, *latent]``, k copies of the batch one after the other, and returns as many rows of any shape; k
    is 2 in finite differences, else 1. ``step`` is h, by default 0.1 a number (root mean square) in half precision,
    2.2e-4 in float32 and 1e-5 in float64, and ``precision`` the coarsest dtype in which f computes, by default that of
    x. ``remedy`` ends the error of a derivative that f lacks.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        point: Float[Tensor, "b *latent"],
        *,
        mode: Mode,
        step: float | None = None,
        precision: torch.dtype | None = None,
        name: str = "the function",
        remedy: str = "Use mode='finite_difference'",
    ) -> None:
        check_value(Mode, mode=mode)
        if step is None:
            step = rms_step(precision or point.dtype) * math.sqrt(math.prod(point.shape[1:]))
        check_value(Annotated[float, Field(gt=0)], step=step)
        self._norm = step
        self._function = function
        self._point = point.detach().contiguous()
        self._mode: Mode = mode
        self._name, self._remedy = name, remedy

    def forward(self, u: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *out"]:
        """``J u`` of each element, at the cost of the mode."""
        if self._mode == "forward":
            return self._tangent(u)
        if self._mode == "double_backward":
            return self._double_backward(u)
        return self._difference(u)

    def reverse(self, w: Float[Tensor, "b *out"]) -> Float[Tensor, "b *latent"]:
        """``J^T w`` of each element, by one reverse pass in every mode."""
        with self._explained("reverse-mode"), torch.inference_mode(False), torch.enable_grad():
            point = self._point.clone().requires_grad_()
            return torch.autograd.grad(self._function(point), point, w.detach().clone())[0]

    def _tangent(self, u: Tensor) -> Tensor:
        # Tensors of inference mode carry no tangent, and say nothing: neither they nor the mode may get inside.
        with self._explained("forward-mode"), torch.inference_mode(False), torch.no_grad(), _DUAL_LEVEL:
            point, tangent = self._point.clone(), u.detach().clone(memory_format=torch.contiguous_format)
            with forward_ad.dual_level():
                value = forward_ad.unpack_dual(self._function(forward_ad.make_dual(point, tangent)))
                return torch.zeros_like(value.primal) if value.tangent is None else value.tangent

    def _double_backward(self, u: Tensor) -> Tensor:
        with self._explained("second reverse-mode"), torch.inference_mode(False), torch.enable_grad():
            point = self._point.clone().requires_grad_()
            value = self._function(point)
            weight = torch.zeros_like(value).requires_grad_()
            (gradient,) = torch.autograd.grad(value, point, weight, create_graph=True)
            return torch.autograd.grad(gradient, weight, u.detach().clone())[0]

    def _difference(self, u: Tensor) -> Tensor:
        dtype = self._point.dtype
        wide = torch.promote_types(dtype, torch.float32)
        with torch.no_grad():
            tangent = u.to(wide)
            length = torch.linalg.vector_norm(tangent.flatten(1), dim=1)
            # The zero vector has no direction; its product is zero whatever the unit, by its length.
            unit = tangent / per_element(length.clamp_min(torch.finfo(wide).tiny), tangent)
            shift = (self._norm * unit).to(dtype)
            values = self._function(torch.cat([self._point + shift, self._point - shift]))
            ahead, behind = values.to(wide).chunk(2)
            return (per_element(length, ahead) * (ahead - behind) / (2 * self._norm)).to(dtype)

    @contextmanager
    def _explained(self, kind: str) -> Generator[None]:
        """Say which derivative is missing, and what to do; PyTorch's own words are the cause.

        What PyTorch says where a formula is missing is not always that. So the function is asked once more, without
        a derivative: its own errors pass.
        """
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            with torch.no_grad():
                self._function(self._point)
            reason = str(error).partition("\n")[0]
            raise UnsupportedDerivativeError(
                f"{self._name} has no {kind} derivatives ({reason}). {self._remedy}"
            ) from error

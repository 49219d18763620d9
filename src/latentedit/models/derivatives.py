"""The Jacobian of a velocity, and the two operators that directions make of it: the denoiser's and the curvature."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import spending
from latentedit.core.errors import ShapeError, UnsupportedDerivativeError
from latentedit.core.linalg.autodiff import JacobianOperator, Mode
from latentedit.core.linalg.operator import Affine, LinearOperator
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone

ROWS = 64
"""Most elements of one network call; a call of finite differences has two latents an element."""

_NEEDS = {"forward": "jvp", "double_backward": "vjp"}


@final
class VelocityJacobian(LinearOperator):
    """``J_v = dv/dz`` of the velocity of a backbone, at given latents, levels and texts. It need not be symmetric.

    Forward mode and two reverse passes differentiate the network with the math attention kernel. ``rmatvec`` is one
    reverse pass in every mode.

    Args:
        backbone: the model.
        z: canonical latents.
        s: level of each latent.
        condition: one text a latent, or one for all.
        mode: of `JacobianOperator`; None is forward mode where `Capabilities.derivatives` has "jvp", else finite
            differences, which also replace forward mode if the first product shows it to be impossible; see `note`.
        step: norm of the perturbation of one element in finite differences; None goes by `Backbone.compute_dtype`.

    Raises:
        ShapeError: levels or texts that do not match the batch.
        ConfigError: an unknown mode, or a step that is not positive.
        UnsupportedDerivativeError: a mode that the model lacks; ``rmatvec`` without "vjp".

    Cost:
        Two evaluations an element in every mode. A failed attempt at forward mode is not counted.
    """

    def __init__(
        self,
        backbone: Backbone,
        z: Float[Tensor, "b *latent"],
        s: Float[Tensor, " b"],
        condition: Condition,
        *,
        mode: Mode | None = None,
        step: float | None = None,
    ) -> None:
        super().__init__(shape=z.shape, dtype=z.dtype, device=z.device)
        if s.shape != (len(z),):
            raise ShapeError(f"levels s of shape {list(s.shape)} do not fit {len(z)} latents. Give one each")
        self._backbone = backbone
        self._z, self._s, self._condition = z, s, condition.expand(len(z))
        self._step, self._may_fall_back = step, mode is None
        self.note = ""
        """What the user should know about `mode`, the mode in use; empty if nothing."""
        able = backbone.capabilities.derivatives
        self.mode: Mode = mode or ("forward" if "jvp" in able else "finite_difference")
        if _NEEDS.get(self.mode, "") not in {"", *able}:
            raise UnsupportedDerivativeError(
                f"{backbone.name} has no derivatives in mode {mode!r}. Use mode='finite_difference'"
            )
        self._blocks = self._make_blocks(self.mode)

    def difference(
        self, u: Float[Tensor, "b *latent"], velocity: Float[Tensor, "b *latent"]
    ) -> Float[Tensor, "b *latent"]:
        """``v(z + u) - v(z)``: ``J_v u`` to first order, for one evaluation an element.

        Args:
            u: displacements; the difference is not linear in them.
            velocity: v(z).
        """
        parts = [slice(start, start + ROWS) for start in range(0, len(u), ROWS)]
        z, s, condition = self._z + u, self._s, self._condition
        return torch.cat([self._backbone.velocity(z[k], s[k], condition[k]) for k in parts]) - velocity

    def _matvec(self, u: Tensor) -> Tensor:
        if self.mode == "forward" and self._may_fall_back:
            try:
                return self._apply(self._blocks, JacobianOperator.matvec, u)
            except UnsupportedDerivativeError as error:
                self.note = fallback_note(self._backbone, error, "central differences")
            self.mode = "finite_difference"
            self._blocks = self._make_blocks(self.mode)
        return self._apply(self._blocks, JacobianOperator.matvec, u)

    def _rmatvec(self, u: Tensor) -> Tensor:
        if "vjp" not in self._backbone.capabilities.derivatives:
            raise UnsupportedDerivativeError(
                f"{self._backbone.name} has no reverse-mode derivatives, so its Jacobian has no transpose. Use matvec"
            )
        return self._apply(self._make_blocks("double_backward", nullcontext), JacobianOperator.rmatvec, u)

    def _apply(
        self, blocks: list[JacobianOperator], product: Callable[[JacobianOperator, Tensor], Tensor], u: Tensor
    ) -> Tensor:
        with spending(self._backbone, 2 * len(u)):
            return torch.cat([product(block, part) for block, part in zip(blocks, u.split(ROWS), strict=True)])

    def _make_blocks(
        self, mode: Mode, attention: Callable[[], AbstractContextManager[None]] | None = None
    ) -> list[JacobianOperator]:
        """One Jacobian for each network call; attention is fused in finite differences unless it is given."""
        chosen = attention or (nullcontext if mode == "finite_difference" else differentiable_attention)
        return [
            JacobianOperator(
                self._field(slice(start, start + ROWS), chosen),
                self._z[start : start + ROWS],
                mode=mode,
                step=self._step,
                precision=self._backbone.compute_dtype,
                name=self._backbone.name,
            )
            for start in range(0, len(self._z), ROWS)
        ]

    def _field(self, rows: slice, attention: Callable[[], AbstractContextManager[None]]) -> Callable[[Tensor], Tensor]:
        s, condition = self._s[rows], self._condition[rows]

        def velocity(z: Tensor) -> Tensor:
            copies = len(z) // len(s)
            with attention():
                return self._backbone.velocity(z, s.repeat(copies), condition.repeat(copies))

        return velocity


def fallback_note(backbone: Backbone, error: UnsupportedDerivativeError, used: str) -> str:
    """The sentence that says why forward mode was not used, and what was used instead."""
    reason = str(error.__cause__).partition("\n")[0]
    return f"forward-mode derivatives of {backbone.name} are not available ({reason}); used {used}"


def denoiser_jacobian(jacobian: LinearOperator, s: float | Float[Tensor, " b"]) -> Affine:
    """``D = dx_hat/dz = I - s J_v``, the Jacobian of the clean estimate ``x_hat = z - s v``, from J_v at level s."""
    return Affine(jacobian, -s, 1.0)


def curvature(jacobian: LinearOperator, s: float | Float[Tensor, " b"]) -> Affine:
    """``s^2 H = I - (1 - s) D = s (I + (1 - s) J_v)`` with H the Hessian of ``-log p_s(z)``, from J_v at level s.

    Eigenvalues: 1 where the data determine a direction, towards 0 where they leave it free, below 0 between modes.
    """
    return Affine(jacobian, s * (1 - s), s)

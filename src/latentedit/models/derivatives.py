"""Jacobians of a network: of its velocity, with the operators that directions make of it, and of its features."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import spending
from latentedit.core.errors import ModelError, ShapeError, UnsupportedDerivativeError
from latentedit.core.linalg.autodiff import Derivative, Mode
from latentedit.core.linalg.operator import Affine, BlockOperator, LinearOperator
from latentedit.core.settings import check_value
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone

ROWS = 64
"""Most elements of one network call; a call of finite differences has two latents an element."""

_NEEDS = {"forward": "jvp", "double_backward": "vjp"}


@final
class VelocityJacobian(LinearOperator):
    """``J_v = dv/dz`` of the velocity of a backbone, at given latents, levels and texts. It need not be symmetric.

    Forward mode and two reverse passes differentiate the network with the math attention kernel. ``rmatvec`` is one
    reverse pass in every mode. A product takes two evaluations an element in every mode; a failed attempt at forward
    mode is not counted. ``mode`` None is forward mode where `Capabilities.derivatives` has "jvp", else finite
    differences, which also replace forward mode if the first product shows it to be impossible; see `note`. Their
    ``step`` is the norm of the perturbation of one element; None goes by `Backbone.compute_dtype`.
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
        # Refuses a mode or step here, not in the first product.
        self._derivative(slice(0, 1), nullcontext)

    def difference(
        self, u: Float[Tensor, "b *latent"], velocity: Float[Tensor, "b *latent"]
    ) -> Float[Tensor, "b *latent"]:
        """``v(z + u) - v(z)``, given v(z): ``J_v u`` to first order, for one evaluation an element; not linear in u."""
        parts = [slice(start, start + ROWS) for start in range(0, len(u), ROWS)]
        z, s, condition = self._z + u, self._s, self._condition
        return torch.cat([self._backbone.velocity(z[k], s[k], condition[k]) for k in parts]) - velocity

    def _matvec(self, u: Tensor) -> Tensor:
        if self.mode == "forward" and self._may_fall_back:
            try:
                return self._apply(Derivative.forward, u, differentiable_attention)
            except UnsupportedDerivativeError as error:
                self.note = fallback_note(self._backbone, error, "central differences")
            self.mode = "finite_difference"
        # Differences only evaluate the network, for which fused kernels are faster and need less memory.
        fused = self.mode == "finite_difference"
        return self._apply(Derivative.forward, u, nullcontext if fused else differentiable_attention)

    def _rmatvec(self, u: Tensor) -> Tensor:
        if "vjp" not in self._backbone.capabilities.derivatives:
            raise UnsupportedDerivativeError(
                f"{self._backbone.name} has no reverse-mode derivatives, so its Jacobian has no transpose. Use matvec"
            )
        # A first reverse pass goes through fused kernels.
        return self._apply(Derivative.reverse, u, nullcontext)

    def _apply(
        self,
        product: Callable[[Derivative, Tensor], Tensor],
        u: Tensor,
        attention: Callable[[], AbstractContextManager[None]],
    ) -> Tensor:
        parts = [slice(start, start + ROWS) for start in range(0, len(u), ROWS)]
        with spending(self._backbone, 2 * len(u)):
            return torch.cat([product(self._derivative(rows, attention), u[rows]) for rows in parts])

    def _derivative(self, rows: slice, attention: Callable[[], AbstractContextManager[None]]) -> Derivative:
        """The derivative at the latents of one network call."""
        backbone, s, condition = self._backbone, self._s[rows], self._condition[rows]

        def velocity(z: Tensor) -> Tensor:
            copies = len(z) // len(s)
            with attention():
                return backbone.velocity(z, s.repeat(copies), condition.repeat(copies))

        precision, name = backbone.compute_dtype, backbone.name
        return Derivative(velocity, self._z[rows], mode=self.mode, step=self._step, precision=precision, name=name)


def fallback_note(backbone: Backbone, error: UnsupportedDerivativeError, used: str) -> str:
    """The sentence that says why forward mode was not used, and what was used instead."""
    reason = str(error.__cause__).partition("\n")[0]
    return f"forward-mode derivatives of {backbone.name} are not available ({reason}); used {used}"


def denoiser_jacobian(jacobian: LinearOperator, s: float) -> Affine:
    """``D = dx_hat/dz = I - s J_v``, the Jacobian of the clean estimate ``x_hat = z - s v``, from J_v at level s."""
    return Affine(jacobian, -s, 1.0)


def curvature(jacobian: LinearOperator, s: float) -> Affine:
    """``s^2 H = I - (1 - s) D = s (I + (1 - s) J_v)`` with H the Hessian of ``-log p_s(z)``, from J_v at level s.

    Eigenvalues: 1 where the data determine a direction, towards 0 where they leave it free, below 0 between modes.
    """
    return Affine(jacobian, s * (1 - s), s)


Pooling = Literal["none", "space"]
"""How a feature is pooled: not at all, or by the sum over tokens or pixels."""

FEATURE_ROWS = 8
"""Most rows of one network call; a call of finite differences has two latents a row."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureMap:
    """``f(z)``: the feature at a site, at one level under one text, perhaps pooled.

    "space" sums over the tokens of ``[b, tokens, width]`` or the pixels of ``[b, channels, h, w]``.
    """

    backbone: Backbone
    site: str
    level: float
    condition: Condition
    pooling: Pooling = "none"

    def __post_init__(self) -> None:
        self.backbone.check_name("site", self.site, self.backbone.sites)
        check_value(Pooling, pooling=self.pooling)
        assert len(self.condition) == 1

    def __call__(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *feature"]:
        """The feature of each latent; counted as in `Backbone.features`."""
        s = torch.full((len(z),), self.level, dtype=z.dtype, device=z.device)
        feature = self.backbone.features(z, s, self.condition, self.site)
        if self.pooling == "space":
            if feature.ndim not in (3, 4):
                raise ShapeError(f"the site {self.site!r} has no tokens or pixels to pool. Use pooling='none'")
            return feature.sum(1) if feature.ndim == 3 else feature.sum((2, 3))
        return feature


@final
class FeatureJacobian(BlockOperator):
    """``J = df/dz`` of a feature map at one latent, applied to many directions at once, ``rows`` per network call.

    ``matmat`` has the modes of `Derivative`; ``rmatmat`` is one reverse pass in every mode. ``mode`` None is forward
    mode where `Capabilities.derivatives` has "jvp", else two reverse passes, which also replace forward mode if the
    first product shows it to be impossible; see `note`. One evaluation to construct; two evaluations a row in either
    product.
    """

    def __init__(
        self,
        feature: FeatureMap,
        z: Float[Tensor, "1 *latent"],
        *,
        mode: Mode | None = None,
        step: float | None = None,
        rows: int = FEATURE_ROWS,
    ) -> None:
        assert len(z) == 1
        backbone = feature.backbone
        able = backbone.capabilities.derivatives
        self._may_fall_back = mode is None
        self.note = ""
        """What the user should know about `mode`, the mode in use; empty if nothing."""
        self.mode: Mode = mode or ("forward" if "jvp" in able else "double_backward")
        if not {"vjp", *(["jvp"] if self.mode == "forward" else [])} <= able:
            raise UnsupportedDerivativeError(
                f"{backbone.name} lacks derivatives that mode {self.mode!r} needs; it has "
                f"{', '.join(sorted(able)) or 'none'}. Use another mode or model"
            )
        self._feature, self._z, self._step, self._size = feature, z.detach(), step, rows
        with torch.no_grad():
            value = feature(self._z)
        super().__init__(in_shape=z.shape[1:], out_shape=value.shape[1:], dtype=z.dtype, device=z.device)
        self._check_finite(value, "features")
        # Refuses a mode or step here, not in the first product.
        self._derivative(1, nullcontext)

    def _matmat(self, v: Tensor) -> Tensor:
        kernel = nullcontext if self.mode == "finite_difference" else differentiable_attention
        try:
            return self._apply(Derivative.forward, v, kernel, self.out_shape)
        except UnsupportedDerivativeError as error:
            if self.mode != "forward" or not self._may_fall_back:
                raise
            self.note = fallback_note(self._feature.backbone, error, "two reverse passes")
        self.mode = "double_backward"
        return self._apply(Derivative.forward, v, kernel, self.out_shape)

    def _rmatmat(self, u: Tensor) -> Tensor:
        return self._apply(Derivative.reverse, u, nullcontext, self.in_shape)

    def _apply(
        self,
        product: Callable[[Derivative, Tensor], Tensor],
        rows: Tensor,
        attention: Callable[[], AbstractContextManager[None]],
        shape: tuple[int, ...],
    ) -> Tensor:
        with spending(self._feature.backbone, 2 * len(rows)):
            parts = [
                product(self._derivative(len(part), attention), part) for part in rows.split(self._size) if len(part)
            ]
        result = torch.cat([rows.new_zeros(0, *shape), *parts])
        self._check_finite(result, "derivatives")
        return result

    def _derivative(self, copies: int, attention: Callable[[], AbstractContextManager[None]]) -> Derivative:
        """The derivative at copies of the latent, one for each direction."""

        def function(z: Tensor) -> Tensor:
            with attention():
                return self._feature(z)

        point = self._z.repeat(copies, *[1] * (self._z.ndim - 1))
        backbone = self._feature.backbone
        return Derivative(
            function, point, mode=self.mode, step=self._step, precision=backbone.compute_dtype, name=backbone.name
        )

    def _check_finite(self, values: Tensor, what: str) -> None:
        if not bool(values.isfinite().all()):
            raise ModelError(
                f"the {what} of {self._feature.backbone.name} at {self._feature.site!r} and level "
                f"{self._feature.level:.3g} are not finite. Check its weights, or load it with another dtype"
            )

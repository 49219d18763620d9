"""Jacobians of a network: of its velocity, with the operators that directions make of it, and of its features.

Layers of other packages may drop tangents or gradients without an error. So before a model's first product of a kind,
`Trial` compares one with central differences.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ModelError, ShapeError, UnsupportedDerivativeError
from latentedit.core.setting import check_value
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone
from latentedit.numerics.autodiff import Derivative, Mode, rms_step
from latentedit.numerics.condition import Condition
from latentedit.numerics.cost import spending
from latentedit.numerics.operator import Affine, BlockOperator, LinearOperator
from latentedit.numerics.rng import draw

ROWS = 64
"""Most elements of one network call; a call of finite differences has two latents an element."""

_NEEDS: dict[Mode, str] = {"forward": "jvp", "double_backward": "vjp"}
"""What modes need of `Capabilities.derivatives`, in the order in which they are tried; differences need nothing."""

_KINDS = {"jvp": "forward-mode", "vjp": "reverse-mode"}

# Relative errors: of products that are surely right (differences in float32 are off by at most 0.004), and of
# differences that say nothing, as by a short step where layers round what they are given.
_CLOSE, _USELESS = 0.02, 0.3

_REMEDY = (
    "Use weights that are not quantized, or by GGUF, torchao's Int8WeightOnlyConfig or "
    "enable_layerwise_casting, and attention by PyTorch: set_attention_backend('native') of the "
    "pipeline's transformer"
)


class _Modes:
    """The mode of products, the first that a model has and that passes its test if none is named."""

    _z: Tensor
    _trial: "Trial"
    _step: float | None = None
    mode: Mode
    note: str = ""
    """What the user should know about `mode`, the mode in use; empty if nothing."""

    def _choose(self, feature: "FeatureMap", mode: Mode | None, others: list[Mode]) -> None:
        modes: list[Mode] = [*(one for one in _NEEDS if _NEEDS[one] in _declared(feature.backbone)), *others]
        if not (mode or modes):
            raise UnsupportedDerivativeError(f"{feature.backbone.name} has no derivatives. {_remedy(feature.backbone)}")
        self._left, self._advice = [] if mode else modes[1:], _remedy(feature.backbone)
        self.mode = mode or modes[0]
        _require(feature.backbone, self.mode)
        self._trial = Trial(feature, self._z)

    def _tried(self, product: Callable[[], Tensor]) -> Tensor:
        """A product in the first mode in which it is possible and right."""
        try:
            self._trial.check(self.mode)
            return product()
        except UnsupportedDerivativeError as error:
            if not self._left:
                raise
            self.mode, used = self._left.pop(0), "two reverse passes"
            if self.mode == "finite_difference":
                used = f"central differences, off by about {self._trial.error:.1%}"
                self._step = self._step or self._trial.rms * math.sqrt(self._z[0].numel())
            self.note = f"{str(error).removesuffix(f'. {self._advice}')}; used {used}"
        return self._tried(product)


@final
class VelocityJacobian(LinearOperator, _Modes):
    """``J_v = dv/dz`` of the velocity of a backbone, at given latents, levels and texts. It need not be symmetric.

    Forward mode and two reverse passes differentiate the network with the math attention kernel. ``rmatvec`` is one
    reverse pass in every mode. A product takes two evaluations an element in every mode; failed attempts and the tests
    of `Trial` are not counted. ``mode`` None is the first of forward mode, two reverse passes and finite differences
    that the model has and that passes its test; see `note`. ``step`` of finite differences is the norm of the
    perturbation of one element; None goes by `Backbone.compute_dtype`.
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
        self._step = step
        feature = FeatureMap(backbone=backbone, site="velocity", level=0.5, condition=self._condition[:1])
        self._choose(feature, mode, ["finite_difference"])
        self._product(slice(0, 1), False)  # refuses a mode or step here, not when it is called

    def difference(
        self, u: Float[Tensor, "b *latent"], velocity: Float[Tensor, "b *latent"]
    ) -> Float[Tensor, "b *latent"]:
        """``v(z + u) - v(z)``, given v(z): ``J_v u`` to first order, for one evaluation an element; not linear in u."""
        parts = [slice(start, start + ROWS) for start in range(0, len(u), ROWS)]
        z, s, condition = self._z + u, self._s, self._condition
        return torch.cat([self._backbone.velocity(z[k], s[k], condition[k]) for k in parts]) - velocity

    def _matvec(self, u: Tensor) -> Tensor:
        return self._tried(lambda: self._apply(u))

    def _rmatvec(self, u: Tensor) -> Tensor:
        self._trial.check("double_backward", transposed=True)
        return self._apply(u, transposed=True)

    def _apply(self, u: Tensor, *, transposed: bool = False) -> Tensor:
        parts = [slice(start, start + ROWS) for start in range(0, len(u), ROWS)]
        with spending(self._backbone, 2 * len(u) * self._condition.evaluations):
            return torch.cat([self._product(rows, transposed)(u[rows]) for rows in parts])

    def _product(self, rows: slice, transposed: bool) -> Callable[[Tensor], Tensor]:
        """The product at the latents of one network call."""
        backbone, s, condition = self._backbone, self._s[rows], self._condition[rows]

        def velocity(z: Tensor) -> Tensor:
            copies = len(z) // len(s)
            return backbone.velocity(z, s.repeat(copies), condition.repeat(copies))

        return _product(backbone, velocity, self._z[rows], self.mode, step=self._step, transposed=transposed)


def _product(
    backbone: Backbone,
    function: Callable[[Tensor], Tensor],
    point: Tensor,
    mode: Mode,
    *,
    step: float | None = None,
    transposed: bool = False,
) -> Callable[[Tensor], Tensor]:
    """Products with the Jacobian of what a model computes, or its transpose."""
    # Evaluations and a first reverse pass go through fused kernels, which are faster and need less memory.
    fused = transposed or mode == "finite_difference"

    def called(z: Tensor) -> Tensor:
        with nullcontext() if fused else differentiable_attention():
            return function(z)

    known: Any = {"precision": backbone.compute_dtype, "name": backbone.name, "remedy": _remedy(backbone)}
    derivative = Derivative(called, point, mode=mode, step=step, **known)
    return derivative.reverse if transposed else derivative.forward


def _declared(backbone: Backbone) -> set[str]:
    """The kinds of derivatives that a model declares, also those that were found to be wrong."""
    wrong = {kind for (kind, _), fault in backbone.tested_derivatives.items() if fault}
    return {*wrong, *backbone.capabilities.derivatives}


def _require(backbone: Backbone, mode: Mode) -> None:
    """Refuse a mode that a model does not declare."""
    if (kind := _NEEDS.get(mode)) and kind not in _declared(backbone):
        raise UnsupportedDerivativeError(f"{backbone.name} has no {_KINDS[kind]} derivatives. {_remedy(backbone)}")


def _remedy(backbone: Backbone) -> str:
    """Advice for the networks of a pipeline, or for a model given as functions."""
    return _REMEDY if backbone.parts else "Its `capabilities` state which derivatives torch has of it"


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
class FeatureJacobian(BlockOperator, _Modes):
    """``J = df/dz`` of a feature map at one latent, applied to many directions at once, ``rows`` per network call.

    ``matmat`` has the modes of `Derivative`; ``rmatmat`` is one reverse pass in every mode. ``mode`` None is forward
    mode if the model has it and it passes the test of `Trial`, else two reverse passes; see `note`. One
    evaluation to construct; two evaluations a row in either product.
    """

    def __init__(
        self,
        feature: FeatureMap,
        z: Float[Tensor, "1 *latent"],
        *,
        mode: Mode | None = None,
        rows: int = FEATURE_ROWS,
    ) -> None:
        assert len(z) == 1
        self._feature, self._z, self._size = feature, z.detach(), rows
        self._choose(feature, mode, [])
        with torch.no_grad():
            value = feature(self._z)
        super().__init__(in_shape=z.shape[1:], out_shape=value.shape[1:], dtype=z.dtype, device=z.device)
        self._check_finite(value, "features")
        self._product(1, False)  # refuses a mode here, not when it is called

    def _matmat(self, v: Tensor) -> Tensor:
        return self._tried(lambda: self._apply(v, self.out_shape))

    def _rmatmat(self, u: Tensor) -> Tensor:
        self._trial.check("double_backward", transposed=True)
        return self._apply(u, self.in_shape, transposed=True)

    def _apply(self, rows: Tensor, shape: tuple[int, ...], *, transposed: bool = False) -> Tensor:
        with spending(self._feature.backbone, 2 * len(rows)):
            parts = [self._product(len(part), transposed)(part) for part in rows.split(self._size) if len(part)]
        result = torch.cat([rows.new_zeros(0, *shape), *parts])
        self._check_finite(result, "derivatives")
        return result

    def _product(self, copies: int, transposed: bool) -> Callable[[Tensor], Tensor]:
        """The product at copies of the latent, one for each direction."""
        point, feature = self._z.repeat(copies, *[1] * (self._z.ndim - 1)), self._feature
        return _product(feature.backbone, feature, point, self.mode, transposed=transposed)

    def _check_finite(self, values: Tensor, what: str) -> None:
        if not bool(values.isfinite().all()):
            raise ModelError(
                f"the {what} of {self._feature.backbone.name} at {self._feature.site!r} and level "
                f"{self._feature.level:.3g} are not finite. Check its weights, or load it with another dtype"
            )


class Trial:
    """Products at a random latent of the smallest size, which test those of a model; they do not count as evaluations.

    ``like`` are latents of the size and dtype at hand.
    """

    def __init__(self, feature: FeatureMap, like: Float[Tensor, "b *latent"]) -> None:
        self._feature, self._like = feature, like
        self._found: dict[float, Tensor] = {}  # differences, by `rms`
        self.rms = rms_step(feature.backbone.compute_dtype)
        """Step of central differences, a number."""

    def check(self, mode: Mode, *, transposed: bool = False) -> None:
        """Raise an `UnsupportedDerivativeError` if products in a mode are not those of central differences.

        Once for each model, kind and site, and again after changes of layers. The product P of two reverse passes is
        made of the transpose alone: ``<w, P> = <J^T w, u>`` for every w. So comparing it with differences D tests the
        transpose; ``<D, D> = <J^T D, u>`` does, less strictly, in networks that can be differentiated only once. A kind
        is wrong, and leaves the capabilities, where ``|P - D|`` is above 2 % of ``|D|`` and above twice the `error` of
        D. In 15 families and the bundled models it is below the error where the kind is right, in any precision, and
        2.5 times that or more where layers round what they are given.

        Cost:
            Three evaluations at the smallest size, five if they differ by more than 2 %; one for each further mode.
        """
        backbone, site, kind = self._feature.backbone, self._feature.site, _NEEDS.get(mode)
        if kind is None:
            return
        _require(backbone, mode)
        tested = backbone.tested_derivatives
        if (kind, site) not in tested:
            off = self._off(mode, transposed=transposed)
            if off > _CLOSE and off > 2 * self.error:
                off = self._off(mode, transposed=transposed)  # a longer step shows whether the error comes from it
            # Values that are not finite pass here: the callers of the products report them.
            wrong = off > _CLOSE and off > 2 * self.error
            tested[kind, site] = f"{off:.0%} off central differences, whose error is {self.error:.1%}" if wrong else ""
            able = backbone.capabilities.derivatives - ({kind} if wrong else set())
            backbone.capabilities = dataclasses.replace(backbone.capabilities, derivatives=able)
        if fault := next((fault for (known, _), fault in tested.items() if known == kind and fault), ""):
            what = f"the {_KINDS[kind]} derivatives of {backbone.name} are wrong: a product is {fault}"
            raise UnsupportedDerivativeError(f"{what}. {_remedy(backbone)}")

    @property
    def error(self) -> float:
        """The relative error of central differences, as their difference from those of twice the step.

        Errors of n / h by rounding, c h by kinks and c h^2 by curvature then count 1.1, 1 and 3 times. Goes over to the
        step of half precision where those of a shorter one are useless.
        """
        found = self._differences(self.rms)
        error = float((self._differences(2 * self.rms) - found).norm() / found.norm())
        if error < _USELESS or self.rms == (longest := rms_step(torch.bfloat16)):
            return error
        self.rms = longest
        return self.error

    def _off(self, mode: Mode, *, transposed: bool) -> float:
        """How far a product is off central differences, relatively."""
        try:
            product = self._product(mode)
        except UnsupportedDerivativeError:
            if not transposed:
                raise
            found = self._differences(self.rms)
            back = self._product(mode, found, transposed=True)
            return abs(1 - float((back * self._drawn[1]).sum() / found.square().sum()))
        found = self._differences(self.rms)
        return float((product - found).norm() / found.norm())

    def _differences(self, rms: float) -> Tensor:
        if rms not in self._found:
            step = rms * math.sqrt(self._drawn[1].numel())
            self._found[rms] = self._product("finite_difference", step=step)
        return self._found[rms]

    def _product(self, mode: Mode, vector: Tensor | None = None, **how: Any) -> Tensor:
        """A product with the direction, or with another vector."""
        feature, (z, u) = self._small, self._drawn
        with spending(feature.backbone, 0):
            return _product(feature.backbone, feature, z, mode, **how)(u if vector is None else vector)

    @functools.cached_property
    def _small(self) -> FeatureMap:
        """The feature at a level in the middle, without references, which have the size of the image."""
        text = dataclasses.replace(self._feature.condition.words, arrival=None)
        level = self._feature.backbone.capabilities.level(0.5)
        return dataclasses.replace(self._feature, condition=text, level=level, pooling="none")

    @functools.cached_property
    def _drawn(self) -> Tensor:
        """A latent and a direction."""
        backbone, known = self._feature.backbone, self._feature.backbone.capabilities
        side = known.sizes[0] // known.size_multiple * known.size_multiple
        shape = min(backbone.latent_shape(side, side), tuple(self._like.shape[1:]), key=math.prod)
        return draw((2, 1, *shape), seed=0, purpose="test of derivatives").to(self._like)

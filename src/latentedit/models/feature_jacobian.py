"""A feature of a network as a function of one latent, and its Jacobian: a map from latents to features."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, final, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.condition import Condition
from latentedit.core.cost import spending
from latentedit.core.errors import ConfigError, ModelError, ShapeError, UnsupportedDerivativeError, nearest
from latentedit.core.linalg.autodiff import Derivative, Mode
from latentedit.core.linalg.operator import BlockOperator
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone
from latentedit.models.derivatives import fallback_note
from latentedit.models.sites import GENERAL, PICTURE

Pooling = Literal["none", "space"]
"""What is done with a feature's place: nothing, or the sum over tokens or pixels."""

ROWS = 8
"""Most rows of one network call; a call of finite differences has two latents a row."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureMap:
    """``f(z)``: the feature at a site, at one level under one text, perhaps pooled or inside a mask.

    Args:
        backbone: the model.
        site: one of `Backbone.sites`.
        level: s.
        condition: one text.
        mask: pixels of "velocity", "clean" or "picture" that count; features are then ``[b, channels, pixels inside]``.
        pooling: "space" sums over the tokens of ``[b, tokens, width]`` or the pixels of ``[b, channels, h, w]``.

    Raises:
        ConfigError: an unknown site or pooling, or a mask that is empty, inside the network or together with pooling.
        ShapeError: several texts.
    """

    backbone: Backbone
    site: str
    level: float
    condition: Condition
    mask: Bool[Tensor, "h w"] | None = None
    pooling: Pooling = "none"

    def __post_init__(self) -> None:
        if self.site not in self.backbone.sites:
            hint = nearest(self.site, self.backbone.sites)
            raise ConfigError(f"{self.backbone.name} has no site {self.site!r}: {hint}")
        if self.pooling not in get_args(Pooling):
            hint = nearest(self.pooling, get_args(Pooling))
            raise ConfigError(f"there is no pooling {self.pooling!r}: {hint}")
        if len(self.condition) != 1:
            raise ShapeError(f"the condition must be one text; got {len(self.condition)}")
        if self.mask is None:
            return
        if self.site not in (*GENERAL, PICTURE):
            raise ConfigError(
                f"the site {self.site!r} takes no mask, for each of its numbers sees the whole picture. "
                "Use 'velocity', 'clean' or 'picture'"
            )
        if self.pooling != "none":
            raise ConfigError("a mask and pooling exclude each other. Give one, not both")
        if not bool(self.mask.any()):
            raise ConfigError("the mask is false everywhere. Give one that is true somewhere")

    def __call__(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b *feature"]:
        """The feature of each latent; counted as in `Backbone.features`.

        Raises:
            ShapeError: a mask that is not of the site's resolution; pooling of a feature that has no space.
        """
        s = torch.full((len(z),), self.level, dtype=z.dtype, device=z.device)
        feature = self.backbone.features(z, s, self.condition, self.site)
        if self.pooling == "space":
            if feature.ndim not in (3, 4):
                raise ShapeError(f"the site {self.site!r} has no tokens or pixels to pool. Use pooling='none'")
            return feature.sum(1) if feature.ndim == 3 else feature.sum((2, 3))
        if self.mask is None:
            return feature
        if feature.shape[2:] != self.mask.shape:
            raise ShapeError(
                f"the mask does not fit the feature, {list(feature.shape[2:])}; got {list(self.mask.shape)}"
            )
        inside = self.mask.flatten().nonzero()[:, 0].to(z.device)
        return feature.flatten(2).index_select(2, inside)


def reduced_mask(mask: Bool[Tensor, "h w"], height: int, width: int) -> Bool[Tensor, "lh lw"]:
    """A mask at a coarser resolution, whose sides divide its own: a cell is inside if any of its pixels is."""
    rows, columns = mask.shape
    if rows % height or columns % width:
        raise ShapeError(f"the sides of the mask must be whole multiples of {height} x {width}; got {rows} x {columns}")
    cells = functional.max_pool2d(mask[None, None].float(), (rows // height, columns // width))
    return cells[0, 0] > 0


@final
class FeatureJacobian(BlockOperator):
    """``J = df/dz`` of a feature map at one latent, applied to many directions at once.

    ``matmat`` has the modes of `Derivative`; ``rmatmat`` is one reverse pass in every mode.

    Args:
        feature: f.
        z: one latent.
        mode: None is forward mode where `Capabilities.derivatives` has "jvp", else two reverse passes, which also
            replace forward mode if the first product shows it to be impossible; see `note`.
        step: norm of the perturbation in finite differences, as in `VelocityJacobian`.
        rows: most directions in one network call, which bounds memory.

    Raises:
        ShapeError: several latents.
        ConfigError: an unknown mode, a step that is not positive, less than one row.
        UnsupportedDerivativeError: a model without the derivatives that are needed, "vjp" always.
        ModelError: features or products that are not finite.

    Cost:
        One evaluation to construct; two evaluations a row in ``matmat`` and ``rmatmat``.
    """

    def __init__(
        self,
        feature: FeatureMap,
        z: Float[Tensor, "1 *latent"],
        *,
        mode: Mode | None = None,
        step: float | None = None,
        rows: int = ROWS,
    ) -> None:
        if len(z) != 1:
            raise ShapeError(f"the Jacobian is of one latent; got {len(z)}. Give one at a time")
        if rows < 1:
            raise ConfigError(f"rows must be at least 1; got {rows}")
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

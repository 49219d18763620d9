"""How far an edited picture is from the answer, in units of the change that was asked for."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit_bench.metrics.base import PerPicture
from latentedit_bench.metrics.pictures import check_mask, differ, in_double

Pictures = Float[Tensor, "b 3 h w"]
Weights = Float[Tensor, "b 1 h w"]


def counterfactual_error(
    edited: Pictures, source: Pictures, truth: Pictures, *, weights: Weights | None = None
) -> Float64[Tensor, " b"]:
    """``|edited - truth|^2 / |source - truth|^2``.

    From 0 up; lower is better. 0 is the answer, 1 what no edit scores, above 1 the edit did more harm than good. With
    effect and leakage of `disentanglement` it is ``(1 - effect)^2 + leakage^2``. nan where nothing was asked for.

    Traps: what the codec loses counts as an error, and where the wanted change is small that alone can pass 1; squares
    make a mean over pictures that of the worst ones, so look at the median of ``values`` too; weights that are the
    mask of the truth do not see damage elsewhere.

    Args:
        edited: pictures in [-1, 1].
        source: before the edit.
        truth: the answer.
        weights: of each pixel in both sums, 0 or more; 1 where none are given.

    Raises:
        ConfigError: weights below 0 or not finite.
        ShapeError, ImageError, DeviceError: see `in_double` and `check_mask`.
    """
    edited, source, truth = in_double(edited, source, truth)
    asked = differ(source, truth)
    missed, whole = (edited - truth).square(), (source - truth).square()
    if weights is not None:
        check_mask(weights, edited)
        if not (weights.isfinite() & (weights >= 0)).all():
            raise ConfigError(f"expected weights of 0 or more; got {weights.min().item():g} at the least. Clamp them")
        missed, whole = missed * weights.double(), whole * weights.double()
    missed, whole = missed.flatten(1).sum(1), whole.flatten(1).sum(1)
    return (missed / whole).masked_fill(~asked | (whole == 0), torch.nan)


class CounterfactualError(PerPicture):
    """Mean of `counterfactual_error` over pictures."""

    higher_is_better = False

    def update(self, edited: Pictures, source: Pictures, truth: Pictures, weights: Weights | None = None) -> None:
        """Add pictures."""
        self._add(counterfactual_error(edited, source, truth, weights=weights))

"""Whether more strength gives more effect, and twice the strength twice the effect."""

from jaxtyping import Float, Float64
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError


def linearity(effects: Float[Tensor, "b k"], strengths: Float[Tensor, " k"]) -> Float64[Tensor, " b"]:
    """``1 - min_a |e - a s|^2 / |e|^2 = <e, s>^2 / (|e|^2 |s|^2)``: R^2 of the best line through the origin.

    In [0, 1]; higher is better. nan where there is no effect at any strength (0/0). Its floor is high: a switch that is
    full on from the least of the strengths .25, .5, .75, 1 has .83.
    """
    e, s = _checked(effects, strengths)
    explained = (e * s).sum(1).square() / (e.square().sum(1) * s.square().sum())
    return explained.clamp(max=1)


def monotonicity(effects: Float[Tensor, "b k"], strengths: Float[Tensor, " k"]) -> Float64[Tensor, " b"]:
    """Spearman's rank correlation of effect and strength.

    In [-1, 1]; higher is better; ties share a rank. nan where the effect is the same at all strengths. Ranks know no
    size, so rounding noise on an effect of 0 looks like an order.
    """
    e, s = (_ranks(part) for part in _checked(effects, strengths))
    e, s = e - e.mean(1, keepdim=True), s - s.mean(1, keepdim=True)
    return (e * s).sum(1) / (e.square().sum(1) * s.square().sum(1)).sqrt()


def _checked(
    effects: Float[Tensor, "..."], strengths: Float[Tensor, "..."]
) -> tuple[Float64[Tensor, "b k"], Float64[Tensor, "1 k"]]:
    if effects.ndim != 2 or strengths.shape != effects.shape[1:] or len(strengths) < 2:
        raise ShapeError(
            f"effects {list(effects.shape)} do not fit strengths {list(strengths.shape)}. Give [b, k] and [k], k > 1"
        )
    if not effects.isfinite().all() or not strengths.isfinite().all():
        raise ConfigError("an effect or strength is not finite. Leave such pictures out and count them")
    if (strengths == strengths[0]).all():
        raise ConfigError(f"all strengths are {strengths[0].item():g}. Give two or more")
    return effects.double(), strengths.double().to(effects.device)[None]


def _ranks(values: Float64[Tensor, "b k"]) -> Float64[Tensor, "b k"]:
    """Ranks from 1; equal values share the mean of theirs."""
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    equal = (values[:, None, :] == values[:, :, None]).sum(2)
    return below + (equal + 1).double() / 2

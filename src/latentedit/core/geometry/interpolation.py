"""Points between two latents: on the straight line, and on the arc."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, ShapeError

_OPPOSITE = 1e-6
"""What is left of an angle of pi between opposite vectors of float32, in radians."""


def lerp(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], weight: float | Float[Tensor, " k"]
) -> Float[Tensor, "*points"]:
    """Points on the straight line between two vectors, ``(1 - w) a + w b``.

    Between two independent normal vectors of n numbers, of length ``sqrt(n)`` nearly, the middle one has length
    ``sqrt(n / 2)``; `slerp` keeps it.

    Args:
        a: the vector at weight 0, bit for bit.
        b: the vector at weight 1, bit for bit.
        weight: w, one number or several; the line goes on below 0 and above 1.

    Returns:
        ``*shape`` for one weight and ``[k, *shape]`` for k, in the dtype of a and b and on a's device; computed in
        float64.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: a weight that is not finite.
    """
    weights = _checked(a, b, weight)
    return _combined(a, b, weight, weights, 1 - weights, weights)


def slerp(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], weight: float | Float[Tensor, " k"]
) -> Float[Tensor, "*points"]:
    """Points on the arc between two vectors, ``sin((1 - w) o) / sin(o) a + sin(w o) / sin(o) b`` at an angle o.

    Each tensor is one vector, whatever its shape. For equal lengths the points lie on the great circle through both,
    at the angle ``w o`` from a, and have that length. For different lengths they lie on an arc of an ellipse around 0
    that goes through both, so that the length changes smoothly but not evenly, and the angle from a is not ``w o``.
    At small angles the formula passes into `lerp`: the ratios are those of sin(x) / x, smooth at 0.

    Args:
        a: the vector at weight 0, bit for bit.
        b: the vector at weight 1, bit for bit.
        weight: w, one number or several; the arc goes on below 0 and above 1.

    Returns:
        ``*shape`` for one weight and ``[k, *shape]`` for k, in the dtype of a and b and on a's device; computed in
        float64.

    Raises:
        ShapeError: vectors of different shapes.
        ConfigError: a vector of length 0, opposite vectors, between which every half circle is an arc, or a weight
            that is not finite.

    Source:
        Shoemake 1985.
    """
    weights = _checked(a, b, weight)
    angle = _angle(a, b)
    if angle > math.pi - _OPPOSITE:
        raise ConfigError("the vectors are opposite, and no arc between them is the shortest")
    whole = _sinc(torch.tensor(angle, dtype=torch.float64))
    first = (1 - weights) * _sinc((1 - weights) * angle) / whole
    second = weights * _sinc(weights * angle) / whole
    return _combined(a, b, weight, weights, first, second)


def _checked(a: Tensor, b: Tensor, weight: float | Tensor) -> Float[Tensor, " k"]:
    """The weights as a vector, in float64."""
    if a.shape != b.shape:
        raise ShapeError(f"the two vectors must have one shape; got {list(a.shape)} and {list(b.shape)}")
    weights = torch.as_tensor(weight, dtype=torch.float64, device="cpu").reshape(-1)
    if not bool(weights.isfinite().all()):
        raise ConfigError(f"weights must be finite; got {weights.tolist()}")
    return weights


def _combined(
    a: Tensor, b: Tensor, weight: float | Tensor, weights: Tensor, first: Tensor, second: Tensor
) -> Float[Tensor, "*points"]:
    """``first a + second b`` for each weight, the ends left as they are."""
    points = torch.empty(len(weights), *a.shape, dtype=torch.promote_types(a.dtype, b.dtype), device=a.device)
    wide, other = _wide(a), _wide(b)
    for index, place in enumerate(weights.tolist()):
        inside = wide * first[index] + other * second[index]
        points[index] = {0.0: a, 1.0: b}.get(place, inside)
    return points if isinstance(weight, Tensor) and weight.ndim else points[0]


def _angle(a: Tensor, b: Tensor) -> float:
    """Between the vectors, in radians, exact at both ends."""
    wide, other = _wide(a), _wide(b)
    lengths = float(wide.norm()), float(other.norm())
    if not (min(lengths) > 0 and math.isfinite(sum(lengths))):
        raise ConfigError("a vector that is zero or not finite points nowhere. Leave it out")
    wide, other = wide / lengths[0], other / lengths[1]
    return 2 * math.atan2(float((wide - other).norm()), float((wide + other).norm()))


def _sinc(x: Tensor) -> Tensor:
    """``sin(x) / x``."""
    return torch.sinc(x / math.pi)


def _wide(vector: Tensor) -> Tensor:
    return vector.detach().cpu().double()

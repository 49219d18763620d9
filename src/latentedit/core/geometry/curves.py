"""Measures of a curve that is given by points: how far it goes, how evenly, and how much the space turns along it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ShapeError
from latentedit.core.geometry.grassmann import geodesic_distance


def speeds(features: Float[Tensor, "l *feature"]) -> Float[Tensor, " n"]:
    """The length of each segment, ``|f_{i+1} - f_i|``, one fewer than points; in float64 on the CPU.

    Args:
        features: of the points along a curve. Differences are taken in their own dtype.

    Raises:
        ShapeError: fewer than two points.
    """
    if len(features) < 2:
        raise ShapeError(f"a curve needs two points or more; got {len(features)}")
    steps = features.detach().flatten(1).cpu().double().diff(dim=0)
    return torch.linalg.vector_norm(steps, dim=1)


def curve_length(features: Float[Tensor, "l *feature"]) -> float:
    """The length of a curve in feature space, ``sum |f_{i+1} - f_i|``."""
    return float(speeds(features).sum())


def curve_energy(features: Float[Tensor, "l *feature"]) -> float:
    """The energy of a curve in feature space, ``sum |f_{i+1} - f_i|^2``.

    It is at least ``length^2 / segments``, and equal to that where all segments are equally long.
    """
    return float(speeds(features).square().sum())


def semantic_lengths(bases: Sequence[Float[Tensor, "r *feature"]]) -> Float[Tensor, " n"]:
    """How far the tangent space turns in each segment: the Grassmann distance of successive spaces, in radians.

    Their sum is the semantic path length: additive, and 0 where the tangent space is the same all along. It grows with
    the number of segments wherever the space turns, so compare curves of equally many.

    Args:
        bases: linearly independent changes of the feature that span the tangent space at each point.

    Returns:
        One fewer than bases; float64, on the CPU. The curvedness of each segment.

    Raises:
        ShapeError: fewer than two bases, or bases of different features.

    Source:
        Park et al. 2023 (arXiv 2302.12469), curvedness of a segment.
    """
    if len(bases) < 2:
        raise ShapeError(f"a curve needs two tangent spaces or more; got {len(bases)}")
    return torch.tensor([geodesic_distance(a, b) for a, b in pairwise(bases)], dtype=torch.float64)
